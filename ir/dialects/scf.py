"""The ``scf`` dialect: structured control flow, as upstream.

`for_loop`, `parallel_loop`, `if_else` and `while_loop` build the ops with their bodies::

    (total,) = for_loop(0, n, 1, [zero], lambda i, sum: arith.addf(sum, memref.load(x, [i])))

A body is a function of the block's arguments that emits ops and returns the values to yield: none, one or a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dlir.ir.builder import insert
from dlir.ir.core import Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.regions import check_arguments, check_ending, only_block, region_of
from dlir.ir.dialects.scalars import is_signless
from dlir.ir.errors import DlirError, InferError
from dlir.ir.op import INDEX, Declared, Index, Op, Region, Scalar, Type
from dlir.ir.types import I1

Body = Callable[..., Any]


class For(Op, name="scf.for"):
    """Run the body for lowerBound, lowerBound + step, ... below upperBound; the results are what the last run yields.

    The block's arguments are the counter and the carried values, first `initArgs`.  The step must be positive.
    """

    terminated_by = "scf.yield"

    @staticmethod
    def infer(
        lowerBound: Scalar, upperBound: Scalar, step: Scalar, *initArgs: Type, region: Region
    ) -> tuple[Type, ...]:
        if not is_signless(lowerBound) or upperBound is not lowerBound or step is not lowerBound:
            raise InferError(f"needs bounds of one integer type or index, got {lowerBound}, {upperBound}, {step}")
        return initArgs

    @property
    def counter(self) -> Value:
        """The block argument that counts."""
        return self.body.args[0]

    @property
    def inits(self) -> tuple[Value, ...]:
        """The first values of what is carried."""
        return self.operands[3:]

    @property
    def carried(self) -> list[Any]:
        """The block arguments that hold what the run before yielded."""
        return self.body.args[1:]

    def verify(self) -> None:
        block = only_block(self)
        step = constant_value(self.operands[2])
        if step is not None and step <= 0:
            raise DlirError(f"needs a step that is positive, got {step}", self.location)
        check_arguments(self, block, [self.operand_types[0], *self.result_types])
        check_ending(self, block, "scf.yield", self.result_types)


class If(Op, name="scf.if"):
    """Run one of two regions; the results are what it yields.  Without results, the else region may be empty."""

    terminated_by = "scf.yield"

    @staticmethod
    def infer(condition: Scalar, *, thenRegion: Region, elseRegion: Region) -> Declared: ...  # type: ignore[empty-body]

    def verify(self) -> None:
        if self.operand_types[0] is not I1:
            raise DlirError(f"needs an i1 condition, got {self.operand_types[0]}", self.location)
        for index, region in enumerate(self.regions):
            if index == 1 and not region.blocks and not self.results:
                continue
            block = only_block(self, index)
            check_arguments(self, block, ())
            check_ending(self, block, "scf.yield", self.result_types)


class While(Op, name="scf.while"):
    """Run `before`; while its condition holds, hand its values to `after` and what that yields to `before` again.

    The results are the values that ``scf.condition`` held when it was false.
    """

    @staticmethod
    def infer(*inits: Type, before: Region, after: Region) -> Declared: ...  # type: ignore[empty-body]

    def verify(self) -> None:
        before, after = only_block(self, 0), only_block(self, 1)
        check_arguments(self, before, self.operand_types)
        check_ending(self, before, "scf.condition", [I1, *self.result_types])
        check_arguments(self, after, self.result_types)
        check_ending(self, after, "scf.yield", self.operand_types)


class Condition(Op, name="scf.condition"):
    """End of ``scf.while``'s first region: whether to go on, and with which values."""

    is_terminator = True
    parent_name = "scf.while"

    @staticmethod
    def infer(condition: Scalar, *args: Type) -> None: ...


class Parallel(Op, name="scf.parallel"):
    """Run the body for each point of a box of indices, in any order or at once.

    The results are reductions: ``scf.reduce`` at the end of the body gives a value for each, which is combined with the
    values of all other points and with the init value, in any order.
    """

    terminated_by = "scf.reduce"

    @staticmethod
    def infer(
        lowerBound: tuple[Index, ...],
        upperBound: tuple[Index, ...],
        step: tuple[Index, ...],
        initVals: tuple[Type, ...],
        *,
        region: Region,
    ) -> tuple[Type, ...]:
        if not len(lowerBound) == len(upperBound) == len(step) or not lowerBound:
            counts = ", ".join(str(len(group)) for group in (lowerBound, upperBound, step))
            raise InferError(f"needs as many lower bounds as upper bounds and steps, at least one, got {counts}")
        return initVals

    @property
    def dims(self) -> int:
        """The number of loop dimensions."""
        return len(self.group("lowerBound"))

    @property
    def counters(self) -> list[Any]:
        """The block arguments that count, one per dimension."""
        return self.body.args

    def verify(self) -> None:
        block = only_block(self)
        check_arguments(self, block, [INDEX] * self.dims)
        check_ending(self, block, "scf.reduce", self.result_types)


