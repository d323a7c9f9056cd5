"""Which ops may be in one kernel, and why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.dialects.nd.base import NdOp, Primitive
from dlir.ir.errors import DlirError
from dlir.passes.kernels.classify import is_free
from dlir.passes.kernels.cost import recomputation
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.shadow import Shadow


def is_fusible(op: Operation) -> bool:
    """Whether `op` can be part of a kernel: an array op that is a primitive or made of them."""
    return isinstance(op, NdOp) and (isinstance(op, Primitive | Decomposed))


def check_static(op: Operation) -> None:
    """DlirError unless all shapes of `op` are static."""
    for value in (*op.operands, *op.results):
        if not value.type.is_static:
            hint = "run 'bind-shapes' before 'fuse', as in bind-shapes{dims=x.0=64}"
            message = f"'{op.name}' has the unknown shape {value.type}: kernels need static shapes"
            raise DlirError(message, op.location, hint=hint)


def free_producers(ops: Sequence[Operation]) -> dict[Operation, None]:
    """The free ops, views of views included, that `ops` use."""
    found: dict[Operation, None] = {}
    waiting = list(ops)
    while waiting:
        for value in waiting.pop().operands:
            op = value.defining_op
            if op is not None and op not in found and is_free(op):
                found[op] = None
                waiting.append(op)
    return found


def sources(value: Value) -> list[Value]:
    """The values that `value` is a view of, itself if it is none; nothing for constants."""
    found: dict[Value, None] = {}
    waiting = [value]
    while waiting:
        here = waiting.pop()
        op = here.defining_op
        if op is not None and is_free(op):
            waiting += reversed(op.operands)
        else:
            found[here] = None
    return list(found)


def why_not_fused(producer: Operation, consumer: Operation) -> str | None:
    """Why two array ops of one block cannot be in one kernel, in words; None if they can.

    It is about the two by themselves: `fuse` may still keep them apart because of what else their kernels hold.
    """
    for op in (producer, consumer):
        if not is_fusible(op):
            return f"'{op.name}' is not an array op"
    if producer.parent is not consumer.parent:
        return "they are not in the same block"
    path = outside_path(producer, consumer)
    if path is not None:
        return f"'{path.name}' stands between them: it needs '{producer.name}' and '{consumer.name}' needs it"
    ops = sorted([producer, consumer], key=lambda op: op is consumer)
    inside = dict.fromkeys([*free_producers(ops), *ops])
    shadow = Shadow(program_order(inside))
    try:
        plan = shadow.plan(inside, outputs_of(ops))
        reason = recomputation(plan)
        if reason:
            raise Unfit(reason)
    except Unfit as found:
        return str(found)
    return None


def program_order(ops: dict[Operation, None]) -> list[Operation]:
    """Ops of one block in their order."""
    block = next(iter(ops)).parent
    assert block is not None
    return [op for op in block.ops if op in ops]


def outputs_of(ops: Sequence[Operation]) -> list[Value]:
    """The results of `ops` that others need, in order; views are seen through."""
    members = dict.fromkeys(ops)
    return [value for op in ops for value in op.results if is_needed_outside(value, members.__contains__)]


def is_needed_outside(value: Value, is_member: Callable[[Operation], bool]) -> bool:
    """Whether something uses `value`, through views or not, that is none of the ops for which `is_member` holds."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        # The result of a view that is computed here is at hand; other kernels still see through the view, to `value`.
        definition = here.defining_op
        computed_here = here is not value and definition is not None and is_member(definition)
        for user in here.users:
            if is_fusible(user) and is_free(user):
                waiting += user.results
            elif not is_member(user) and not (computed_here and not is_fusible(user)):
                return True
    return False


def outside_path(producer: Operation, consumer: Operation) -> Operation | None:
    """An op other than the two, and no view, on a path from producer to consumer; None if there is none."""
    reaches: dict[Operation, bool] = {consumer: True}
    op = consumer.previous
    between = None
    while op is not None and op is not producer:
        if any(reaches.get(user, False) for value in op.results for user in value.users):
            reaches[op] = True
        op = op.previous
    waiting = [(user, False) for value in producer.results for user in value.users]
    while waiting and between is None:
        here, _ = waiting.pop()
        if here is consumer or not reaches.get(here, False):
            continue
        if is_free(here):
            waiting += [(user, True) for value in here.results for user in value.users]
        else:
            between = here
    return between
