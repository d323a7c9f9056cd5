"""The lists that the commands print: passes with their options, dialects with their ops."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from dlir.ir.op import Op
from dlir.ir.registry import DIALECTS, dialect_ops
from dlir.passes.manager import PASSES, find_pass


def passes() -> str:
    """The passes in the order of the default pipeline, each with its options, defaults and help."""
    lines = []
    for name in PASSES.discover():
        cls = find_pass(name)
        lines.append(f"{name}: {first_sentence(cls.__doc__)}")
        for item in dataclasses.fields(cast(Any, cls)):
            default = str(item.default).lower() if isinstance(item.default, bool) else item.default
            lines.append(f"    {item.name.replace('_', '-')}={default}  {item.metadata.get('help', '')}")
    return "\n".join(lines) + "\n"


def dialects() -> str:
    """The dialects from the highest level to the lowest, each with its ops."""
    lines = []
    for name in DIALECTS.discover():
        ops = dialect_ops(name)
        lines.append(f"{name} ({len(ops)} ops)")
        lines += [f"    {signature(cls)}  {first_sentence(cls.__doc__)}" for cls in ops.values()]
    return "\n".join(lines) + "\n"


def signature(cls: type[Op]) -> str:
    """An op's operands and attributes in one line: ``nd.matmul(a, b) {transpose_b}``."""
    schema = cls.schema()
    attributes = ", ".join(schema.attributes)
    return f"{cls.op_name}({schema.signature()})" + (f" {{{attributes}}}" if attributes else "")


def first_sentence(docstring: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((docstring or "").split())
    return text.split(". ")[0].rstrip(".")
