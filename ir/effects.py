"""What an operation may do besides computing its results, its regions included."""

from __future__ import annotations

from dlir.ir.core import EVERY_EFFECT, READ, Operation

NONE: frozenset[str] = frozenset()
_ONLY_READS = frozenset({READ})


def effects_of(op: Operation) -> frozenset[str]:
    """The effects of `op` and of all inside its regions; everything for an op that is not registered."""
    found = op.side_effects()
    if op.regions and found != EVERY_EFFECT:
        for inner in op.walk():
            found |= inner.side_effects()
            if found == EVERY_EFFECT:
                break
    return found


def effects_inside(op: Operation) -> dict[Operation, frozenset[str]]:
    """What `effects_of` says of `op` and of each op inside it that has regions: all of them in one pass."""
    found: dict[Operation, frozenset[str]] = {}
    outer_first = [inner for inner in op.walk() if inner.regions]
    for outer in reversed(outer_first):
        effects = outer.side_effects()
        for region in outer.regions:
            for block in region.blocks:
                for inner in block.ops:
                    effects |= found[inner] if inner.regions else inner.side_effects()
        found[outer] = effects
    return found


def is_removable(op: Operation, inside: dict[Operation, frozenset[str]] | None = None) -> bool:
    """Whether `op` may go when its results are unused: it only computes and reads.

    `inside` keeps what `effects_inside` found from call to call, for who changes nothing but to remove such ops.
    """
    if not op.results or op.is_terminator:
        return False
    if not op.regions:
        return op.side_effects() <= _ONLY_READS
    if inside is None:
        return effects_of(op) <= _ONLY_READS
    if op not in inside:
        inside.update(effects_inside(op))
    return inside[op] <= _ONLY_READS
