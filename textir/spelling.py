"""How attribute dictionaries, functions and modules are spelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dlir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    DenseElementsAttr,
    DictAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
    spell_entry,
)
from dlir.ir.core import Operation
from dlir.ir.op import Op
from dlir.ir.schema import AttributeSpec
from dlir.ir.spelling import spell_bytes, spell_key, spell_symbol
from dlir.ir.types import I64, FunctionType, spell_results
from dlir.textir.build.schema import SEGMENTS
from dlir.textir.names import Names

_VISIBILITIES = ("private", "public", "nested")


def spell_dict(attributes: Mapping[str, Attribute]) -> str:
    """A dictionary in the order given."""
    return "{" + ", ".join([spell_entry(name, attribute) for name, attribute in attributes.items()]) + "}"


def spell_generic_dict(attributes: Mapping[str, Attribute]) -> str:
    """As `spell_dict`, in words that all of MLIR's tools understand alike."""
    return "{" + ", ".join([_generic_entry(name, attribute) for name, attribute in attributes.items()]) + "}"


def _generic_entry(name: str, attribute: Attribute) -> str:
    if attribute.__class__ is DenseElementsAttr:
        elements = str(attribute).partition(" : ")[0]
        if "0x" in elements and '"' not in elements:
            # xDSL takes the bits of an infinity or NaN, dense<0x7F800000>, for a number; not those of all elements.
            return f"{spell_key(name)} = dense<{spell_bytes(attribute.array)}> : {attribute.type}"
    return spell_entry(name, attribute)


def split_attributes(op: Operation) -> tuple[dict[str, Attribute], dict[str, Attribute]]:
    """Attributes that belong to the op (MLIR's properties) in the schema's order, and the others by name."""
    if not isinstance(op, Op):
        own = getattr(op, "properties", ())
        items = sorted(op.attributes.items())
        if not own:
            return {}, dict(items)
        inherent = {name[2:-2] if name.startswith("<{") else name: item for name, item in items if name in own}
        return dict(sorted(inherent.items())), {name: item for name, item in items if name not in own}
    schema = op.schema()
    inherent = {name: op.attributes[name] for name in schema.attributes if name in op.attributes}
    if SEGMENTS in op.attributes and schema.needs_segments:
        inherent[SEGMENTS] = op.attributes[SEGMENTS]
    return inherent, {name: op.attributes[name] for name in sorted(op.attributes) if name not in inherent}


# ---------------------------------------------------------------- the pretty form


def pretty_attributes(op: Op) -> tuple[list[str], list[str]] | None:
    """The ``@symbols`` of an op, and the entries of its dictionary; None if that form cannot say them."""
    schema = op.schema()
    inherent, others = split_attributes(op)
    if others and not _have_dots(others):
        return None
    symbols = []
    for spec in schema.symbols:
        attribute = inherent.get(spec.name)
        if not _is_symbol(spec, attribute):
            # What stands before the operands is counted from the first symbol on, without gaps.
            break
        assert attribute is not None
        symbols.append(spell_symbol(attribute.value) if spec.kind == "symbol" else str(attribute))
        del inherent[spec.name]
    segments = inherent.get(SEGMENTS)
    if isinstance(segments, DenseArrayAttr) and list(segments.value) == op.default_segments(len(op._uses)):
        del inherent[SEGMENTS]
    entries = []
    for name, attribute in inherent.items():
        known = schema.attributes.get(name)
        if isinstance(attribute, DenseArrayAttr) and attribute.type is I64 and known and known.kind == _INTEGERS:
            entries.append(f"{spell_key(name)} = [{', '.join(map(str, attribute.value))}]")
        else:
            entries.append(spell_entry(name, attribute))
    return symbols, entries + [spell_entry(name, attribute) for name, attribute in others.items()]


_INTEGERS = "a list of integers"


def _have_dots(names: Iterable[str]) -> bool:
    """Whether all are a dialect's; another one that an op does not know is a mistake in the pretty form."""
    return all(["." in name for name in names])


def _is_symbol(spec: AttributeSpec, attribute: Attribute | None) -> bool:
    return isinstance(attribute, StringAttr if spec.kind == "symbol" else SymbolRefAttr)


def module_head(op: Operation) -> str | None:
    """A module up to its body, or None if it is not one that this form can say."""
    attributes = dict(op.attributes)
    name = attributes.pop("sym_name", None)
    if len(op.regions) != 1 or len(op.regions[0].blocks) != 1 or op.regions[0].blocks[0].args:
        return None
    if not isinstance(name, StringAttr | None) or op._uses or op.results or op.successors or not _have_dots(attributes):
        return None
    head = "module" if name is None else f"module {spell_symbol(name.value)}"
    return head + (f" attributes {spell_dict(dict(sorted(attributes.items())))}" if attributes else "")


def func_head(op: Operation, names: Names, loc: Callable[[Any], str]) -> str | None:
    """A function up to its body, or None if it is not one that this form can say."""
    attributes = dict(op.attributes)
    name = attributes.pop("sym_name", None)
    function_type = attributes.pop("function_type", None)
    visibility = attributes.pop("sym_visibility", None)
    type = function_type.value if isinstance(function_type, TypeAttr) else None
    if not isinstance(name, StringAttr) or not isinstance(type, FunctionType) or len(op.regions) != 1:
        return None
    if op._uses or op.results or op.successors or (visibility is not None and visibility.value not in _VISIBILITIES):
        return None
    if not _have_dots(attributes.keys() - {"arg_attrs", "res_attrs"}):
        return None
    arguments = _argument_attributes(attributes.pop("arg_attrs", None), len(type.inputs))
    results = _argument_attributes(attributes.pop("res_attrs", None), len(type.results))
    if arguments is None or results is None or not _is_plain_entry(op, type):
        return None
    blocks = op.regions[0].blocks
    if blocks:
        inputs = [
            f"%{names.value(arg)}: {arg.type}{extra}{loc(arg.location)}"
            for arg, extra in zip(blocks[0].args, arguments)
        ]
    else:
        inputs = [f"{input}{extra}" for input, extra in zip(type.inputs, arguments)]
    head = "func.func " + (f"{visibility.value} " if visibility is not None else "")
    head += f"{spell_symbol(name.value)}({', '.join(inputs)})"
    if any(results):
        head += f" -> ({', '.join(f'{result}{extra}' for result, extra in zip(type.results, results))})"
    elif type.results:
        head += f" -> {spell_results(type.results)}"
    return head + (f" attributes {spell_dict(dict(sorted(attributes.items())))}" if attributes else "")


def _is_plain_entry(op: Operation, type: FunctionType) -> bool:
    """Whether a function's first block can have its arguments in the function's head."""
    blocks = op.regions[0].blocks
    if not blocks:
        return True
    entry = blocks[0]
    is_target = any(entry in inner.successors for block in blocks for inner in block.ops)
    return tuple(arg.type for arg in entry.args) == type.inputs and not (is_target and entry.args)


def _argument_attributes(found: Attribute | None, count: int) -> list[str] | None:
    """The dictionaries behind arguments or results, as text; None if the list is not one per argument.

    An empty dictionary is only written out when all are, since their list would be lost otherwise.
    """
    if found is None:
        return [""] * count
    if not isinstance(found, ArrayAttr) or len(found.items) != count or count == 0:
        return None
    if not all(isinstance(item, DictAttr) for item in found.items):
        return None
    all_empty = not any(item.items for item in found.items)  # type: ignore[attr-defined]
    return [f" {item}" if all_empty or item.items else "" for item in found.items]  # type: ignore[attr-defined]
