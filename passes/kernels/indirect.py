"""What may be computed at places that only the run knows: of the element at a place, but nothing that goes over many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dlir.ir.affine import has_lookup
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.passes.kernels.classify import facts
from dlir.passes.kernels.demand import Demand
from dlir.passes.kernels.plan import Inside, Unfit, points


def refuse_indirect(outputs: Sequence[Value], ops: Iterable[Operation], inside: Inside) -> None:
    """Unfit if `outputs` need what one of the `ops` reduces at an index that an array holds: it has to be in memory first.

    A pointwise op can be computed at any place, and views and constants are there.
    """
    if not any(isinstance(op, Primitive) and _looks_up(op) for op in ops):
        return
    for value in outputs:
        demand = Demand(inside, value.shape)
        demand.want(value, points(value.shape))
        for reduced, indices in demand.reductions.items():
            if any(has_lookup(index) for index in indices):
                raise Unfit(f"'{reduced.name}' would be needed at places that only the run knows")


def _looks_up(op: Primitive) -> bool:
    return any(found is not None and has_lookup(found.exprs) for found in facts(op).space.maps)