class Reduce(Op, name="scf.reduce"):
    """End of ``scf.parallel``: a value per result, and a region per result that combines two of them."""

    is_terminator = True
    parent_name = "scf.parallel"
    terminated_by = "scf.reduce.return"

    @staticmethod
    def infer(*operands: Type, reductions: tuple[Region, ...]) -> None: ...

    def verify(self) -> None:
        if len(self.regions) != len(self.operands):
            raise DlirError(f"needs a region for each of {len(self.operands)} operands", self.location)
        for index, type in enumerate(self.operand_types):
            block = only_block(self, index)
            check_arguments(self, block, [type, type])
            check_ending(self, block, "scf.reduce.return", [type])


class ReduceReturn(Op, name="scf.reduce.return"):
    """End of a region of ``scf.reduce``: the combined value."""

    is_terminator = True
    parent_name = "scf.reduce"

    @staticmethod
    def infer(result: Type) -> None: ...


class Yield(Op, name="scf.yield"):
    """End of a region of ``scf.for``, ``scf.if`` or ``scf.while``: the values it gives."""

    is_terminator = True
    parent_name = ("scf.for", "scf.if", "scf.while")

    @staticmethod
    def infer(*results: Type) -> None: ...


# ---------------------------------------------------------------- building with bodies


def as_index(value: Value | int) -> Value:
    """`value`, or a constant of type index for a Python int."""
    from dlir.ir.ops import arith

    return arith.constant(value, INDEX) if isinstance(value, int) else value


def for_loop(
    lower: Value | int, upper: Value | int, step: Value | int, inits: Sequence[Value], body: Body
) -> tuple[Value, ...]:
    """An ``scf.for``; ``body(i, *carried)`` returns the values carried on.  Returns the results."""
    bounds = [as_index(bound) for bound in (lower, upper, step)]
    region = region_of([bounds[0].type, *(init.type for init in inits)], body, Yield.build)
    return insert(For.create(*bounds, *inits, regions=[region])).results


def if_else(condition: Value, then: Body, otherwise: Body | None = None) -> tuple[Value, ...]:
    """An ``scf.if``; ``then()`` and ``otherwise()`` return values of the same types.  Returns the results."""
    regions = [region_of((), then, Yield.build)]
    regions.append(Region() if otherwise is None else region_of((), otherwise, Yield.build))
    types = regions[0].block.terminator.operand_types
    return insert(If.create(condition, regions=regions, result_types=types)).results


def while_loop(inits: Sequence[Value], before: Body, after: Body) -> tuple[Value, ...]:
    """An ``scf.while``; ``before(*values)`` returns the condition and what to hand on, ``after(*handed)`` the next
    values.  Returns the results."""
    first = region_of([init.type for init in inits], before, Condition.build)
    types = first.block.terminator.operand_types[1:]
    second = region_of(types, after, Yield.build)
    return insert(While.create(*inits, regions=[first, second], result_types=types)).results


def parallel_loop(
    lowers: Sequence[Value | int],
    uppers: Sequence[Value | int],
    steps: Sequence[Value | int],
    body: Body,
    reductions: Sequence[tuple[Value, Callable[[Value, Value], Value]]] = (),
) -> tuple[Value, ...]:
    """An ``scf.parallel``; ``body(*indices)`` returns a value per reduction, given as (init value, function that
    combines two values).  Returns the results."""
    groups = [[as_index(bound) for bound in group] for group in (lowers, uppers, steps)]
    inits = [init for init, _ in reductions]

    def end(*values: Value) -> None:
        regions = [region_of([value.type] * 2, fn, ReduceReturn.build) for value, (_, fn) in zip(values, reductions)]
        insert(Reduce.create(*values, regions=regions))

    region = region_of([INDEX] * len(groups[0]), body, end)
    return insert(Parallel.create(*groups, inits, regions=[region])).results
