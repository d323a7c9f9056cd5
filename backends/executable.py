"""What a compiled function takes and gives, whatever backend runs it.

The signature is read from the function at any level: from its tensor types, or, once it writes its results to buffers,
from the attributes of its arguments (`dlir.input`, `dlir.result`, `dlir.arena`, `dlir.name`, `dlir.donated`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from dlir.ir.attributes import Attribute, IntegerAttr, StringAttr
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.types import MemRefType, OpaqueType, ScalarType, ShapedType, TensorType, Type

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Input:
    """An input: a donated one may be overwritten by the call."""

    name: str
    type: TensorType
    is_donated: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """What to pass for one argument of the bufferised function: input or result number `number`, or the arena.

    The buffer of a donated input may hold a result, too: `result`.
    """

    kind: Literal["input", "result", "arena"]
    number: int
    type: MemRefType
    result: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and results in order; `roles` has one entry per argument, and none if the function is not bufferised."""

    function: str
    inputs: tuple[Input, ...]
    results: tuple[TensorType, ...]
    roles: tuple[Role, ...] = ()

    def __str__(self) -> str:
        inputs = ", ".join(f"{item.name}: {item.type}" for item in self.inputs)
        results = ", ".join(map(str, self.results))
        return f"({inputs}) -> {results if len(self.results) == 1 else f'({results})'}"

    def arrange(self, positional: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """One value per input, from values in order and by name; DlirError for one that is missing, extra or twice."""
        names = [item.name for item in self.inputs]
        if len(positional) > len(names):
            raise self._error(f"takes {len(names)} arguments ({', '.join(names)}), got {len(positional)}")
        values = dict(zip(names, positional))
        for name, value in named.items():
            if name not in names:
                raise self._error(f"has no argument '{name}'", did_you_mean(name, names))
            if name in values:
                raise self._error(f"got argument '{name}' twice")
            values[name] = value
        missing = [name for name in names if name not in values]
        if missing:
            raise self._error(f"needs argument{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}")
        return [values[name] for name in names]

    def input_array(self, number: int, value: Any) -> np.ndarray:
        """`value` as a plain array of the type of input `number`; not copied if it is one in any layout.

        Numbers and lists are converted; arrays must have the dtype and shape (DlirError), and may come by DLPack.
        """
        item = self.inputs[number]
        dtype = numpy_dtype(item.type)
        array = _as_array(value, dtype)
        if array is None:
            raise self._error(f"cannot take a {type(value).__name__} for argument '{item.name}'")
        if array.dtype != dtype or array.shape != item.type.shape:
            raise self._error(
                f"needs {spell_array(dtype, item.type.shape)} for argument '{item.name}', got {_spell(array)}"
            )
        return array

    def check_out(self, out: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
        """The arrays that the caller gives for the results, one each; DlirError for any that does not fit."""
        arrays = [out] if isinstance(out, np.ndarray) else list(out)
        if len(arrays) != len(self.results):
            raise self._error(f"gives {len(self.results)} results, got {len(arrays)} arrays in 'out'")
        for number, (array, type_) in enumerate(zip(arrays, self.results)):
            if not isinstance(array, np.ndarray):
                raise self._error(f"needs an array in out[{number}], got a {type(array).__name__}")
            if array.dtype != numpy_dtype(type_) or array.shape != type_.shape:
                wanted = spell_array(numpy_dtype(type_), type_.shape)
                raise self._error(f"needs {wanted} in out[{number}], got {_spell(array)}")
            if not array.flags.writeable:
                raise self._error(f"cannot write to out[{number}]: it is read-only")
        return arrays

    def check_donations(self, arrays: Sequence[np.ndarray]) -> None:
        """DlirError if a donated input cannot be written, or shares memory with another input."""
        for number, item in enumerate(self.inputs):
            if not item.is_donated:
                continue
            hint = f"a call may overwrite '{item.name}': pass a copy of it, or do not donate it"
            if not arrays[number].flags.writeable:
                raise self._error(f"takes argument '{item.name}' as donated, but it is read-only", hint)
            for other, array in enumerate(arrays):
                if other != number and _share_memory(arrays[number], array):
                    name = self.inputs[other].name
                    raise self._error(f"takes argument '{item.name}' as donated, but '{name}' shares its memory", hint)

    def _error(self, message: str, hint: str | None = None) -> DlirError:
        return DlirError(f"'@{self.function}' {message}", hint=hint)


def _share_memory(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two arrays have an element in common; columns of one matrix lie within each other, and do not."""
    return np.may_share_memory(one, two) and np.may_share_memory(one, two, max_work=1000)  # type: ignore[arg-type]


def signature_of(function: Func) -> Signature:
    """The signature of a function at any level; DlirError if the attributes of its arguments do not make sense."""
    roles = [function.arg_attributes(index) for index in range(len(function.body.args))]
    if any(key in role for role in roles for key in ("dlir.input", "dlir.result", "dlir.arena")):
        return _bufferized(function, roles)
    inputs = [
        Input(_name(function, index, role), _tensor(function, arg.type), "dlir.donated" in role)
        for index, (arg, role) in enumerate(zip(function.body.args, roles))
    ]
    results = tuple(_tensor(function, type_) for type_ in function.type.results)
    return Signature(function.symbol, tuple(inputs), results)


def input_types(function: Func) -> tuple[list[str], list[TensorType]]:
    """The names and types of the inputs of a function at any level, in order."""
    inputs = signature_of(function).inputs
    return [item.name for item in inputs], [item.type for item in inputs]


def numpy_dtype(type_: ShapedType) -> np.dtype:
    """The NumPy dtype of the elements."""
    assert isinstance(type_.dtype, ScalarType)
    return type_.dtype.numpy


def spell_array(dtype: np.dtype, shape: Sequence[int | None]) -> str:
    """An array's kind in words: `float32 of shape [2, 3]`."""
    return f"{dtype} of shape [{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


def _spell(array: np.ndarray) -> str:
    order = "" if array.dtype.isnative else " (foreign byte order)"
    return spell_array(array.dtype, array.shape) + order


def _bufferized(function: Func, attributes: Sequence[dict[str, Attribute]]) -> Signature:
    inputs: list[tuple[int, Input]] = []
    results: list[tuple[int, TensorType]] = []
    roles = []
    for index, (arg, role) in enumerate(zip(function.body.args, attributes)):
        type_ = _tensor(function, arg.type)
        source, result = _number(role, "dlir.input"), _number(role, "dlir.result")
        if source is not None:
            is_donated = result is not None or "dlir.donated" in role
            inputs.append((source, Input(_name(function, index, role), type_, is_donated)))
            roles.append(Role("input", source, arg.type, result))
        elif result is not None:
            roles.append(Role("result", result, arg.type))
        elif "dlir.arena" in role:
            roles.append(Role("arena", 0, arg.type))
        else:
            raise DlirError(f"argument {index} of '@{function.symbol}' has no role", function.location)
        if result is not None:
            results.append((result, type_))
    if sum(role.kind == "arena" for role in roles) > 1:
        raise DlirError(f"'@{function.symbol}' takes two arenas", function.location)
    return Signature(function.symbol, _in_order(function, inputs), _in_order(function, results), tuple(roles))


def _in_order(function: Func, numbered: list[tuple[int, Item]]) -> tuple[Item, ...]:
    """The items in the order of their numbers; DlirError unless those are 0, 1, ..."""
    found = dict(numbered)
    if sorted(number for number, _ in numbered) != list(range(len(numbered))):
        raise DlirError(f"the inputs or results of '@{function.symbol}' are not numbered 0, 1, ...", function.location)
    return tuple(found[number] for number in range(len(found)))


def _tensor(function: Func, type_: Type) -> TensorType:
    if isinstance(type_, MemRefType):
        type_ = TensorType(type_.shape, type_.dtype)
    elif isinstance(type_, ScalarType):
        type_ = TensorType((), type_)
    if isinstance(type_, TensorType) and isinstance(type_.dtype, ScalarType) and type_.dtype.has_numpy:
        return type_
    hint = None
    if isinstance(type_, OpaqueType):
        hint = "a graph that was saved without shapes runs from Python; Function.export writes one that commands run"
    message = f"'@{function.symbol}' takes or gives a {type_}, which no caller can hold"
    raise DlirError(message, function.location, hint=hint)


def _name(function: Func, index: int, role: Mapping[str, Attribute]) -> str:
    found = role.get("dlir.name")
    return found.value if isinstance(found, StringAttr) else function.body.args[index].name or f"arg{index}"


def _number(role: Mapping[str, Attribute], name: str) -> int | None:
    found = role.get(name)
    return found.value if isinstance(found, IntegerAttr) else None


def _as_array(value: Any, dtype: np.dtype) -> np.ndarray | None:
    """`value` as a plain array, or None if it is nothing like one."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    if not isinstance(value, bool | int | float | list | tuple):
        return np.asarray(value) if hasattr(value, "__array__") or hasattr(value, "__array_interface__") else None
    try:
        array = np.asarray(value)
        # A Python number has no precise type of its own, but a fraction is no integer.
        return array.astype(dtype) if _converts(array, dtype) else array
    except (ValueError, OverflowError):
        return None


def _converts(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether numbers from Python may become elements of `dtype` without losing their kind."""
    order = "buif"
    kind = dtype.kind if dtype.kind in order else "f"
    if array.size == 0:
        return True
    return array.dtype.kind in order and order.index(array.dtype.kind.replace("u", "i")) <= order.index(kind)


def check_buffers(function: Func, backend: str) -> None:
    """DlirError unless all arguments of a lowered function are buffers of static shape."""
    for arg in function.body.args:
        if isinstance(arg.type, MemRefType) and arg.type.is_static:
            _tensor(function, arg.type)
            continue
        hint = "lower it first, with -O2 or the pass bufferize"
        if isinstance(arg.type, ScalarType):
            hint = f"take a tensor<{arg.type}>, whose element tensor.extract gives"
        message = f"'@{function.symbol}' takes {arg.type}, where the {backend} backend needs buffers of static shape"
        raise DlirError(message, arg.location, hint=hint)
