"""The graph itself: values, operations, blocks and regions.

Operations stand in a doubly linked list per block, with order numbers that are made on demand, so that insertion, erasure
and "does A stand before B" are O(1).  The uses of a value are a linked list in the order in which they were made: nothing
here is a set of objects, whose order would depend on addresses.  Operations, values, blocks and regions are compared by
identity.  Nothing recurses on nesting depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from dlir.ir.attributes import Attribute
from dlir.ir.location import UNKNOWN, Location
from dlir.ir.types import Type
from dlir.ir.values import BlockArgument, OpResult, Use, Value

#: What an op may do besides computing its results.
READ, WRITE, ALLOC, IO = "read", "write", "alloc", "io"
EVERY_EFFECT = frozenset({READ, WRITE, ALLOC, IO})


class Operation:
    """One operation.  Registered ops are subclasses (see :mod:`dlir.ir.op`); anything else is an `UnregisteredOp`."""

    __slots__ = (
        "_next",
        "_order",
        "_previous",
        "_uses",
        "attributes",
        "location",
        "name",
        "parent",
        "regions",
        "results",
        "successors",
    )
    name: str
    is_terminator: ClassVar[bool] = False
    is_isolated: ClassVar[bool] = False
    is_registered: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        operands: Iterable[Value] = (),
        result_types: Iterable[Type] = (),
        attributes: dict[str, Attribute] | None = None,
        regions: Iterable[Region] = (),
        successors: Iterable[Block] = (),
        location: Location = UNKNOWN,
    ) -> None:
        self.name = name
        self._uses: tuple[Use, ...] = tuple([Use(self, index, value) for index, value in enumerate(operands)])
        self.results: tuple[OpResult, ...] = tuple(
            [OpResult(type, self, index) for index, type in enumerate(result_types)]
        )
        self.attributes: dict[str, Attribute] = {} if attributes is None else attributes
        self.successors: tuple[Block, ...] = tuple(successors)
        self.location = location
        self.regions: tuple[Region, ...] = tuple(regions)
        for region in self.regions:
            region.parent = self
        self.parent: Block | None = None
        self._previous: Operation | None = None
        self._next: Operation | None = None
        self._order = 0

    # ------------------------------------------------------------ operands and results

    @property
    def operands(self) -> tuple[Value, ...]:
        return tuple([use.value for use in self._uses])

    def set_operand(self, index: int, value: Value) -> None:
        """Make `value` operand number `index`."""
        self._uses[index].set(value)

    def set_operands(self, values: Sequence[Value]) -> None:
        """Replace all operands; their number may change."""
        for use in self._uses:
            use._unlink()
        self._uses = tuple([Use(self, index, value) for index, value in enumerate(values)])

    @property
    def result(self) -> OpResult:
        """The only result; ValueError if there is not exactly one."""
        (only,) = self.results
        return only

    @property
    def operand_types(self) -> tuple[Type, ...]:
        return tuple([use.value.type for use in self._uses])

    @property
    def result_types(self) -> tuple[Type, ...]:
        return tuple([result.type for result in self.results])

    @property
    def is_used(self) -> bool:
        for result in self.results:  # noqa: SIM110 - passes ask this of every op, and any() takes three times as long
            if result._first_use is not None:
                return True
        return False

    def side_effects(self) -> frozenset[str]:
        """What this very op may do, its regions not counted (see `dlir.ir.effects`): anything, as nothing is known of it."""
        return EVERY_EFFECT

    # ------------------------------------------------------------ place

    @property
    def parent_op(self) -> Operation | None:
        """The operation in whose region this one stands."""
        block = self.parent
        return None if block is None or block.parent is None else block.parent.parent

    @property
    def next(self) -> Operation | None:
        return self._next

    @property
    def previous(self) -> Operation | None:
        return self._previous

    def is_before(self, other: Operation) -> bool:
        """Whether this op stands before `other`, which must be in the same block."""
        assert self.parent is other.parent and self.parent is not None
        if not self.parent._ordered:
            self.parent._renumber()
        return self._order < other._order

    def detach(self) -> None:
        """Take the op out of its block, keeping its operands and uses."""
        block = self.parent
        if block is None:
            return
        if self._previous is None:
            block._first = self._next
        else:
            self._previous._next = self._next
        if self._next is None:
            block._last = self._previous
        else:
            self._next._previous = self._previous
        self.parent = self._previous = self._next = None

    def move_before(self, other: Operation) -> None:
        """Move the op to just before `other`."""
        self.detach()
        assert other.parent is not None
        other.parent.insert_before(other, self)

    def move_after(self, other: Operation) -> None:
        """Move the op to just after `other`."""
        self.detach()
        assert other.parent is not None
        other.parent.insert_after(other, self)

    def erase(self) -> None:
        """Remove the op and all in its regions; its results must have no uses left outside it."""
        self.detach()
        stack: list[Operation] = [self]
        while stack:
            op = stack.pop()
            for use in op._uses:
                use._unlink()
            op._uses = ()
            for region in op.regions:
                for block in region.blocks:
                    stack.extend(block.ops)
        assert not self.is_used, f"{self.name} is erased while its result is used"

    def replace_by(self, values: Sequence[Value]) -> None:
        """Give every use of the results to `values`, one per result, and erase the op."""
        for result, value in zip(self.results, values, strict=True):
            if value.name is None and isinstance(value, OpResult):
                value.name = result.name
            result.replace_by(value)
        self.erase()

    # ------------------------------------------------------------ looking inside

    @property
    def body(self) -> Block:
        """The first block of the first region."""
        return self.regions[0].blocks[0]

    def walk(self) -> Iterator[Operation]:
        """This op and all inside, outer before inner, in program order; the op in hand may be erased or moved."""
        stack = [self]
        while stack:
            op = stack.pop()
            yield op
            for region in reversed(op.regions) if op.regions else ():
                for block in reversed(region.blocks):
                    inner = block._last
                    while inner is not None:
                        stack.append(inner)
                        inner = inner._previous

    def get(self, name: str, default: Any = None) -> Any:
        """The plain value of attribute `name`, or `default`."""
        found = self.attributes.get(name)
        return default if found is None else found.value

    def __repr__(self) -> str:
        return f"<{self.name} at {self.location}>"


class Block:
    """A list of operations with arguments, ending in a terminator unless the region's op says otherwise."""

    __slots__ = ("_first", "_last", "_ordered", "args", "name", "parent")

    def __init__(self, arg_types: Iterable[Type] = (), name: str | None = None) -> None:
        self.args: list[BlockArgument] = []
        self.name = name
        self.parent: Region | None = None
        self._first: Operation | None = None
        self._last: Operation | None = None
        #: Whether the order numbers of the ops are true; they are made when somebody asks for an order.
        self._ordered = False
        for type in arg_types:
            self.add_arg(type)

    def add_arg(self, type: Type, name: str | None = None, location: Location = UNKNOWN) -> BlockArgument:
        """Append an argument."""
        arg = BlockArgument(type, self, len(self.args), name, location)
        self.args.append(arg)
        return arg

    def erase_arg(self, index: int) -> None:
        """Remove an argument that has no uses."""
        assert not self.args[index].is_used
        del self.args[index]
        for position, arg in enumerate(self.args):
            arg.index = position

    @property
    def parent_op(self) -> Operation | None:
        return None if self.parent is None else self.parent.parent

    @property
    def first(self) -> Operation | None:
        return self._first

    @property
    def last(self) -> Operation | None:
        return self._last

    @property
    def terminator(self) -> Operation:
        """The last operation, which must be there."""
        assert self._last is not None
        return self._last

    @property
    def ops(self) -> Iterator[Operation]:
        """The operations in order; the one in hand may be erased or moved."""
        op = self._first
        while op is not None:
            following = op._next
            yield op
            op = following

    @property
    def reversed_ops(self) -> Iterator[Operation]:
        """The operations from the last to the first."""
        op = self._last
        while op is not None:
            previous = op._previous
            yield op
            op = previous

    def append(self, op: Operation) -> Operation:
        """Put `op` at the end."""
        assert op.parent is None
        op.parent = self
        last = self._last
        op._previous = last
        if last is None:
            self._first = op
        else:
            last._next = op
            if self._ordered:
                op._order = last._order + _STRIDE
        self._last = op
        return op

    def prepend(self, op: Operation) -> Operation:
        """Put `op` at the start."""
        return self.append(op) if self._first is None else self.insert_before(self._first, op)

    def insert_before(self, place: Operation, op: Operation) -> Operation:
        """Put `op` just before `place`."""
        assert op.parent is None and place.parent is self
        op.parent = self
        previous = place._previous
        op._previous, op._next, place._previous = previous, place, op
        if previous is None:
            self._first = op
            if self._ordered:
                op._order = place._order - _STRIDE
        else:
            previous._next = op
            if self._ordered:
                op._order = (previous._order + place._order) // 2
                self._ordered = op._order != previous._order
        return op

    def insert_after(self, place: Operation, op: Operation) -> Operation:
        """Put `op` just after `place`."""
        return self.append(op) if place._next is None else self.insert_before(place._next, op)

    def split_before(self, place: Operation) -> list[Operation]:
        """Detach `place` and everything after it, and return them in order."""
        moved = []
        op: Operation | None = place
        while op is not None:
            following = op._next
            op.detach()
            moved.append(op)
            op = following
        return moved

    def _renumber(self) -> None:
        for order, op in enumerate(self.ops):
            op._order = order * _STRIDE
        self._ordered = True

    def __repr__(self) -> str:
        return f"<Block ^{self.name or '?'}>"


