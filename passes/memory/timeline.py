"""Time in a function with loops and branches: each op has a number, in the order of the text.

An op with regions has a second number behind all that stands in it.  Kernels are one op, whatever they hold.  A value that is
used in a loop, and was made before it, is needed until the loop ends: the next run of the body may use it again.  Branches
need no such rule, because one run of them meets their ops in the order of their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.func import Func

#: Ops whose regions run once at most, and only one of them.
BRANCHES = ("scf.if",)
#: Ops whose regions run one after another, so that memory may be made in them.
SEQUENTIAL = (*BRANCHES, "scf.for", "scf.while")


@dataclass(slots=True)
class Timeline:
    """`ops` has the op of each time, those with regions at two; `starts` and `ends` are their times."""

    ops: list[Operation] = field(default_factory=list)
    starts: dict[Operation, int] = field(default_factory=dict)
    ends: dict[Operation, int] = field(default_factory=dict)

    def first_use(self, value: Value, user: Operation) -> int:
        """From when `value` must be in memory for `user`: loops around it, and not around the value, begin with it."""
        loop = self._loop_between(value, user)
        return self.starts[user if loop is None else loop]

    def last_use(self, value: Value, user: Operation) -> int:
        """Until when `value` must be in memory for `user`."""
        loop = self._loop_between(value, user)
        return self.starts[user] if loop is None else self.ends[loop]

    def _loop_between(self, value: Value, user: Operation) -> Operation | None:
        """The outermost loop around `user` that `value` was not made in."""
        home = block_of(value)
        found = None
        here = user
        while here.parent is not home:
            outer = here.parent_op
            if outer is None or outer not in self.starts:
                break
            if outer.name not in BRANCHES:
                found = outer
            here = outer
        return found


def timeline(function: Func) -> Timeline:
    """The times of all ops in `function` outside of kernels."""
    found = Timeline()
    stack: list[Operation] = list(function.body.reversed_ops)
    while stack:
        op = stack.pop()
        if op in found.starts:
            found.ends[op] = len(found.ops)
        else:
            found.starts[op] = len(found.ops)
            if op.regions and not op.is_isolated:
                stack.append(op)
                blocks = [block for region in op.regions for block in region.blocks]
                stack += [inner for block in reversed(blocks) for inner in block.reversed_ops]
            else:
                found.ends[op] = len(found.ops)
        found.ops.append(op)
    return found


def block_of(value: Value) -> Block | None:
    """The block in which `value` is made."""
    op = value.defining_op
    return value.owner if op is None else op.parent


def is_sequential(op: Operation, function: Operation) -> bool:
    """Whether `op` runs in `function` itself or in loops and branches, and never in several threads at once."""
    outer = op.parent_op
    while outer is not None and outer is not function:
        if outer.name not in SEQUENTIAL:
            return False
        outer = outer.parent_op
    return outer is function
