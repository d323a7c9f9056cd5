"""The nest of loops under construction: where things are made, loops, constants and index values.

A loop's op is inserted when its body is complete, so what is hoisted out of it stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dlir.ir.affine import AffineExpr, Quotient, Remainder, Symbol, symbol
from dlir.ir.builder import at_end, insert
from dlir.ir.core import Block, Region, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.scf import If, for_loop, parallel_loop
from dlir.ir.location import Location
from dlir.ir.ops import arith, scf
from dlir.ir.types import INDEX, Type, VectorType


class Scope:
    """The inside of one loop: its block and what has been made in it."""

    __slots__ = ("block", "memo")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.memo: dict[Any, Value] = {}


class LoopNest:
    """The loops that are open, outermost first; the first scope is the entry block of the kernel's function."""

    def __init__(self, block: Block, location: Location) -> None:
        self.scopes = [Scope(block)]
        self.location = location
        #: Scalars are made at this depth or deeper: within the loop over work items, once that is open.
        self.floor = 0
        self.collected: list[tuple[int, Callable[[AffineExpr], None]]] | None = None

    @contextmanager
    def collected_items(self) -> Iterator[list[tuple[int, Callable[[AffineExpr], None]]]]:
        """Do not emit loops over items, but collect them: how many items there are, and the code for one."""
        self.collected = found = []  # type: ignore[var-annotated]
        try:
            yield found
        finally:
            self.collected = None

    # ------------------------------------------------------------ places

    @contextmanager
    def at(self, depth: int) -> Iterator[None]:
        """Emit in scope number `depth`, before the loops that are open inside it."""
        inner = self.scopes[depth + 1 :]
        del self.scopes[depth + 1 :]
        try:
            with at_end(self.scopes[depth].block, self.location):
                yield
        finally:
            self.scopes += inner

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Emit in `block`, which belongs to an op that will stand in the innermost scope."""
        self.scopes.append(Scope(block))
        try:
            with at_end(block, self.location):
                yield
        finally:
            self.scopes.pop()

    @property
    def depth(self) -> int:
        """The number of the innermost scope."""
        return len(self.scopes) - 1

    def depth_of(self, value: Value) -> int:
        """The number of the scope in which `value` is defined."""
        block = value.parent_block
        for depth in range(self.depth, 0, -1):
            if self.scopes[depth].block is block:
                return depth
        return 0

    def depth_of_index(self, index: Sequence[AffineExpr]) -> int:
        """The number of the outermost scope in which all of `index` is known."""
        depths = (self.depth_of(value) for expr in index for value in _symbols(expr))
        return max(self.floor, *depths, 0)

    # ------------------------------------------------------------ loops

    def items(self, count: int, body: Callable[[AffineExpr], None]) -> None:
        """The outermost loop, over work items that have nothing to do with one another."""
        if self.collected is not None:
            self.collected.append((count, body))
            return

        def filled(item: AffineExpr) -> None:
            self.floor = self.depth
            body(item)
            self.floor = 0

        self.parallel([count], filled)

    def parallel(self, extents: Sequence[int | Value], body: Callable[..., None]) -> None:
        """Loop over a box in any order; ``body(*index)`` emits one point."""

        def filled(*counters: Value) -> None:
            with self.inside(counters[0].owner):
                body(*self._symbols_for(counters, extents))

        with self.at(self.depth):
            lowers, uppers, steps = self._bounds(extents)
            parallel_loop(lowers, uppers, steps, filled)

    def serial(
        self,
        extent: int | Value,
        body: Callable[..., Any],
        inits: Sequence[Value] = (),
        step: int = 1,
        lower: int | Value = 0,
    ) -> tuple[Value, ...]:
        """Loop in order; ``body(i, *carried)`` returns the values carried on, first `inits`."""

        def filled(counter: Value, *carried: Value) -> Any:
            with self.inside(counter.owner):
                return body(self._symbols_for([counter], [extent])[0], *carried)

        with self.at(self.depth):
            first, last = (
                bound if isinstance(bound, Value) else self.constant(bound, INDEX) for bound in (lower, extent)
            )
            return for_loop(first, last, self.constant(step, INDEX), inits, filled)

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        """Emit ``body()`` where `condition` holds."""
        block = Block()
        with self.inside(block):
            body()
            scf.yield_()
        with self.at(self.depth):
            insert(If.create(condition, regions=[Region([block]), Region()], result_types=()))

    def between(self, lower: Value, upper: Value, body: Callable[[AffineExpr], None]) -> None:
        """Loop over ``lower .. upper-1`` in any order."""

        def filled(counter: Value) -> None:
            with self.inside(counter.owner):
                body(symbol(counter, _at_most(upper)))

        with self.at(self.depth):
            parallel_loop([lower], [upper], [self.constant(1, INDEX)], filled)

    def _bounds(self, extents: Sequence[int | Value]) -> tuple[list[Value], list[Value], list[Value]]:
        uppers = [e if isinstance(e, Value) else self.constant(e, INDEX) for e in extents]
        return [self.constant(0, INDEX)] * len(extents), uppers, [self.constant(1, INDEX)] * len(extents)

    def _symbols_for(self, counters: Sequence[Value], extents: Sequence[int | Value]) -> list[AffineExpr]:
        """The counters as index expressions that know their extents."""
        return [symbol(counter, _at_most(extent)) for counter, extent in zip(counters, extents)]

    # ------------------------------------------------------------ scalars

    def constant(self, number: float | int | bool, dtype: Type) -> Value:
        """A constant, in the outermost scope."""
        key = ("constant", type(number), str(number), dtype)
        memo = self.scopes[0].memo
        if key not in memo:
            with self.at(0):
                memo[key] = arith.constant(number, dtype)
        return memo[key]

    def vector_constant(self, number: float | int, type: VectorType) -> Value:
        """A vector whose elements are all `number`, in the outermost scope."""
        key = ("constant", number, type)
        memo = self.scopes[0].memo
        if key not in memo:
            with self.at(0):
                memo[key] = arith.constant(number, type)
        return memo[key]

    def index(self, expr: AffineExpr) -> Value:
        """The value of `expr`, of type index."""
        if expr.is_constant:
            return self.constant(expr.constant, INDEX)
        depth = self.depth_of_index([expr])
        memo = self.scopes[depth].memo
        if expr not in memo:
            with self.at(depth):
                memo[expr] = self._sum(expr)
        return memo[expr]

    def bounded(self, expr: AffineExpr, extent: int) -> AffineExpr:
        """`expr`, of which it is known here that it is in 0 .. extent-1, as an expression that shows it."""
        low, high = expr.bounds
        if expr.is_constant or (low is not None and high is not None and low >= 0 and high < extent):
            return expr
        return symbol(self.index(expr), extent)

    def _sum(self, expr: AffineExpr) -> Value:
        """A sum of terms, those of outer loops first so that they are hoisted."""
        terms = sorted(expr.terms, key=lambda term: self.depth_of_index([AffineExpr({term[0]: 1})]))
        if len(terms) == 1 and not expr.constant:
            ((atom, factor),) = terms
            value = self._atom(atom)
            return value if factor == 1 else arith.muli(value, self.constant(factor, INDEX))
        if expr.constant:
            return arith.addi(self.index(AffineExpr(dict(terms))), self.constant(expr.constant, INDEX))
        first = self.index(AffineExpr(dict(terms[:-1])))
        return arith.addi(first, self.index(AffineExpr(dict(terms[-1:]))))

    def _atom(self, atom: Any) -> Value:
        match atom:
            case Symbol(value):
                return value
            case Quotient(expr, divisor):
                name = "divui" if _is_natural(expr) else "floordivsi"
                return getattr(arith, name)(self.index(expr), self.constant(divisor, INDEX))
            case Remainder(expr, divisor) if _is_natural(expr):
                return arith.remui(self.index(expr), self.constant(divisor, INDEX))
            case Remainder(expr, divisor):
                quotient = arith.floordivsi(self.index(expr), self.constant(divisor, INDEX))
                return arith.subi(self.index(expr), arith.muli(quotient, self.constant(divisor, INDEX)))
        raise TypeError(f"{atom} has no value inside a kernel")


def _symbols(expr: AffineExpr) -> Iterator[Value]:
    """The run-time values in an expression."""
    stack = [expr]
    while stack:
        for atom, _ in stack.pop().terms:
            if isinstance(atom, Symbol):
                yield atom.value
            elif isinstance(atom, Quotient | Remainder):
                stack.append(atom.expr)


def _at_most(extent: int | Value) -> int | None:
    """The largest that a loop's extent can be, if that is known."""
    if isinstance(extent, int):
        return extent
    op = extent.defining_op
    if op is None or op.name != "arith.minsi":
        return None
    known = [found for found in map(constant_value, op.operands) if found is not None]
    return min(known, default=None)


def _is_natural(expr: AffineExpr) -> bool:
    """Whether `expr` is known not to be negative."""
    low, _ = expr.bounds
    return low is not None and low >= 0
