"""Where new operations go: the current insertion point, one per thread and task.

    with at_end(block):
        y = nd.exp(x)

Ops made inside take the insertion point's location unless they are given one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dlir.ir.core import Block, Operation
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN, Location


class InsertionPoint:
    """In `block`, before the op `before`, or at the end when that is None.  `listener` is told of each op put there."""

    __slots__ = ("before", "block", "listener", "location")

    def __init__(
        self,
        block: Block,
        before: Operation | None,
        location: Location,
        listener: Callable[[Operation], None] | None = None,
    ) -> None:
        self.block = block
        self.before = before
        self.location = location
        self.listener = listener


_current: ContextVar[InsertionPoint | None] = ContextVar("dlir_insertion_point", default=None)


def insert(op: Any) -> Any:
    """Put `op` at the insertion point, and return it."""
    point = _current.get()
    if point is None:
        raise DlirError(f"there is no insertion point for '{op.name}': use 'with at_end(block):'")
    if point.before is None:
        point.block.append(op)
    else:
        point.block.insert_before(point.before, op)
    if point.listener is not None:
        point.listener(op)
    return op


def current_location() -> Location:
    """The location that new ops take."""
    point = _current.get()
    return UNKNOWN if point is None else point.location


@contextmanager
def _at(block: Block | None, before: Operation | None, location: Location | None) -> Iterator[None]:
    assert block is not None
    outer = _current.get()
    if location is None:
        location = UNKNOWN if outer is None else outer.location
    # Whoever listens hears of all that is made meanwhile, wherever it goes.
    listener = None if outer is None else outer.listener
    token = _current.set(InsertionPoint(block, before, location, listener))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def insertion_point(point: InsertionPoint) -> Iterator[None]:
    """Insert at `point`, which its owner may move meanwhile (the parser does)."""
    token = _current.set(point)
    try:
        yield
    finally:
        _current.reset(token)


def at_end(block: Block, location: Location | None = None) -> Any:
    """Insert at the end of `block`."""
    return _at(block, None, location)


def at_start(block: Block, location: Location | None = None) -> Any:
    """Insert at the start of `block`."""
    return _at(block, block.first, location)


def before(op: Operation, location: Location | None = None) -> Any:
    """Insert just before `op`; new ops take its location, or the one given."""
    return _at(op.parent, op, op.location if location is None else location)


def after(op: Operation) -> Any:
    """Insert just after `op`; new ops take its location."""
    return _at(op.parent, op.next, op.location)
