"""Kernels and buffers for tests of memory passes: making regions, and running functions with real memory.

`run_buffers` is a machine of its own: it shares nothing with the planner, and takes from dlir only the ops' ``eval``.
All memory that holds no value yet is poisoned, so that a read of what was never written, or was overwritten, shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dlir.ir.builder import at_end, before
from dlir.ir.core import Block, Operation, Region, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.ops import func, kernel
from dlir.ir.traversal import Mapping, clone_ops
from dlir.ir.types import TensorType

POISON = 0xFB


def make_function(
    types: Sequence[TensorType], body: Callable[..., Any], names: Sequence[str] = (), name: str = "main"
) -> Module:
    """A module with one function, filled by `body`, which gets the arguments and returns what the function returns."""
    module = Module.empty()
    names = names or [f"x{i}" for i in range(len(types))]
    function = Func.make(name, types, names=names)
    module.body.append(function)
    with at_end(function.body):
        func.return_(*_tuple(body(*function.body.args)))
    function.update_type()
    return module


def region(body: Callable[..., Any], *operands: Value) -> Any:
    """A ``kernel.region`` over tensors at the insertion point; its result, or the tuple of results."""
    block = Block(operand.type for operand in operands)
    with at_end(block):
        results = _tuple(body(*block.args))
        kernel.yield_(*results)
    return kernel.region(*operands, result_types=[value.type for value in results], regions=[Region([block])])


def _tuple(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)


def into_regions(function: Func, chance: random.Random, most: int = 4) -> None:
    """Put runs of up to `most` neighbouring ops of a function over tensors into kernels, at random; each op once."""
    ops = [op for op in function.body.ops if not op.is_terminator]
    while ops:
        count = chance.randint(1, most)
        _outline(ops[:count])
        ops = ops[count:]


def _outline(ops: list[Operation]) -> None:
    inside = dict.fromkeys(result for op in ops for result in op.results)
    operands = list(dict.fromkeys(v for op in ops for v in op.operands if v not in inside))
    results = [value for value in inside if any(user not in ops for user in value.users)]
    if not results:
        for op in reversed(ops):
            op.erase()
        return
    block = Block(value.type for value in operands)
    mapping = Mapping(dict(zip(operands, block.args)))
    for op in clone_ops(ops, mapping):
        block.append(op)
    with at_end(block):
        kernel.yield_(*[mapping.value(value) for value in results])
    with before(ops[0]):
        made = kernel.region(*operands, result_types=[v.type for v in results], regions=[Region([block])])
    for old, new in zip(results, _tuple(made), strict=True):
        old.replace_by(new)
    for op in reversed(ops):
        op.erase()


# ---------------------------------------------------------------- running


def run_tensors(
    function: Func, arrays: Sequence[np.ndarray], variables: dict[str, np.ndarray] | None = None
) -> list[np.ndarray]:
    """The results of a function over tensors, kernels or plain array ops, with loops and branches.

    `variables` are what the function reads, and get what it writes.
    """
    old = dict(variables or {})

    def step(op: Operation, values: dict[Value, Any]) -> None:
        if op.name == "state.read":
            values[op.results[0]] = old[op.get("variable")]
        elif op.name == "state.write":
            assert variables is not None
            variables[op.get("variable")] = np.array(values[op.operands[0]])
        else:
            _tensor_step(op, values)

    values: dict[Value, Any] = dict(zip(function.body.args, arrays, strict=True))
    return [np.array(array) for array in _run_block(function.body, values, step)]


def _run_block(
    block: Block, values: dict[Value, Any], step: Callable[[Operation, dict[Value, Any]], None]
) -> list[Any]:
    """Run a block; what its terminator gives."""
    for op in block.ops:
        if op.is_terminator:
            return [values[value] for value in op.operands]
        if op.name.startswith("scf."):
            values.update(zip(op.results, _run_control(op, values, step), strict=True))
        else:
            step(op, values)
    raise AssertionError("no terminator")


def _run_control(op: Operation, values: dict[Value, Any], step: Any) -> list[Any]:
    inputs = [values[value] for value in op.operands]

    def run(number: int, arguments: Sequence[Any]) -> list[Any]:
        block = op.regions[number].block
        values.update(zip(block.args, arguments, strict=True))
        return _run_block(block, values, step)

    match op.name:
        case "scf.for":
            lower, upper, stride, *carried = inputs
            for at in range(int(lower), int(upper), int(stride)):
                carried = run(0, [np.int64(at), *carried])
            return carried
        case "scf.if":
            chosen = 0 if inputs[0] else 1
            return run(chosen, ()) if op.regions[chosen].blocks else []
        case "scf.while":
            goes_on, *handed = run(0, inputs)
            while goes_on:
                goes_on, *handed = run(0, run(1, handed))
            return handed
    raise AssertionError(f"cannot run {op.name}")


def _tensor_step(op: Operation, values: dict[Value, Any]) -> None:
    inputs = [values[value] for value in op.operands]
    found: Sequence[Any] = run_body(op, inputs) if isinstance(op, KernelRegion) else op.evaluate(inputs)
    values.update(zip(op.results, found, strict=True))


def run_body(op: KernelRegion, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a kernel yields, computed on copies of its inputs."""
    values: dict[Value, np.ndarray] = dict(zip(op.body.args, inputs, strict=True))
    for inner in op.body.ops:
        if inner.is_terminator:
            return [np.array(values[value]) for value in inner.operands]
        values.update(zip(inner.results, inner.evaluate([values[v] for v in inner.operands]), strict=True))
    raise AssertionError("no yield")


