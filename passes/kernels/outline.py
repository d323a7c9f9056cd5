"""Loops of a CPU's kernel that become functions of their own, so that their constants stay out of other loops' registers.

What follows a contraction is done for each of its register tiles.  A function such as ``tanh`` takes a dozen constants, which
LLVM moves out of all loops around it; they then hold the registers that the sums of the tile need, and the loop over the
products spills.  (A matmul with a GELU took more than twice as long for that.)  A call keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlir.ir.attributes import UNIT, StringAttr
from dlir.ir.builder import at_end, before, insert
from dlir.ir.core import Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.scf import Parallel
from dlir.ir.ops import func
from dlir.ir.traversal import Mapping, clone
from dlir.ir.types import INDEX
from dlir.passes.kernels.classify import is_function
from dlir.passes.kernels.nest import LoopNest
from dlir.passes.kernels.work_cpu import values_from_outside

#: A loop that may become a function.
OUTLINE = "dlir.outline"


def may_be_outlined(nest: LoopNest) -> None:
    """Mark the loop that was made last in the innermost scope."""
    loop = nest.scopes[-1].block.last
    assert isinstance(loop, Parallel)
    loop.attributes[OUTLINE] = UNIT


def outline(kernel: Func, new_name: Callable[[], str]) -> list[Func]:
    """Make functions of the loops of `kernel` that are marked and call functions of mathematics; these functions."""
    made = []
    for loop in [op for op in kernel.walk() if isinstance(op, Parallel) and OUTLINE in op.attributes]:
        del loop.attributes[OUTLINE]
        if any(is_function(op.name) for op in loop.walk()):
            made.append(_outlined(loop, new_name()))
    return made


def _outlined(loop: Parallel, name: str) -> Func:
    """A function that does what `loop` does, and which is called instead."""
    captured = captured_by(loop)
    function, _ = function_of(loop, name, captured)
    with at_end(function.body, loop.location):
        func.return_()
    with before(loop):
        insert(Call.create(*captured, callee=name, result_types=()))
    loop.erase()
    return function


def captured_by(loop: Parallel) -> list[Value]:
    """What a function of `loop` needs from outside, but for constants, and for what the loop starts from."""
    starts = loop.group("initVals")
    return [value for value in values_from_outside(loop) if constant_value(value) is None and value not in starts]


def function_of(
    loop: Parallel, name: str, captured: Sequence[Value], numbers: Sequence[str] = ()
) -> tuple[Func, Parallel]:
    """A function of `numbers`, of type index, and of what `loop` captures, and the copy of `loop` in it; it does not
    return yet."""
    names = [*numbers, *(value.name for value in captured)]
    types = [*[INDEX] * len(numbers), *(value.type for value in captured)]
    function = Func.make(name, types, [], names, private=True)
    function.location = loop.location
    function.attributes["dlir.kernel"] = StringAttr("cpu")
    mapping = Mapping(dict(zip(captured, function.body.args[len(numbers) :])))
    with at_end(function.body, loop.location):
        for value in values_from_outside(loop):
            if constant_value(value) is not None and value.defining_op is not None:
                insert(clone(value.defining_op, mapping))
        copy: Parallel = insert(clone(loop, mapping))
    return function, copy
