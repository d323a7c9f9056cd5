"""What a function needs in memory, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, find_function
from dlir.ir.state import WRITES, state_of
from dlir.ir.traversal import clone
from dlir.ir.types import MemRefType, ShapedType, TensorType
from dlir.passes.bind_shapes import bind_shapes
from dlir.passes.differentiate import Differentiate
from dlir.passes.inline import Inline
from dlir.passes.kernels.classify import FusionClass, fusion_class
from dlir.passes.lower_nn import LowerNn
from dlir.passes.manager import PassManager
from dlir.passes.memory.liveness import liveness, planned_ops
from dlir.passes.memory.packing import Lifetime, lower_bound
from dlir.passes.memory.timeline import timeline


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Bytes by use.

    `naive` is what it takes when every op's result has memory of its own, as in NumPy: inputs, intermediate values and
    results.  `planned` is the inputs, the results that do not live in a donated input, and the arena; no plan for the
    same kernels in the same order needs less than `lower_bound`.  A variable that the function writes counts once in all
    of them (`state`), as a donated input whose memory holds a result would; other variables are not counted.
    """

    naive: int
    inputs: int
    results: int
    arena: int
    lower_bound: int
    #: Different places of memory besides the inputs: results and places in the arena.
    buffers: int
    #: Bytes of results that live in donated inputs.
    aliased: int = 0
    #: Bytes of the variables that the function writes.
    state: int = 0

    @property
    def planned(self) -> int:
        return self.inputs + self.state + self.results + self.arena

    # What JAX calls them (`jax.stages.CompiledMemoryStats`).

    @property
    def argument_size_in_bytes(self) -> int:
        return self.inputs

    @property
    def output_size_in_bytes(self) -> int:
        """All results, those in donated inputs, too."""
        return self.results + self.aliased

    @property
    def alias_size_in_bytes(self) -> int:
        return self.aliased

    @property
    def temp_size_in_bytes(self) -> int:
        return self.arena

    def __str__(self) -> str:
        state = f" + variables {self.state:,}" if self.state else ""
        parts = f"inputs {self.inputs:,}{state} + results {self.results:,} + arena {self.arena:,}"
        return f"memory: naive {self.naive:,}, planned {self.planned:,} ({parts}), at least {self.lower_bound:,} bytes"


def memory_report(module: Module, lowered: Module, entry: str = "main") -> MemoryReport:
    """The report on function `entry`: naive from `module` as it was written, the rest from `lowered`.

    `lowered` is any form of the module after ``bufferize``; over tensors every value has memory of its own.
    """
    function = find_function(lowered, entry)
    naive = naive_bytes(_source(module, function, entry))
    state = state_bytes(function)
    if not is_over_buffers(function):
        inputs = sum(arg.type.nbytes for arg in function.body.args if isinstance(arg.type, TensorType))
        return MemoryReport(naive, inputs, 0, naive - inputs - state, naive, 0, state=state)
    inputs, results = _argument_bytes(function, "dlir.input"), _result_bytes(function)
    arena, least = _arena_bytes(function)
    aliased = _result_bytes(function, donated=True)
    bound = inputs + state + results + least
    return MemoryReport(naive, inputs, results, arena, bound, _count_places(function), aliased, state)


def is_over_buffers(function: Func) -> bool:
    """Whether a function has been bufferised."""
    return WRITES in function.attributes or any(isinstance(arg.type, MemRefType) for arg in function.body.args)


def state_bytes(function: Func) -> int:
    """Bytes of the variables that a function writes."""
    module = function.parent_op
    if module is None:
        return 0
    state = state_of(module, function)
    return sum(state.variables[name]["type"].nbytes for name in state.written)


def planned_bytes(function: Func) -> int:
    """Bytes that a call of a bufferised function needs: inputs, variables that it writes, results, arena or allocations."""
    return needed_bytes(function)[0]