#: Room between the order numbers of neighbours, so that a block is renumbered only after many insertions in one place.
_STRIDE = 1 << 16


class Region:
    """A list of blocks inside an operation; the first is the entry."""

    __slots__ = ("blocks", "parent")

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.blocks: list[Block] = []
        self.parent: Operation | None = None
        for block in blocks:
            self.append(block)

    def append(self, block: Block) -> Block:
        """Put `block` at the end."""
        block.parent = self
        self.blocks.append(block)
        return block

    @property
    def block(self) -> Block:
        """The only block; ValueError if there is not exactly one."""
        (only,) = self.blocks
        return only


class UnregisteredOp(Operation):
    """An operation of a dialect that is not loaded: kept as it is, with unknown effects."""

    __slots__ = ("_properties",)

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of the attributes that are the op's own, which MLIR writes in ``<{...}>``: only its dialect knows."""
        return getattr(self, "_properties", ())

    @properties.setter
    def properties(self, names: tuple[str, ...]) -> None:
        self._properties = names


__all__ = [
    "ALLOC",
    "EVERY_EFFECT",
    "IO",
    "READ",
    "WRITE",
    "Block",
    "BlockArgument",
    "OpResult",
    "Operation",
    "Region",
    "UnregisteredOp",
    "Use",
    "Value",
]
