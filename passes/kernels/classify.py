"""What an ``nd`` op is to fusion, derived from its iteration space and index maps."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum

from dlir.ir.affine import AffineMap
from dlir.ir.core import Operation
from dlir.ir.dialects.nd.base import Elementwise, Primitive, Space


class FusionClass(Enum):
    """How the elements of an op's result depend on those of its operands."""

    #: Elements change place and nothing is computed: never a kernel of its own if it can be helped.
    VIEW = "view"
    #: Each element is computed from one element of each operand; also what reads nothing (constants, iota).
    ELEMENTWISE = "elementwise"
    #: Elements along some dimensions are combined, each read once.
    REDUCE = "reduce"
    #: A reduction over small windows that move with the result's element.
    WINDOW = "window"
    #: A sum of products in which each operand is read many times.
    CONTRACTION = "contraction"
    #: Not known to fusion.
    OPAQUE = "opaque"


#: By what determines the class: it is asked for often.
MOST_KNOWN = 10_000
_known: dict[Hashable, FusionClass] = {}


def structure_of(op: Operation) -> Hashable:
    """What two ops have in common when they are equal but for their operands."""
    return op.name, op.operand_types, op.result_types, frozenset(op.attributes.items())


def fusion_class(op: Operation) -> FusionClass:
    """The class of a primitive op; OPAQUE for anything else.  Shapes must be static."""
    if not isinstance(op, Primitive):
        return FusionClass.OPAQUE
    if not op.operands:
        return FusionClass.ELEMENTWISE
    key = structure_of(op)
    if key not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = _classified(op)
    return _known[key]


def is_free(op: Operation) -> bool:
    """Whether `op` is made again in every kernel that uses it: views, constants and what only depends on the index."""
    if not isinstance(op, Primitive):
        return False
    if not op.operands:
        return True
    if fusion_class(op) is FusionClass.VIEW:
        return not op.space().guarded
    return fusion_class(op) is FusionClass.ELEMENTWISE and not any(found is not None for found in op.space().maps)


def _classified(op: Primitive) -> FusionClass:
    space = op.space()
    if space.reduction or space.monoid is not None:
        return _reduction_class(space)
    maps = [found for found in space.maps if found is not None]
    if isinstance(op, Elementwise) or not maps:
        return FusionClass.ELEMENTWISE
    if len(maps) == 1 and op.operands[0].dtype is op.results[0].dtype:
        return FusionClass.VIEW
    return FusionClass.ELEMENTWISE


def _reduction_class(space: Space) -> FusionClass:
    maps = [found for found in space.maps if found is not None]
    if space.monoid == "add" and len(maps) >= 2 and any(_misses_parallel(space, found) for found in maps):
        return FusionClass.CONTRACTION
    if any(_slides(space, found) for found in maps):
        return FusionClass.WINDOW
    return FusionClass.REDUCE


def _misses_parallel(space: Space, found: AffineMap) -> bool:
    used = found.used_dims()
    return any(extent != 1 and number not in used for number, extent in enumerate(space.parallel))


def _slides(space: Space, found: AffineMap) -> bool:
    """Whether a dimension of an operand is indexed by a parallel and a reduced dimension together."""
    rank = len(space.parallel)
    for expr in found.exprs:
        used = expr.used_dims()
        if any(number < rank for number in used) and any(number >= rank for number in used):
            return True
    return False
