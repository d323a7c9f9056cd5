"""Scalars, loops and branches of the host's side: steps with jumps, so that no nesting is left when a program runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlir.ir.core import Operation, Value
from dlir.ir.dialects import scf
from dlir.ir.errors import DlirError
from dlir.ir.op import Op
from dlir.ir.types import ShapedType

#: The scalars of a run, by value.
Scalars = dict[Value, Any]


@dataclass(frozen=True)
class Compute:
    """Evaluate an op on scalars."""

    op: Op

    def run(self, scalars: Scalars) -> None:
        found = self.op.evaluate([scalars[value] for value in self.op.operands])
        scalars.update(zip(self.op.results, found, strict=True))


@dataclass(frozen=True)
class Assign:
    """Give `targets` the values of `sources`, all at once."""

    targets: tuple[Value, ...]
    sources: tuple[Value, ...]

    def run(self, scalars: Scalars) -> None:
        scalars.update(zip(self.targets, [scalars[value] for value in self.sources], strict=True))


@dataclass(frozen=True)
class Advance:
    """Add the step to a loop's counter, which first is set to the lower bound."""

    loop: scf.For
    is_first: bool

    def run(self, scalars: Scalars) -> None:
        counter = self.loop.counter
        lower, _, step = (scalars[value] for value in self.loop.operands[:3])
        if step <= 0:
            raise DlirError(f"the step of '{self.loop.name}' must be positive, got {step}", self.loop.location)
        scalars[counter] = lower if self.is_first else type(lower)(int(scalars[counter]) + int(step))


@dataclass
class Jump:
    """Go on at step `to`: if a condition does not hold, if a loop is done, or in any case."""

    to: int = -1
    unless: Value | None = None
    when_done: scf.For | None = None

    def is_taken(self, scalars: Scalars) -> bool:
        if self.when_done is not None:
            return bool(scalars[self.when_done.counter] >= scalars[self.when_done.operands[1]])
        return self.unless is None or not scalars[self.unless]


ControlStep = Compute | Assign | Advance | Jump


def flatten(ops: Iterable[Operation], steps: list[Any], read: Callable[[Operation], None]) -> None:
    """Append the steps of `ops` to `steps`: control flow as jumps, everything else by `read`."""
    stack: list[Iterator[Operation | Callable[[], None]]] = [iter(ops)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif not isinstance(item, Operation):
            item()
        elif isinstance(item, scf.For):
            stack.append(_for(item, steps))
        elif isinstance(item, scf.If):
            stack.append(_if(item, steps))
        elif isinstance(item, scf.While):
            stack.append(_while(item, steps))
        else:
            read(item)


def is_scalar(op: Operation) -> bool:
    """Whether `op` computes numbers from numbers."""
    values = (*op.operands, *op.results)
    is_pure = isinstance(op, Op) and hasattr(type(op), "eval") and not op.side_effects() and not op.regions
    return is_pure and not any(isinstance(value.type, ShapedType) for value in values)


# ---------------------------------------------------------------- ops with regions
# Each gives the ops of its bodies, and between them what is to be done when the steps before are there.


def _for(op: scf.For, steps: list[Any]) -> Iterator[Any]:
    _check_scalars(op)
    steps += [Assign(tuple(op.carried), tuple(op.inits)), Advance(op, True)]
    begin = len(steps)
    done = Jump(when_done=op)
    steps.append(done)
    yield from _without_end(op.body.ops)
    steps += [Assign(tuple(op.carried), op.body.terminator.operands), Advance(op, False), Jump(begin)]
    done.to = len(steps)
    steps.append(Assign(op.results, tuple(op.carried)))


def _if(op: scf.If, steps: list[Any]) -> Iterator[Any]:
    _check_scalars(op)
    to_else, to_end = Jump(unless=op.operands[0]), Jump()
    steps.append(to_else)
    for number, region in enumerate(op.regions):
        if region.blocks:
            yield from _without_end(region.block.ops)
            steps.append(Assign(op.results, region.block.terminator.operands))
        if number == 0:
            steps.append(to_end)
            to_else.to = len(steps)
    to_end.to = len(steps)


def _while(op: scf.While, steps: list[Any]) -> Iterator[Any]:
    _check_scalars(op)
    before, after = (region.block for region in op.regions)
    steps.append(Assign(tuple(before.args), op.operands))
    begin = len(steps)
    yield from _without_end(before.ops)
    condition, *handed = before.terminator.operands
    to_end = Jump(unless=condition)
    steps += [Assign(op.results, tuple(handed)), to_end, Assign(tuple(after.args), op.results)]
    yield from _without_end(after.ops)
    steps += [Assign(tuple(before.args), after.terminator.operands), Jump(begin)]
    to_end.to = len(steps)


def _without_end(ops: Iterable[Operation]) -> Iterator[Operation]:
    return (op for op in ops if not op.is_terminator)


def _check_scalars(op: Operation) -> None:
    """DlirError if `op` carries or gives anything but numbers."""
    blocks = [block for region in op.regions for block in region.blocks]
    values: list[Value] = [*op.operands, *op.results, *(arg for block in blocks for arg in block.args)]
    found = next((value for value in values if isinstance(value.type, ShapedType)), None)
    if found is not None:
        raise DlirError(
            f"on the host of the CUDA backend '{op.name}' carries numbers only, not {found.type}",
            op.location,
            hint="let it carry tensors, before 'bufferize' gives them memory, or allocate in front of it",
        )


def element(array: Any, indices: Sequence[Any], op: Operation) -> Any:
    """One element of a contiguous array as an array of one; DlirError if there is none."""
    shape = tuple(array.shape)
    place = tuple(int(index) for index in indices)
    if any(not 0 <= at < extent for at, extent in zip(place, shape, strict=True)):
        raise DlirError(f"'{op.name}' reaches out of {list(shape)} at {list(place)}", op.location)
    number = int(np.ravel_multi_index(place, shape)) if shape else 0
    return array.reshape(-1)[number : number + 1]
