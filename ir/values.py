"""Values: results of operations and arguments of blocks, with the list of their uses.

The uses are a linked list in the order in which they were made, so that adding and removing one is O(1) and the order does
not depend on addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dlir.ir.location import UNKNOWN, Location
from dlir.ir.types import ShapedType, Type

if TYPE_CHECKING:
    from dlir.ir.core import Block, Operation


class Use:
    """One operand slot: operation `owner` uses `value` as its operand number `index`."""

    __slots__ = ("_next", "_previous", "index", "owner", "value")

    def __init__(self, owner: Operation, index: int, value: Value) -> None:
        self.owner = owner
        self.index = index
        # As `_link`, without the price of a call: this runs for every operand that is ever made.
        self.value = value
        last = value._last_use
        self._previous: Use | None = last
        self._next: Use | None = None
        if last is None:
            value._first_use = self
        else:
            last._next = self
        value._last_use = self

    def _link(self, value: Value) -> None:
        self.value = value
        last = value._last_use
        self._previous = last
        self._next = None
        if last is None:
            value._first_use = self
        else:
            last._next = self
        value._last_use = self

    def _unlink(self) -> None:
        previous, following, value = self._previous, self._next, self.value
        if previous is None:
            value._first_use = following
        else:
            previous._next = following
        if following is None:
            value._last_use = previous
        else:
            following._previous = previous

    def set(self, value: Value) -> None:
        """Use `value` here instead."""
        if value is not self.value:
            self._unlink()
            self._link(value)


class Value:
    """A result of an operation or an argument of a block.  `name` is the hint that the text gave, without ``%``."""

    __slots__ = ("_first_use", "_last_use", "index", "name", "owner", "type")
    owner: Any
    type: Any

    def __init__(self, type: Type, owner: Operation | Block, index: int, name: str | None = None) -> None:
        self.type = type
        self.owner = owner
        self.index = index
        self.name = name
        self._first_use: Use | None = None
        self._last_use: Use | None = None

    @property
    def uses(self) -> Iterator[Use]:
        """The uses, in the order in which they were made; the one in hand may be changed while iterating."""
        use = self._first_use
        while use is not None:
            following = use._next
            yield use
            use = following

    @property
    def users(self) -> list[Operation]:
        """The operations that use this value, each once, in the order of their first use."""
        return list(dict.fromkeys(use.owner for use in self.uses))

    @property
    def is_used(self) -> bool:
        return self._first_use is not None

    @property
    def has_one_use(self) -> bool:
        return self._first_use is not None and self._first_use is self._last_use

    @property
    def defining_op(self) -> Operation | None:
        """The operation whose result this is; None for a block argument."""
        return None

    @property
    def parent_block(self) -> Block | None:
        """The block in which the value is defined."""
        raise TypeError

    def replace_by(self, other: Value) -> None:
        """Make every use of this value a use of `other`."""
        if other is not self:
            for use in self.uses:
                use.set(other)

    @property
    def shape(self) -> Any:
        """The shape of a value of shaped type."""
        assert isinstance(self.type, ShapedType)
        return self.type.shape

    @property
    def dtype(self) -> Any:
        """The element type of a value of shaped type, else the type itself."""
        return self.type.dtype if isinstance(self.type, ShapedType) else self.type

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} %{self.name or self.index} : {self.type}>"


class OpResult(Value):
    """Result number `index` of operation `owner`."""

    __slots__ = ()
    owner: Operation

    @property
    def defining_op(self) -> Operation:
        return self.owner

    @property
    def parent_block(self) -> Block | None:
        return self.owner.parent


class BlockArgument(Value):
    """Argument number `index` of block `owner`."""

    __slots__ = ("location",)
    owner: Block

    def __init__(
        self, type: Type, owner: Block, index: int, name: str | None = None, location: Location = UNKNOWN
    ) -> None:
        super().__init__(type, owner, index, name)
        self.location = location

    @property
    def parent_block(self) -> Block:
        return self.owner
