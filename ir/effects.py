"""What an operation may do besides computing its results, its regions included."""

from __future__ import annotations

from dlir.ir.core import Operation
from dlir.ir.op import ALLOC, IO, READ, WRITE, Op

ALL = frozenset({READ, WRITE, ALLOC, IO})
NONE: frozenset[str] = frozenset()
_ONLY_READS = frozenset({READ})


def own_effects(op: Operation) -> frozenset[str]:
    """The effects of `op` without those of the ops in its regions; everything for an op that is not registered."""
    # Passes ask this of every op: the flag is three times as fast as isinstance.
    return cast_to_op(op).side_effects() if op.is_registered else ALL


def effects_of(op: Operation) -> frozenset[str]:
    """The effects of `op` and of all inside its regions; everything for an op that is not registered."""
    found = own_effects(op)
    if op.regions and found != ALL:
        for inner in op.walk():
            found |= own_effects(inner)
            if found == ALL:
                break
    return found


def effects_inside(op: Operation) -> dict[Operation, frozenset[str]]:
    """What `effects_of` says of `op` and of each op inside it that has regions: all of them in one pass."""
    found: dict[Operation, frozenset[str]] = {}
    outer_first = [inner for inner in op.walk() if inner.regions]
    for outer in reversed(outer_first):
        effects = own_effects(outer)
        for region in outer.regions:
            for block in region.blocks:
                for inner in block.ops:
                    effects |= found[inner] if inner.regions else own_effects(inner)
        found[outer] = effects
    return found


def is_removable(op: Operation, inside: dict[Operation, frozenset[str]] | None = None) -> bool:
    """Whether `op` may go when its results are unused: it only computes and reads.

    `inside` keeps what `effects_inside` found from call to call, for who changes nothing but to remove such ops.
    """
    if not op.results or op.is_terminator:
        return False
    if inside is None or not op.regions:
        return effects_of(op) <= _ONLY_READS
    if op not in inside:
        inside.update(effects_inside(op))
    return inside[op] <= _ONLY_READS