def run_buffers(
    function: Func,
    arrays: Sequence[np.ndarray],
    variables: dict[str, np.ndarray] | None = None,
    written: dict[str, np.ndarray] | None = None,
) -> Any:
    """Run a bufferised function as it stands; the results, and the inputs' memory afterwards.

    Of the variables, those that are `written` must have these values then, and all others the old ones.
    """
    memory = {name: np.array(array) for name, array in (variables or {}).items()}
    values: dict[Value, Any] = {}
    results: dict[int, np.ndarray] = {}
    inputs: list[np.ndarray] = []
    for arg in function.body.args:
        roles = function.arg_attributes(arg.index)
        if "dlir.input" in roles:
            inputs.append(np.array(arrays[roles["dlir.input"].value]))
            values[arg] = inputs[-1]
        else:
            values[arg] = _poisoned(arg.type)
        if "dlir.result" in roles:
            results[roles["dlir.result"].value] = values[arg]
    _run_block(function.body, values, lambda op, known: _step(op, known, memory))
    for name, array in {**(variables or {}), **(written or {})}.items():
        assert np.array_equal(memory[name], array), f"variable {name} is wrong"
    return [results[i] for i in range(len(results))], inputs


def _poisoned(type: Any) -> np.ndarray:
    return np.full(type.nbytes, POISON, np.uint8).view(type.dtype.numpy).reshape(type.shape)


def _step(op: Operation, values: dict[Value, Any], memory: dict[str, np.ndarray]) -> None:
    match op.name:
        case "memref.alloc":
            values[op.results[0]] = _poisoned(op.results[0].type)
        case "memref.get_global":
            values[op.results[0]] = memory[op.get("name")]
        case "memref.view":
            type = op.results[0].type
            start = values[op.operands[1]]
            raw = values[op.operands[0]].view(np.uint8)[start : start + type.nbytes]
            assert raw.nbytes == type.nbytes, "a view reaches out of the arena"
            values[op.results[0]] = raw.view(type.dtype.numpy).reshape(type.shape)
        case "memref.reinterpret_cast":
            type = op.results[0].type
            values[op.results[0]] = values[op.operands[0]].reshape(-1)[: type.size].reshape(type.shape)
        case "memref.copy":
            values[op.operands[1]][...] = values[op.operands[0]]
        case "kernel.region":
            assert isinstance(op, KernelRegion)
            # A kernel may write a result before it has read its operands, unless it is marked as working in place.
            inplace = (op.get("dlir.inplace") or ())[1::2]
            for number, place in enumerate(op.destinations, len(op.ins)):
                if number not in inplace:
                    values[place].reshape(-1).view(np.uint8)[...] = POISON
            found = run_body(op, [np.array(values[value]) for value in op.ins])
            for place, array in zip(op.destinations, found, strict=True):
                values[place][...] = array
        case "memref.load":
            array, *indices = (values[value] for value in op.operands)
            values[op.results[0]] = array[tuple(map(int, indices))]
        case "memref.store":
            number, array, *indices = (values[value] for value in op.operands)
            array[tuple(map(int, indices))] = number
        case name if name.startswith("arith."):
            values.update(zip(op.results, op.evaluate([values[value] for value in op.operands]), strict=True))
        case _:
            raise AssertionError(f"cannot run {op.name}")
