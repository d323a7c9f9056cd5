"""State, and buffers: memref values are NumPy arrays that share memory as the ops say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dlir.backends.ref.code import Environment, Step, runs
from dlir.backends.ref.machine import Machine
from dlir.ir.core import Value
from dlir.ir.dialects import memref
from dlir.ir.dialects.state import Variable
from dlir.ir.errors import DlirError
from dlir.ir.limits import check_type
from dlir.ir.op import Op


def _single(op: Op, compute: Callable[[Environment], Any]) -> Step:
    """The step of an op with one result."""
    result = op.result

    def run(environment: Environment) -> None:
        environment[result] = compute(environment)

    return Step(run)


# ---------------------------------------------------------------- what outlives a call


@runs("state.read")
def read(machine: Machine, op: Op) -> Step:
    name = op["variable"]
    variable = machine.symbol(name, Variable, op.location)
    if name in machine.mutable:
        # It stays as it is until the call returns.
        value = machine.variable(name)
    else:
        found = machine.initialized.get(name)
        value = machine.first_value(variable) if found is None else found
    return _single(op, lambda environment: value)


@runs("state.write")
def write(machine: Machine, op: Op) -> Step:
    name, (operand,) = op["variable"], op.operands
    type = machine.symbol(name, Variable, op.location)["type"]

    def run(environment: Environment) -> None:
        shape = environment[operand].shape
        if shape != type.shape:
            raise DlirError(f"writes an array of shape {list(shape)}, but '@{name}' is {type}", op.location)
        if name in machine.changes.values:
            raise DlirError(f"'@{name}' is written twice in one call", op.location)
        # The value may be a view of a variable that is written, too.
        machine.changes.values[name] = np.array(environment[operand])

    return Step(run)


@runs("memref.get_global")
def get_global(machine: Machine, op: Op) -> Step:
    name = op["name"]
    if name in machine.mutable:
        return _single(op, lambda environment: _own_copy(machine, name))
    if name not in machine.globals:
        declared = machine.symbol(name, memref.Global, op.location)
        machine.globals[name] = _global(machine, declared)
    value = machine.globals[name]
    return _single(op, lambda environment: value)


def _own_copy(machine: Machine, name: str) -> np.ndarray:
    buffers = machine.changes.buffers
    if name not in buffers:
        buffers[name] = np.array(machine.variable(name))
    return buffers[name]


def _global(machine: Machine, op: memref.Global) -> np.ndarray:
    """The buffer of a global that is constant, or that an initialiser computed: it cannot be written to."""
    computed = machine.initialized.get(op["sym_name"])
    if computed is not None:
        return computed
    constant = machine.first_value(op).view()
    constant.setflags(write=False)
    return constant


# ---------------------------------------------------------------- making buffers


@runs("memref.alloc", "memref.alloca")
def alloc(machine: Machine, op: memref.AllocOp) -> Step:
    sizes, type = op.group("dynamicSizes"), op.result.type
    return _single(op, lambda env: machine.allocate(_shape(op, env, type.shape, sizes), type.dtype, op.location))


def _shape(op: Op, environment: Environment, shape: Sequence[int | None], sizes: Sequence[Value]) -> list[int]:
    """`shape` with its dynamic dimensions taken from `sizes` in order; DlirError for a negative one."""
    rest = iter(sizes)
    found = [int(environment[next(rest)]) if dim is None else dim for dim in shape]
    if min(found, default=0) < 0:
        raise DlirError(f"'{op.name}' gets a negative size: {found}", op.location)
    return found


@runs("memref.dealloc")
def dealloc(machine: Machine, op: Op) -> Step:
    """Nothing: NumPy frees a buffer with its last reference."""
    return Step(lambda environment: None)


@runs("memref.view")
def view(machine: Machine, op: memref.View) -> Step:
    source, shift, *sizes = op.operands
    type = op.result.type

    def compute(environment: Environment) -> np.ndarray:
        arena, start = environment[source], int(environment[shift])
        shape = _shape(op, environment, type.shape, sizes)
        found = type.with_shape(shape)
        check_type(found, machine.max_bytes, op.location)
        if start < 0 or start + found.nbytes > arena.size:
            message = f"{found.nbytes} bytes at offset {start} are not inside a buffer of {arena.size} bytes"
            raise DlirError(message, op.location)
        return arena[start : start + found.nbytes].view(found.dtype.numpy).reshape(shape)

    return _single(op, compute)


@runs("memref.cast")
def cast(machine: Machine, op: Op) -> Step:
    (source,) = op.operands
    type = op.result.type

    def compute(environment: Environment) -> np.ndarray:
        array = environment[source]
        if any(want not in (None, dim) for want, dim in zip(type.shape, array.shape)):
            raise DlirError(f"a buffer of shape {array.shape} is not {type}", op.location)
        return array

    return _single(op, compute)


@runs("memref.reinterpret_cast")
def reinterpret_cast(machine: Machine, op: memref.ReinterpretCast) -> Step:
    source, *groups = op.groups

    def numbers(environment: Environment, name: str, group: Sequence[Value]) -> list[int]:
        rest = iter(group)
        return [int(environment[next(rest)]) if at == memref.DYNAMIC else at for at in op[f"static_{name}"]]

    def compute(environment: Environment) -> np.ndarray:
        array = environment[source]
        (offset,), sizes, strides = (
            numbers(environment, name, group) for name, group in zip(("offsets", "sizes", "strides"), groups)
        )
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides))
        if 0 not in sizes and (offset < 0 or last >= array.size or min(sizes + strides, default=0) < 0):
            message = f"offset {offset}, sizes {sizes} and strides {strides} leave a buffer of {array.size} elements"
            raise DlirError(message, op.location)
        flat = array.reshape(-1)
        if not np.shares_memory(flat, array) and array.size:
            raise DlirError("the buffer is not contiguous", op.location)
        unit = array.itemsize
        return np.lib.stride_tricks.as_strided(
            flat[offset:], sizes, [unit * stride for stride in strides], writeable=array.flags.writeable
        )

    return _single(op, compute)


# ---------------------------------------------------------------- elements


def _position(op: Op, array: np.ndarray, environment: Environment, indices: Sequence[Value]) -> tuple[int, ...]:
    """The indices as numbers; DlirError if they are outside of `array`."""
    at = tuple([int(environment[index]) for index in indices])
    for index, extent in zip(at, array.shape):
        if not 0 <= index < extent:
            message = f"'{op.name}' at {list(at)} is outside of a buffer of shape {list(array.shape)}"
            raise DlirError(message, op.location)
    return at


def _writable(op: Op, array: np.ndarray) -> np.ndarray:
    if not array.flags.writeable:
        raise DlirError(f"'{op.name}' writes to an input or a constant", op.location)
    return array


@runs("memref.load")
def load(machine: Machine, op: Op) -> Step:
    source, *indices = op.operands

    def compute(environment: Environment) -> Any:
        array = environment[source]
        return array[_position(op, array, environment, indices)]

    return _single(op, compute)


@runs("memref.store")
def store(machine: Machine, op: Op) -> Step:
    value, target, *indices = op.operands

    def run(environment: Environment) -> None:
        array = _writable(op, environment[target])
        array[_position(op, array, environment, indices)] = environment[value]

    return Step(run)


@runs("memref.copy")
def copy(machine: Machine, op: Op) -> Step:
    source, target = op.operands

    def run(environment: Environment) -> None:
        written = _writable(op, environment[target])
        if written.shape != environment[source].shape:
            message = f"cannot copy shape {environment[source].shape} to shape {written.shape}"
            raise DlirError(message, op.location)
        written[...] = environment[source]

    return Step(run)


@runs("memref.dim")
def dim(machine: Machine, op: Op) -> Step:
    source, index = op.operands

    def compute(environment: Environment) -> Any:
        shape, at = environment[source].shape, int(environment[index])
        if not 0 <= at < len(shape):
            raise DlirError(f"a buffer of {len(shape)} dimensions has no dimension {at}", op.location)
        return np.int64(shape[at])

    return _single(op, compute)


# ---------------------------------------------------------------- vectors


def _window(op: Op, array: np.ndarray, environment: Environment, indices: Sequence[Value], shape: Any) -> np.ndarray:
    """The part of `array` that a vector of `shape` covers from `indices` on."""
    at = _position(op, array, environment, indices)
    lead = array.ndim - len(shape)
    ends = [start + extent for start, extent in zip(at[lead:], shape)]
    if any(end > extent for end, extent in zip(ends, array.shape[lead:])):
        message = f"'{op.name}' of shape {list(shape)} at {list(at)} leaves a buffer of shape {list(array.shape)}"
        raise DlirError(message, op.location)
    slices: list[Any] = [*at[:lead], *map(slice, at[lead:], ends)]
    return array[tuple(slices)]


@runs("vector.load")
def vector_load(machine: Machine, op: Op) -> Step:
    base, *indices = op.operands
    shape = op.result.shape
    return _single(op, lambda env: _window(op, env[base], env, indices, shape).copy())


@runs("vector.store")
def vector_store(machine: Machine, op: Op) -> Step:
    value, base, *indices = op.operands

    def run(environment: Environment) -> None:
        array = _writable(op, environment[base])
        _window(op, array, environment, indices, value.shape)[...] = environment[value]

    return Step(run)
