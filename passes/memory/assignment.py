"""Which buffer each tensor of a function lives in: what ``bufferize`` decides first and then carries out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dlir.ir.core import Operation, Value
from dlir.ir.types import TensorType


@dataclass(slots=True, eq=False)
class Buffer:
    """A piece of memory and the values that it holds, one after the other or as views of one another.

    `first` and `last` are the times (op numbers) of its first value's definition and of the last use of any.  `result`
    is the number of the function's result that it holds at the end.  A "state" is a variable that the function writes.
    """

    kind: Literal["input", "donated", "variable", "state", "temporary"]
    values: list[Value]
    first: int
    last: int
    result: int | None = None
    #: The size of a buffer whose values are views of parts of it; 0: all values have the first one's type and size.
    bytes: int = 0
    #: Whether it holds what a loop carries or a branch gives (:mod:`dlir.passes.memory.loops`).
    is_slot: bool = False
    #: The variable that a "state" is, and its type.
    variable: str | None = None
    declared: TensorType | None = None

    @property
    def is_bytes(self) -> bool:
        return self.bytes > 0

    @property
    def nbytes(self) -> int:
        return self.bytes or self.type.nbytes

    @property
    def dtype(self) -> object:
        """The type of its elements; None if it holds parts."""
        return None if self.is_bytes else self.type.dtype

    @property
    def type(self) -> TensorType:
        """The type of the variable, or of the first value: all others have its dtype and size."""
        return self.declared or self.values[0].type

    @property
    def may_be_written(self) -> bool:
        return self.kind in ("donated", "temporary")


@dataclass(frozen=True, slots=True)
class Move:
    """A copy from where a value lies to where another one is to lie; or from or to a buffer in between."""

    source: Value | Buffer
    target: Value | Buffer

    @property
    def type(self) -> TensorType:
        found: TensorType = self.source.type
        return found


@dataclass(slots=True)
class Assignment:
    """The buffers of a function's values, which results must be copied, and which regions only reshape."""

    buffers: dict[Value, Buffer] = field(default_factory=dict)
    #: Pairs (operand, result) that share a buffer, by kernel.
    inplace: dict[Operation, list[tuple[int, int]]] = field(default_factory=dict)
    reshapes: dict[Operation, list[int]] = field(default_factory=dict)
    #: Regions that only cut out or join what lies in place already, and where values begin in buffers of bytes.
    merged: list[Operation] = field(default_factory=list)
    parts: dict[Value, int] = field(default_factory=dict)
    copied_results: list[int] = field(default_factory=list)
    #: What loops and the ends of their bodies copy first, in order, and the buffers that this goes through.  Before it
    #: returns, a function copies new values of variables that do not lie there.
    moves: dict[Operation, list[Move]] = field(default_factory=dict)
    asides: list[Buffer] = field(default_factory=list)
    #: The buffers of the variables that are written, and the values that they get.
    states: dict[str, Buffer] = field(default_factory=dict)
    writes: dict[str, Value] = field(default_factory=dict)

    @property
    def all_buffers(self) -> list[Buffer]:
        """Each buffer once."""
        return list(dict.fromkeys([*self.buffers.values(), *self.asides]))
