"""What the text says about fusion: the attribute ``dlir.fuse`` of an op.

``"none"`` keeps an op in a kernel of its own; on an op with regions, or a function, it holds for everything inside.  Any
other string is the name of a group: the ops of a block with that name become one kernel, and nothing else joins them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dlir.ir.attributes import StringAttr
from dlir.ir.core import Block, Operation
from dlir.ir.dialects.kernel import FUSE
from dlir.ir.errors import DlirError, Note
from dlir.passes.kernels.plan import Unfit

if TYPE_CHECKING:
    from dlir.passes.kernels.cluster import Cluster, Clustering

#: The value that keeps an op apart.
APART = "none"


def group_of(op: Operation) -> str | None:
    """The group that an op is in, APART if it is to be a kernel of its own, None if nothing is said; DlirError for nonsense."""
    here: Operation | None = op
    while here is not None:
        attribute = here.attributes.get(FUSE)
        if attribute is not None and not (isinstance(attribute, StringAttr) and attribute.value):
            hint = f'{FUSE} = "{APART}" keeps it apart, any other name makes one kernel of all ops that have it'
            raise DlirError(f"'{FUSE}' must be a name, got {attribute}", here.location, hint=hint)
        if attribute is not None and (here is op or attribute.value == APART):
            return attribute.value
        here = here.parent_op
    return None


def apply_groups(clustering: Clustering) -> None:
    """Merge the groups of a block, and fix what the text has decided; DlirError for groups that cannot be kernels."""
    groups: dict[str, list[Operation]] = {}
    for op, cluster in clustering.cluster_of.items():
        name = group_of(op)
        if name == APART:
            cluster.is_fixed = True
        elif name is not None:
            groups.setdefault(name, []).append(op)
    for name, ops in groups.items():
        _make_group(clustering, name, ops)


def check_blocks(blocks: Iterable[Block]) -> None:
    """DlirError if a group has ops in several blocks of one function: a loop's body is not run with what is around it."""
    homes: dict[str, Operation] = {}
    for block in blocks:
        for op in block.ops:
            attribute = op.attributes.get(FUSE)
            if isinstance(attribute, StringAttr) and attribute.value != APART:
                first = homes.setdefault(attribute.value, op)
                if first.parent is not block:
                    notes = [Note(f"'{op.name}' is in the group too, in another block", op.location)]
                    message = (
                        f'the ops with {FUSE} = "{attribute.value}" cannot be one kernel: they are not in one block'
                    )
                    raise DlirError(message, first.location, notes=notes)


def _make_group(clustering: Clustering, name: str, ops: list[Operation]) -> None:
    for op in ops:
        _refuse_between(clustering, name, clustering.cluster_of[op], ops)
    outputs = [value for op in ops for value in clustering.cluster_of[op].outputs]
    try:
        clustering.plan(ops, outputs, parts=True)
    except Unfit as reason:
        raise _contradiction(name, ops, str(reason)) from None
    first, *others = [clustering.cluster_of[op] for op in ops]
    for other in others:
        first = clustering.merge(first, other)
    first.is_fixed = True


def _refuse_between(clustering: Clustering, name: str, cluster: Cluster, ops: list[Operation]) -> None:
    """DlirError if something outside of a group needs one of its ops, and another one of them needs that."""
    members = dict.fromkeys(clustering.cluster_of[op] for op in ops)
    last = max(member.last for member in members)
    waiting = [user for user in clustering.users(cluster) if user not in members]
    seen: dict[object, None] = dict.fromkeys(waiting)
    while waiting:
        here = waiting.pop()
        if clustering.first(here) > last:
            continue
        for user in clustering.users(here):
            if user in members:
                between = here if isinstance(here, Operation) else here.ordered()[0]
                reason = f"'{between.name}' stands between '{cluster.ordered()[0].name}' and another of its ops"
                raise _contradiction(name, ops, reason, between)
            if user not in seen:
                seen[user] = None
                waiting.append(user)


def _contradiction(name: str, ops: list[Operation], reason: str, other: Operation | None = None) -> DlirError:
    notes = [Note(f"'{op.name}' is in the group too", op.location) for op in ops[1:3]]
    if other is not None:
        said = group_of(other)
        where = "is in no group" if said is None else f'has {FUSE} = "{said}"'
        notes.append(Note(f"'{other.name}', which {where}, stands here", other.location))
    message = f'the ops with {FUSE} = "{name}" cannot be one kernel: {reason}'
    hint = f'without {FUSE} = "{name}" on one of them, they are fused as far as they can be'
    return DlirError(message, ops[0].location, hint=hint, notes=notes)
