"""Reverse mode: cotangents go back from the outputs, through each op's rule, to the inputs.

Zero is symbolic (None): what does not depend on an input costs nothing.  What a rule makes are ordinary ops, so gradients
have gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.builder import before
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.operands import constant
from dlir.ir.location import Location
from dlir.ir.op import Op
from dlir.ir.ops import nd
from dlir.passes.autodiff.activity import Between


def pull_back(
    region: Between, outputs: Sequence[Value], cotangents: Sequence[Value], inputs: Sequence[Value], place: Operation
) -> list[Value]:
    """The gradient of the sum of `outputs` times `cotangents` with regard to each of `inputs`, made before `place`.

    All ops between them, which `region` knows, have rules.
    """
    found: dict[Value, Value] = {}
    for output, seed in zip(outputs, cotangents, strict=True):
        if region.is_varied(output):
            _add(found, region.same(output), seed, place, place.location)
    for op in reversed(region.active):
        results = [found.get(result) for result in op.results]
        if not any(results):
            continue
        needs = [region.is_varied(operand) for operand in op.operands]
        for operand, is_needed, cotangent in zip(op.operands, needs, _apply(op, results, needs, place), strict=True):
            if is_needed and cotangent is not None:
                _add(found, region.same(operand), cotangent, place, op.location)
    with before(place):
        # The same array for two inputs that are one value.
        return [found.get(region.same(value)) or filled(value, 0.0) for value in inputs]


def filled(like: Value, number: float) -> Value:
    """An array of one number, in the type of `like`."""
    if None not in like.shape:
        return constant(number, like.dtype, like.shape)
    extents = tuple(-1 if extent is None else extent for extent in like.shape)
    return nd.broadcast_to(constant(number, like.dtype), like, shape=extents)


def _add(found: dict[Value, Value], value: Value, cotangent: Value, place: Operation, location: Location) -> None:
    """Count `cotangent` towards that of `value`."""
    other = found.get(value)
    with before(place, location):
        found[value] = cotangent if other is None else nd.add(other, cotangent)


def _apply(
    op: Operation, cotangents: list[Value | None], needs: list[bool], place: Operation
) -> Sequence[Value | None]:
    """The cotangents of the operands of `op`, by its rule."""
    assert isinstance(op, Op) and op.vjp is not None
    with before(place, op.location):
        found = op.vjp(cotangents, needs)
    if len(found) != len(needs):
        raise TypeError(f"the vjp of '{op.name}' gives {len(found)} cotangents for {len(needs)} operands")
    for operand, cotangent in zip(op.operands, found, strict=True):
        if cotangent is not None and cotangent.type is not operand.type:
            raise TypeError(f"the vjp of '{op.name}' gives a cotangent {cotangent.type} for an operand {operand.type}")
    return found
