"""How an op is written: the help for texts in MLIR's custom assembly, which every op has its own of."""

from __future__ import annotations

import re

from dlir.ir.op import Op
from dlir.ir.registry import DIALECTS, find_op

_NEXT = re.compile(r"[ \t]*(?:(%[\w$.-]+[ \t]*=(?!=))|([A-Za-z_]\w*(?:\.\w+)+))", re.ASCII)


def misread(name: str, rest: str) -> tuple[str, str | None, tuple[int, int]] | None:
    """What to say of an op with too few operands if what follows on its line was not meant as the next op.

    `rest` is what follows; a message, a hint, and where that stands in `rest`.
    """
    found = _NEXT.match(rest)
    if found is None:
        return None
    if found[1]:
        return f"unexpected '{found[1]}' after '{name}'", form(name), found.span(1)
    hint = f"give it a name on a line of its own, as in %0 = {found[2]} %x, and use that: {name} %0"
    return f"unexpected '{found[2]}' after '{name}': an operand is a value", hint, found.span(2)


def form(name: str) -> str | None:
    """How the op called `name` is written here, as a hint; None if it is of a known dialect that has no such op."""
    cls = find_op(name)
    if cls is not None:
        return f"it is written {pretty_form(cls)}"
    if name.partition(".")[0] in DIALECTS:
        return None
    return f'of other dialects MLIR\'s generic form is read: "{name}"(%a, %b) : (types) -> types'


def pretty_form(cls: type[Op]) -> str:
    """What an op needs, in the pretty form: ``scf.for %lowerBound, %upperBound, %step ({ ... })``."""
    schema = cls.schema()
    operands = [
        f"%{spec.name}..." if spec.kind == "variadic" else f"%{spec.name}"
        for spec in schema.operands
        if spec.kind != "optional"
    ]
    attributes = [f"{spec.name} = ..." for spec in schema.attributes.values() if spec.required and not spec.is_symbol]
    parts = [cls.op_name, *(f"@{spec.name}" for spec in schema.symbols if spec.required), ", ".join(operands)]
    parts += [f"{{{', '.join(attributes)}}}"] if attributes else []
    parts += [f"({', '.join(['{ ... }'] * len(schema.regions))})"] if schema.regions else []
    return " ".join(filter(None, parts))