def needed_bytes(function: Func) -> tuple[int, int]:
    """`planned_bytes` and their lower bound."""
    fixed = _argument_bytes(function, "dlir.input") + state_bytes(function) + _result_bytes(function)
    arena, least = _arena_bytes(function)
    return fixed + arena, fixed + least


def naive_bytes(function: Func) -> int:
    """Bytes of the inputs, written variables and every computed value of a function over tensors or kernels over buffers.

    Views (reshape, transpose, broadcast, slice) and constants take nothing.  Shapes must be static.  Of kernels that are
    lowered already, only the buffers that are left are counted.
    """
    tensors = sum(arg.type.nbytes for arg in function.body.args if isinstance(arg.type, TensorType))
    inputs = (tensors or _argument_bytes(function, "dlir.input")) + state_bytes(function)
    computed = [value for op in function.walk() if _owns_memory(op) for value in op.results]
    if any(isinstance(value.type, TensorType) for value in computed):
        return inputs + sum(value.type.nbytes for value in computed if isinstance(value.type, TensorType))
    places = [op.results[0] for op in function.walk() if op.name in ("memref.alloc", "memref.view")]
    return inputs + _result_bytes(function) + sum(value.type.nbytes for value in places)


def _owns_memory(op: Operation) -> bool:
    if op.regions or op.name in ("nd.constant", "state.read"):
        return False
    return fusion_class(op) is not FusionClass.VIEW


def _source(module: Module, function: Func, entry: str) -> Func:
    """A copy of the function as written, with the shapes of `function`, in array ops."""
    copy = clone(module)
    source = find_function(copy, entry)
    PassManager([Inline()]).run(copy)
    if any(isinstance(arg.type, TensorType) and not arg.type.is_static for arg in source.body.args):
        types = [arg.type for arg in function.body.args[: len(source.body.args)]]
        bind_shapes(copy, entry, [_tensor(type) if isinstance(type, ShapedType) else type for type in types])
    PassManager([Differentiate(), LowerNn()]).run(copy)
    return source


def _tensor(type: ShapedType) -> TensorType:
    return TensorType(type.shape, type.dtype)


def _argument_bytes(function: Func, role: str) -> int:
    args = function.body.args
    return sum(
        arg.type.nbytes
        for arg in args
        if isinstance(arg.type, MemRefType) and role in function.arg_attributes(arg.index)
    )


def _result_bytes(function: Func, donated: bool = False) -> int:
    """Bytes of the results that live in a donated input, or of those that do not."""
    total = 0
    for arg in function.body.args:
        roles = function.arg_attributes(arg.index)
        if "dlir.result" in roles and ("dlir.input" in roles) == donated:
            total += arg.type.nbytes
    return total


def _arena_bytes(function: Func) -> tuple[int, int]:
    """The bytes of the arena, or of the allocations if there is none yet, and their lower bound."""
    for arg in function.body.args:
        roles = function.arg_attributes(arg.index)
        if "dlir.arena" in roles:
            size = arg.type.nbytes
            bound = roles.get("dlir.lower_bound")
            return size, size if bound is None else bound.value
    allocs = [op.results[0] for op in planned_ops(function)]
    spans = liveness(function).spans
    items = [Lifetime(value.type.nbytes, spans[value].first, spans[value].last) for value in allocs if value in spans]
    return sum(value.type.nbytes for value in allocs), lower_bound(items)


def _count_places(function: Func) -> int:
    places: dict[object, None] = {}
    for arg in function.body.args:
        roles = function.arg_attributes(arg.index)
        if "dlir.result" in roles and "dlir.input" not in roles:
            places[arg] = None
    places.update(dict.fromkeys(planned_ops(function)))
    for op in timeline(function).starts:
        if op.name == "memref.view" and op.operands[0] in function.body.args:
            places[_constant(op.operands[1])] = None
    return len(places)


def _constant(value: Value) -> object:
    """The number that `value` is, or itself if that is not known."""
    op = value.defining_op
    return op.get("value") if op is not None and op.name == "arith.constant" else value
