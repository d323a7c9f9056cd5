"""What an ``nd`` op is to fusion, derived from its iteration space, its index maps and its scalar code."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum

from dlir.ir.affine import AffineExpr, AffineMap, has_lookup
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.attention import Attention
from dlir.ir.dialects.nd.base import Primitive, Space
from dlir.ir.dialects.nd.scatter import Scatter
from dlir.passes.kernels.probe import Probe


class FusionClass(Enum):
    """How the elements of an op's result depend on those of its operands."""

    #: Elements change place and nothing is computed: never a kernel of its own if it can be helped.
    VIEW = "view"
    #: Each element is computed from one element of each operand; also what reads nothing (constants, iota).
    ELEMENTWISE = "elementwise"
    #: Elements along some dimensions are combined, each read once.
    REDUCE = "reduce"
    #: Running totals along a dimension.
    SCAN = "scan"
    #: A reduction over small windows that move with the result's element.
    WINDOW = "window"
    #: A sum of products in which each operand is read many times.
    CONTRACTION = "contraction"
    #: Softmax of products of two operands, times a third.
    ATTENTION = "attention"
    #: Elements are added to those at places that an operand holds.
    SCATTER = "scatter"
    #: Not known to fusion.
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is asked for often about a primitive op, and follows from what it is by itself.

    `reads`: the operands that are read, with their index map, or None for the identity.
    """

    space: Space
    fusion_class: FusionClass
    reads: tuple[tuple[int, AffineMap | None], ...]
    #: Made again in every kernel that uses it: views, constants and what only depends on the index.
    is_free: bool
    #: Of one element, in additions.
    cost: int
    #: Whether what is read for an element does not follow from the maps alone: some of it is not read, or where it is read
    #: depends on what another operand holds.
    is_indirect: bool = False

    def operand_elements(
        self, op: Operation, index: Sequence[AffineExpr]
    ) -> list[tuple[Value, tuple[AffineExpr, ...]]]:
        """The elements of the operands of `op`, of which these are the facts, that are read at a point of its space."""
        operands = op.operands
        point = tuple(index)
        if not self.is_indirect:
            return [(operands[number], point if found is None else found.apply(point)) for number, found in self.reads]
        elements = []
        for number, found in self.reads:
            place = point if found is None else found.apply(point)
            elements.append((operands[number], tuple([expr.bind(operands) for expr in place])))
        return elements


#: Facts by structure; ops of a network repeat.
_known: dict[Hashable, Facts] = {}
_MOST_KNOWN = 10_000


def facts(op: Primitive) -> Facts:
    """The facts of an op, whose shapes must be static."""
    types = op.operand_types
    if not types:
        # Mostly a constant: finding it again would take comparing its elements.
        return Facts(op.space(), FusionClass.ELEMENTWISE, (), True, 0)
    key = (op.name, types, op.result_types, frozenset(op.attributes.items()))
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[key] = _facts(op)
    return found


def fusion_class(op: Operation) -> FusionClass:
    """The class of a primitive op or attention; OPAQUE for anything else.  Shapes must be static."""
    if isinstance(op, Attention):
        return FusionClass.ATTENTION
    return facts(op).fusion_class if isinstance(op, Primitive) else FusionClass.OPAQUE


def is_free(op: Operation) -> bool:
    """Whether `op` is made again in every kernel that uses it: views, constants and what only depends on the index."""
    return isinstance(op, Primitive) and facts(op).is_free


def _facts(op: Primitive) -> Facts:
    space = op.space()
    reads = tuple((n, None if found.is_identity else found) for n, found in enumerate(space.maps) if found is not None)
    if isinstance(op, Scatter):
        return Facts(space, FusionClass.SCATTER, reads, False, 1)
    probe = None if 0 in space.extents else Probe(op)
    cost = 0 if probe is None else sum(scalar_cost(inner.name) for inner in probe.block.ops)
    is_indirect = space.guarded or any(has_lookup(found.exprs) for found in space.maps if found is not None)
    if space.scan is not None:
        return Facts(space, FusionClass.SCAN, reads, False, cost, is_indirect)
    if space.monoid is not None:
        return Facts(space, _reduction_class(space), reads, False, cost, is_indirect)
    moves = len(reads) == 1 and (probe.result in probe.loaded if probe else _same_dtype(op))
    if moves and not space.guarded and not op.is_stored:
        return Facts(space, FusionClass.VIEW, reads, True, cost)
    return Facts(space, FusionClass.ELEMENTWISE, reads, not reads, cost, is_indirect)


def _same_dtype(op: Primitive) -> bool:
    return op.operands[0].dtype is op.results[0].dtype


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


#: Costs of scalar ops in additions; any other op of `math` costs FUNCTION.
_COSTS = {"arith.constant": 0, "arith.divf": 6, "arith.divsi": 12, "arith.divui": 12, "arith.remf": 20}
_CHEAP_FUNCTIONS = ("math.absf", "math.absi", "math.fma", "math.floor", "math.ceil", "math.roundeven", "math.copysign")
_FUNCTION = 16


def is_function(name: str) -> bool:
    """Whether the scalar op called `name` is computed by a series of others."""
    return name.startswith("math.") and name not in _CHEAP_FUNCTIONS


def scalar_cost(name: str) -> int:
    """What the scalar op called `name` costs, in additions."""
    if is_function(name):
        return _FUNCTION
    return _COSTS.get(name, 1)
