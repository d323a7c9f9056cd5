"""What Python needs of a lowered module once its code is compiled, as plain data.

That is its variables, and of the functions that Python calls (the entry and initialisers) their heads and the names of the
variables that they use, themselves or in kernels: a module with no more than that answers `signature_of`,
`initializers_for` and `state_of` as the whole one does.  It is written as JSON and not as text IR, whose parser takes
longer to get ready than a program takes to load.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dlir.ir.attributes import (
    ArrayAttr,
    Attribute,
    BoolAttr,
    DenseElementsAttr,
    DenseResourceAttr,
    DictAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
    UnitAttr,
)
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, Return
from dlir.ir.dialects.memref import Global
from dlir.ir.initializers import reached
from dlir.ir.location import UNKNOWN
from dlir.ir.op import Op
from dlir.ir.types import FloatType, FunctionType, IndexType, IntegerType, MemRefType, TensorType, Type

#: What the end of a function says that the function uses.
_USES = "dlir.uses"


class NotPlain(Exception):
    """There is something in the module that has no form as plain data."""


def write_skeleton(module: Module, symbols: Iterable[str]) -> tuple[Any, list[np.ndarray]]:
    """The skeleton of `module` with the functions called `symbols`, and the arrays in it, one for each index; or NotPlain."""
    wanted = dict.fromkeys(symbols)
    functions = [op for op in module.body.ops if isinstance(op, Func) and op.symbol in wanted]
    arrays: list[np.ndarray] = []
    variables: dict[Global, None] = {}
    heads = []
    for function in functions:
        used = [op for op in reached(module, function) if isinstance(op, Global)]
        variables.update(dict.fromkeys(used))
        args = function.body.args
        heads.append(
            {
                "attributes": _write_attributes(_own(function), arrays),
                "arguments": [[_write_type(arg.type), arg.name] for arg in args],
                "uses": [op["sym_name"] for op in used],
            }
        )
    skeleton = {"functions": heads, "variables": [_write_attributes(_own(op), arrays) for op in variables]}
    return skeleton, arrays


def _own(op: Op) -> dict[str, Attribute]:
    """The attributes that mean something to dlir: not notes of whoever made the module."""
    return {name: item for name, item in op.attributes.items() if "." not in name or name.startswith("dlir.")}


def read_skeleton(skeleton: Any, arrays: Sequence[bytes], source: Module) -> Module:
    """The module of a skeleton; its ops have the places of those in `source`.

    Some ValueError, KeyError or TypeError if the data is not what was written.
    """
    found = Module.empty()
    places = {op.get("sym_name"): op.location for op in source.body.ops}
    for item in skeleton["functions"]:
        types, names = zip(*item["arguments"]) if item["arguments"] else ((), ())
        function = Func.make("", [_read_type(type) for type in types], names=names)
        function.attributes.clear()
        function.attributes.update(_read_attributes(item["attributes"], arrays))
        ending = Return.create(result_types=())
        ending.attributes[_USES] = ArrayAttr([SymbolRefAttr(name) for name in item["uses"]])
        function.body.append(ending)
        found.body.append(function)
    for item in skeleton["variables"]:
        attributes: dict[str, Any] = _read_attributes(item, arrays)
        found.body.append(Global.create(result_types=(), **attributes))
    for op in found.body.ops:
        op.location = places.get(op.get("sym_name"), UNKNOWN)
    return found


# ---------------------------------------------------------------- attributes, as [kind, ...]


def _write_attributes(attributes: dict[str, Attribute], arrays: list[np.ndarray]) -> dict[str, Any]:
    return {name: _write(item, arrays) for name, item in attributes.items()}


def _read_attributes(data: dict[str, Any], arrays: Sequence[bytes]) -> dict[str, Attribute]:
    return {name: _read(item, arrays) for name, item in data.items()}


def _write(item: Attribute, arrays: list[np.ndarray]) -> list[Any]:
    """An attribute as plain data; nesting is no deeper than the IR of a function's head."""
    match item:
        case UnitAttr():
            return ["unit"]
        case BoolAttr():
            return ["bool", item.value]
        case IntegerAttr():
            return ["integer", item.value, _write_type(item.type)]
        case StringAttr():
            return ["string", item.value]
        case SymbolRefAttr():
            return ["symbol", *item.path]
        case TypeAttr():
            return ["type", _write_type(item.value)]
        case ArrayAttr():
            return ["array", *(_write(part, arrays) for part in item.items)]
        case DictAttr():
            return ["dict", {name: _write(part, arrays) for name, part in item.items.items()}]
        case DenseResourceAttr():
            return ["resource", item.name, _write_type(item.type)]
        case DenseElementsAttr():
            arrays.append(item.array)
            return ["dense", len(arrays) - 1, list(item.array.shape), _write_type(item.type)]
    raise NotPlain(f"{type(item).__name__} has no plain form")


def _read(data: list[Any], arrays: Sequence[bytes]) -> Any:
    kind, *rest = data
    match kind:
        case "unit":
            return UnitAttr()
        case "bool":
            return BoolAttr(rest[0])
        case "integer":
            return IntegerAttr(rest[0], _read_type(rest[1]))
        case "string":
            return StringAttr(rest[0])
        case "symbol":
            return SymbolRefAttr(*rest)
        case "type":
            return TypeAttr(_read_type(rest[0]))
        case "array":
            return ArrayAttr([_read(part, arrays) for part in rest])
        case "dict":
            return DictAttr({name: _read(part, arrays) for name, part in rest[0].items()})
        case "resource":
            return DenseResourceAttr(rest[0], _read_type(rest[1]))
        case "dense":
            number, shape, type = rest[0], rest[1], _read_type(rest[2])
            return DenseElementsAttr(np.frombuffer(arrays[number], type.dtype.numpy).reshape(shape), type)
    raise ValueError(f"unknown kind of attribute {kind!r}")


# ---------------------------------------------------------------- types


def _write_type(item: Type) -> list[Any]:
    match item:
        case IntegerType():
            return ["integer", item.width, item.signedness]
        case FloatType():
            return ["float", item.name]
        case IndexType():
            return ["index"]
        case MemRefType(layout=None, space=None):
            return ["memref", item.shape, _write_type(item.dtype)]
        case TensorType(encoding=None):
            return ["tensor", item.shape, _write_type(item.dtype)]
        case FunctionType():
            return [
                "function",
                [_write_type(type) for type in item.inputs],
                [_write_type(type) for type in item.results],
            ]
    raise NotPlain(f"{item} has no plain form")


def _read_type(data: list[Any]) -> Any:
    kind, *rest = data
    match kind:
        case "integer":
            return IntegerType(rest[0], rest[1])
        case "float":
            return FloatType(rest[0])
        case "index":
            return IndexType()
        case "memref":
            return MemRefType(rest[0], _read_type(rest[1]))
        case "tensor":
            return TensorType(rest[0], _read_type(rest[1]))
        case "function":
            return FunctionType([_read_type(type) for type in rest[0]], [_read_type(type) for type in rest[1]])
    raise ValueError(f"unknown kind of type {kind!r}")
