"""What tiles of a contraction have in common on a GPU: blocks, bounds, panels of the operands in shared memory, results.

A block of threads computes a tile of the result, `rows` x `columns`.  The sum goes in steps of `depth`: the block holds what it
needs of both operands for a step in shared memory, twice, so that the next step's is on its way from global memory while this
one's is multiplied.  The body tells threads apart by itself (``gpu.thread_id``), which `map` respects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dlir.ir.affine import AffineExpr, delinearize, symbol
from dlir.ir.attributes import IntegerAttr
from dlir.ir.builder import at_end, insert
from dlir.ir.core import Block, Region, Value
from dlir.ir.dialects.scf import If
from dlir.ir.ops import arith, gpu, scf
from dlir.ir.types import INDEX, ScalarType, Type
from dlir.passes.kernels.buffers import signless
from dlir.passes.kernels.choose_cuda import THREADS
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Context, accumulated_dtype
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.roles import Roles, inverse


class Tiling:
    """Emits one contraction in tiles of `tile` = rows, columns and depth, each by a block of `threads`."""

    def __init__(self, kernel: Kernel, roles: Roles, tile: tuple[int, int, int], threads: int) -> None:
        assert kernel.plan.anchor is not None
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.roles = roles
        self.op = kernel.plan.anchor
        dtype = signless(accumulated_dtype(self.op))
        assert isinstance(dtype, ScalarType)
        #: The type of the sums.
        self.dtype = dtype
        self.tile = tile
        self.threads = threads
        #: Rows and columns of the result, and how many products each element sums.
        columns = roles.size((*roles.bands, *roles.columns))
        self.extents = (roles.size(roles.rows), columns, roles.depth)

    def emit(self) -> None:
        """One work item for each tile."""
        outer = self.roles.extents(self.roles.outer)
        counts = (*outer, *(-(-extent // size) for extent, size in zip(self.extents[:2], self.tile)))

        def item(number: AffineExpr) -> None:
            *index, row, column = delinearize(number, counts)
            thread = symbol(gpu.thread_id("x"), self.threads)
            self.compute(index, (row * self.tile[0], column * self.tile[1]), thread)

        self.emitter.items(math.prod(counts), item)
        loop = self.emitter.scopes[0].block.last
        assert loop is not None
        loop.attributes[THREADS] = IntegerAttr(self.threads)

    def compute(self, outer: Sequence[AffineExpr], starts: tuple[AffineExpr, AffineExpr], thread: AffineExpr) -> None:
        """Emit the tile that begins at row and column `starts`, for one thread."""
        raise TypeError(f"{type(self).__name__} is no kind of tile")

    # ------------------------------------------------------------ results

    def store(
        self, outer: Sequence[AffineExpr], row: AffineExpr, column: AffineExpr, total: Callable[[], Value]
    ) -> None:
        """Compute and store the results for one element of the contraction, whose sum ``total()`` emits."""
        inside = self.inside([(row, self.extents[0], self.tile[0]), (column, self.extents[1], self.tile[1])])

        def element() -> None:
            self._store(self.point(outer, self.below(row, 0), self.below(column, 1)), total())

        self.when(inside, element)

    def _store(self, point: Index, total: Value) -> None:
        kernel, emitter, op = self.kernel, self.emitter, self.op
        (loop,) = kernel.plan.loops
        ((*wanted,),) = loop.demand.reductions[op]
        finished = op.finish(Context(emitter, op), total, point)
        here = inverse(kernel.plan, point)
        emitter.remember(op.results[0], tuple(expr.substitute(here) for expr in wanted), finished)
        kernel.store_outputs(loop, here)

    # ------------------------------------------------------------ bounds

    def point(self, outer: Sequence[AffineExpr], row: AffineExpr, column: AffineExpr) -> Index:
        """The index of an element of the contraction's result."""
        return self.roles.element(outer, row, column)

    def below(self, expr: AffineExpr, number: int) -> AffineExpr:
        """`expr`, of which it is known here that it is below extent `number`."""
        return self.emitter.bounded(expr, self.extents[number])

    def inside(self, wanted: Sequence[tuple[AffineExpr, int, int]], also: Value | None = None) -> Value | None:
        """Whether each expression is below its extent, which it is where a step of the third number divides that, and
        `also` holds; None where nothing is left to ask."""
        found = also
        for expr, extent, size in wanted:
            if size == 0 or extent % size:
                check = arith.cmpi("slt", self.emitter.index(expr), self.emitter.constant(extent, INDEX))
                found = check if found is None else arith.andi(found, check)
        return found

    def when(self, condition: Value | None, body: Callable[[], None]) -> None:
        """Emit ``body()`` where `condition` holds, or always."""
        if condition is None:
            body()
        else:
            with self._guarded_scalars():
                self.emitter.when(condition, body)

    def choose(self, condition: Value | None, compute: Callable[[], Value], otherwise: Callable[[], Value]) -> Value:
        """``compute()`` where `condition` holds, or always, else ``otherwise()``, of the same type."""
        if condition is None:
            return compute()
        emitter = self.emitter
        then, other = Block(), Block()
        with self._guarded_scalars(), emitter.inside(then):
            found = compute()
            scf.yield_(found)
        with at_end(other, emitter.location):
            scf.yield_(otherwise())
        regions = [Region([then]), Region([other])]
        types: list[Type] = [found.type]
        return insert(If.create(condition, regions=regions, result_types=types)).results[0]

    @contextmanager
    def _guarded_scalars(self) -> Iterator[None]:
        """Make scalars no further out than in the block about to be opened: they may be outside of their buffers."""
        emitter = self.emitter
        outside = emitter.floor
        emitter.floor = emitter.depth + 1
        try:
            yield
        finally:
            emitter.floor = outside
