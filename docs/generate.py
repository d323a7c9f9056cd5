"""Writes what follows from the code: the reference pages of dialects and passes, and the builder functions' types.

python docs/generate.py            write docs/dialects/*.md, docs/passes.md, docs/tour.md and ir/ops.pyi
python docs/generate.py --check    say which of them are out of date; exit code 1 if any is
"""

from __future__ import annotations

import inspect
import keyword
import re
import sys
from pathlib import Path

from dlir.frontends.cli import listings
from dlir.ir.op import Op
from dlir.ir.registry import DIALECTS, dialect_ops
from dlir.ir.schema import AttributeSpec
from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by docs/generate.py from the code: change the docstrings, then run it. -->\n\n"

TYPES = {
    "a bool": "bool",
    "an integer": "int",
    "a float": "float",
    "a string": "str",
    "a list of integers": "Sequence[int]",
    "a list": "Sequence[Attribute]",
    "a type": "Type",
    "a tensor type": "TensorType",
    "a scalar type": "ScalarType",
    "a function type": "FunctionType",
    "symbol": "str",
    "symbol reference": "str",
    "dense elements": "Attribute | np.ndarray",
    "unit": "bool",
}


def generated() -> dict[str, str]:
    """Path -> text of every generated file."""
    files = {f"docs/dialects/{name}.md": NOTE + listings.dialect_page(name) for name in DIALECTS}
    files["docs/passes.md"] = NOTE + listings.passes("md")
    files["docs/tour.md"] = tour()
    files["ir/ops.pyi"] = stub()
    return files


def tour() -> str:
    """The tour, with each marked block filled with what the passes make of its network."""
    text = (ROOT / "docs" / "tour.md").read_text()
    start = re.search(r"<!-- start -->\n```mlir\n(.*?)```", text, re.DOTALL)
    assert start is not None
    module = parse(start.group(1))

    def fill(match: re.Match[str]) -> str:
        passes, _, function = match.group(1).partition("; function: ")
        PassManager.from_text(passes).run(module)
        shown = to_text(module.symbol(function) if function else module)
        return f"<!-- after: {match.group(1)} -->\n```mlir\n{shown.rstrip()}\n```\n"

    return re.sub(r"<!-- after: (.*?) -->\n(?:```mlir\n.*?```\n)?", fill, text, flags=re.DOTALL)


def stub() -> str:
    """The types of the builder functions."""
    lines = [
        "# Written by docs/generate.py from the op classes.",
        "from collections.abc import Iterable, Sequence",
        "from typing import Any, Literal",
        "",
        "import numpy as np",
        "",
        "from dlir.ir.attributes import Attribute",
        "from dlir.ir.core import Block, Operation, Region, Value",
        "from dlir.ir.location import Location",
        "from dlir.ir.types import FunctionType, ScalarType, TensorType, Type",
        "",
    ]
    for dialect in DIALECTS:
        if dialect == "builtin":
            continue
        lines.append(f"class _{dialect.title()}:")
        for name, cls in dialect_ops(dialect).items():
            short = name.partition(".")[2]
            if short.isidentifier():
                lines += signature_lines(short, cls)
        lines.append("")
    lines += [f"{dialect}: _{dialect.title()}" for dialect in DIALECTS if dialect != "builtin"]
    return "\n".join(lines) + "\n"


def signature_lines(short: str, cls: type[Op]) -> list[str]:
    """One builder function."""
    schema = cls.schema()
    name = short + "_" * keyword.iskeyword(short)
    if not schema.infers or cls.create.__func__ is not Op.create.__func__:  # type: ignore[attr-defined]
        # It takes shorthands (a result type, a predicate's word, a number) that the schema does not know.
        return ["    @staticmethod", f"    def {name}(*operands: Any, **keywords: Any) -> {returned(cls)}: ..."]
    positional, spread = [], False
    for number, spec in enumerate(schema.operands):
        operand = f"{spec.name}_" if keyword.iskeyword(spec.name) else spec.name
        if spec.spread:
            positional.append(f"*{operand}: Any")
            spread = True
        else:
            may_lack = all(later.kind != "one" for later in schema.operands[number:])
            positional.append(f"{operand}: Any" + " = ..." * may_lack)
    keywords = [keyword_text(spec) for spec in schema.attributes.values()]
    keywords.append("location: Location | None = ...")
    separator = [] if spread else ["*"]
    arguments = ", ".join([*positional, *separator, *keywords])
    return ["    @staticmethod", f"    def {name}({arguments}) -> {returned(cls)}: ..."]


def keyword_text(spec: AttributeSpec) -> str:
    type = f"Literal[{', '.join(map(repr, spec.choices))}]" if spec.choices else TYPES.get(spec.kind, "Any")
    if spec.required:
        return f"{spec.name}: {type}"
    return f"{spec.name}: {type} | None = ..." if spec.default is None else f"{spec.name}: {type} = ..."


def returned(cls: type[Op]) -> str:
    """What the builder function returns, as far as the annotation of ``infer`` tells."""
    hint = str(inspect.signature(cls.infer).return_annotation)
    if hint in ("None", "<class 'NoneType'>"):
        return "Operation"
    if "Declared" in hint:
        return "Any"
    return "tuple[Value, ...]" if hint.startswith("tuple") else "Value"


def main() -> int:
    stale = []
    for path, text in generated().items():
        file = ROOT / path
        if not file.exists() or file.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    for path in stale:
        print(path)
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
