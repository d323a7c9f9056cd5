"""Contractions on a GPU: tiles of the result by blocks of threads, or one item for each element.

A block of 256 threads computes a tile of the result, `rows` x `columns`.  The sum goes in steps of `depth`: the block copies
what it needs of both operands to shared memory, and each thread adds the products for its own elements, which it keeps in
registers.  A thread's rows and columns are 16 apart, so that neighbouring threads read neighbours in shared memory and
write neighbours of the result.  The body tells threads apart by itself (``gpu.thread_id``), which `map` respects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dlir.ir.affine import AffineExpr, constant, delinearize, symbol
from dlir.ir.attributes import UNIT, IntegerAttr
from dlir.ir.builder import at_end, insert
from dlir.ir.core import Block, Region, Value
from dlir.ir.dialects.gpu import workgroup
from dlir.ir.dialects.scf import If
from dlir.ir.ops import arith, gpu, memref, scf
from dlir.ir.ops import math as math_ops
from dlir.ir.types import INDEX, is_float
from dlir.passes.kernels.buffers import signless, stride_of
from dlir.passes.kernels.choose_cuda import THREADS
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import Context, accumulated_dtype
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.product import factor
from dlir.passes.kernels.roles import Roles, inverse, roles_of, split

#: Threads of a block in each direction of the tile.
SIDE = 16


def emit_elements(kernel: Kernel) -> None:
    """One work item for each element; a reduction inside is a loop that a block's threads may share."""
    (loop,) = kernel.plan.loops

    def body(item: AffineExpr) -> None:
        point = list(delinearize(item, loop.extents))
        places = [(number, tuple(expr.substitute(point) for expr in index)) for number, index in loop.outputs]
        _store(kernel, places)

    kernel.emitter.items(math.prod(loop.extents), body)


def emit_tiles(kernel: Kernel) -> None:
    """One work item for each tile of the result."""
    roles = roles_of(kernel.plan, lambda op: True)
    assert roles is not None
    rows, columns, depth = kernel.tile
    _Tiles(kernel, roles, rows, columns, depth).emit()


def tile_for(roles: Roles, blocks: int) -> tuple[int, ...]:
    """The largest tile (rows, columns, depth) of which there are `blocks`, or else the smallest; () if the result is so
    narrow that most of a tile would lie outside of it."""
    rows = roles.size(roles.rows)
    columns = roles.size((*roles.bands, *roles.columns))
    if min(rows, columns) < SIDE // 2 or roles.depth == 0:
        return ()
    for side, depth in ((128, 8), (64, 16), (32, 16)):
        count = roles.size(roles.outer) * -(-rows // side) * -(-columns // side)
        if count >= blocks:
            return side, side, depth
    return SIDE, SIDE, SIDE


class _Tiles:
    """Emits one contraction, in tiles of `rows` x `columns`, `depth` products at a time."""

    def __init__(self, kernel: Kernel, roles: Roles, rows: int, columns: int, depth: int) -> None:
        assert kernel.plan.anchor is not None
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.roles = roles
        self.op = kernel.plan.anchor
        self.dtype = signless(accumulated_dtype(self.op))
        self.tile = (rows, columns, depth)
        self.column_dims = (*roles.bands, *roles.columns)
        #: Rows and columns of the result, and how many products each element sums.
        self.extents = (roles.size(roles.rows), roles.size(self.column_dims), roles.depth)

    def emit(self) -> None:
        """One work item for each tile."""
        roles = self.roles
        outer = roles.extents(roles.outer)
        counts = (*outer, *(-(-extent // size) for extent, size in zip(self.extents[:2], self.tile)))

        def item(number: AffineExpr) -> None:
            *index, row, column = delinearize(number, counts)
            self._tile(index, row * self.tile[0], column * self.tile[1])

        self.emitter.items(math.prod(counts), item)
        loop = self.emitter.scopes[0].block.last
        assert loop is not None
        loop.attributes[THREADS] = IntegerAttr(SIDE * SIDE)

    def _tile(self, outer: Sequence[AffineExpr], top: AffineExpr, start: AffineExpr) -> None:
        emitter = self.emitter
        rows, columns, depth = self.tile
        thread = symbol(gpu.thread_id("x"), SIDE * SIDE)
        down, across = delinearize(thread, (SIDE, SIDE))
        # One column more than is used: threads that write down a column then use different banks.
        buffers = [memref.alloca((), (), workgroup((depth, extent + 1), self.dtype)) for extent in (rows, columns)]
        places = [(top, down, rows), (start, across, columns)]

        def step(first: AffineExpr, *sums: Value) -> tuple[Value, ...]:
            for side, buffer in enumerate(buffers):
                self._fill(side, buffer, outer, (top, start)[side], first, thread)
            gpu.barrier()
            found = self._accumulate(buffers, down, across, sums)
            gpu.barrier()
            return found

        inits = [emitter.constant(0, self.dtype)] * (rows * columns // SIDE**2)
        sums = emitter.serial(self.extents[2], step, inits, step=depth)
        self._finish(outer, places, sums)

    # ------------------------------------------------------------ the sum

    def _fill(
        self,
        side: int,
        buffer: Value,
        outer: Sequence[AffineExpr],
        start: AffineExpr,
        first: AffineExpr,
        thread: AffineExpr,
    ) -> None:
        """Copy `depth` products' worth of one operand to shared memory, zeros where it ends."""
        emitter, (*sizes, depth) = self.emitter, self.tile
        size, extent = sizes[side], self.extents[side]
        along_depth = self._runs_along_depth(side)

        def element(number: AffineExpr) -> None:
            shape = (size, depth) if along_depth else (depth, size)
            one, two = delinearize(number, shape)
            line, k = (one, two) if along_depth else (two, one)

            def load() -> Value:
                return self._factor(
                    side, outer, self._below(start + line, extent), self._below(first + k, self.extents[2])
                )

            inside = self._inside([(start + line, extent, size), (first + k, self.extents[2], depth)])
            found = load() if inside is None else self._choose(inside, load)
            memref.store(found, buffer, [emitter.index(k), emitter.index(line)])

        def turn(number: AffineExpr) -> None:
            element(number * SIDE**2 + thread)

        self._repeat(size * depth // SIDE**2, turn, size * depth, thread)

    def _repeat(self, turns: int, turn: Callable[[AffineExpr], None], total: int, thread: AffineExpr) -> None:
        """``turn(i)`` for each i; where there is less than one turn, for the first threads only."""
        emitter = self.emitter
        if turns == 0:
            is_busy = arith.cmpi("slt", emitter.index(thread), emitter.index(constant(total)))
            emitter.when(is_busy, lambda: turn(constant(0)))
            return
        results = emitter.serial(turns, lambda i: turn(i))
        assert not results
        loop = emitter.scopes[-1].block.last
        assert loop is not None
        loop.attributes["dlir.unroll"] = UNIT

    def _runs_along_depth(self, side: int) -> bool:
        """Whether neighbours in an operand's memory are neighbours in the sum, rather than in the result."""
        operand = self._operand(side)
        index = self.op.space().maps[operand]
        assert index is not None
        shape = self.op.operands[operand].shape
        last = len(self.op.space().extents) - 1
        return stride_of(index.exprs, shape, last) == 1

    def _operand(self, side: int) -> int:
        return self.roles.left if side == 0 else self.roles.right

    def _factor(self, side: int, outer: Sequence[AffineExpr], line: AffineExpr, k: AffineExpr) -> Value:
        """What an operand contributes to product `k` of a row (side 0) or column (side 1)."""
        zero = constant(0)
        point = self._point(outer, line, zero) if side == 0 else self._point(outer, zero, line)
        index = point + tuple(split(k, self.roles.reduction))
        return factor(self.emitter, self.op, self._operand(side), index)

    def _accumulate(
        self, buffers: Sequence[Value], down: AffineExpr, across: AffineExpr, sums: Sequence[Value]
    ) -> tuple[Value, ...]:
        """Add the products of one step to a thread's sums, row by row."""
        emitter = self.emitter
        rows, columns, depth = self.tile

        def product(k: AffineExpr, *carried: Value) -> list[Value]:
            def read(buffer: Value, place: AffineExpr, size: int) -> list[Value]:
                lines = [place + SIDE * i for i in range(size // SIDE)]
                return [memref.load(buffer, [emitter.index(k), emitter.index(line)]) for line in lines]

            left, right = read(buffers[0], down, rows), read(buffers[1], across, columns)
            pairs = [(a, b) for a in left for b in right]
            return [_multiply_add(a, b, total) for (a, b), total in zip(pairs, carried)]

        found = emitter.serial(depth, product, sums)
        found[0].owner.attributes["dlir.unroll"] = UNIT
        return found

    # ------------------------------------------------------------ results

    def _finish(
        self, outer: Sequence[AffineExpr], places: Sequence[tuple[AffineExpr, AffineExpr, int]], sums: Sequence[Value]
    ) -> None:
        """Compute and store the results for a thread's sums."""
        (top, down, rows), (start, across, columns) = places
        count = columns // SIDE
        for number, total in enumerate(sums):
            row, column = top + down + SIDE * (number // count), start + across + SIDE * (number % count)
            inside = self._inside([(row, self.extents[0], rows), (column, self.extents[1], columns)])

            def element(total: Value = total, row: AffineExpr = row, column: AffineExpr = column) -> None:
                point = self._point(outer, self._below(row, self.extents[0]), self._below(column, self.extents[1]))
                self._store_element(point, total)

            if inside is None:
                element()
            else:
                with self._guarded_scalars():
                    self.emitter.when(inside, element)

    def _store_element(self, point: Index, total: Value) -> None:
        kernel, emitter, op = self.kernel, self.emitter, self.op
        (loop,) = kernel.plan.loops
        ((*wanted,),) = loop.demand.reductions[op]
        finished = op.finish(Context(emitter, op), total, point)
        here = inverse(kernel.plan, point)
        emitter.remember(op.results[0], tuple(expr.substitute(here) for expr in wanted), finished)
        _store(kernel, [(number, tuple(expr.substitute(here) for expr in index)) for number, index in loop.outputs])

    # ------------------------------------------------------------ bounds

    def _point(self, outer: Sequence[AffineExpr], row: AffineExpr, column: AffineExpr) -> Index:
        """The index of an element of the result."""
        roles = self.roles
        band, inner = column, constant(0)
        if roles.columns:
            band, inner = column // roles.size(roles.columns), column % roles.size(roles.columns)
        return roles.point(outer, row, band, inner)

    def _below(self, expr: AffineExpr, extent: int) -> AffineExpr:
        """`expr`, of which it is known here that it is below `extent`."""
        low, high = expr.bounds
        if low is not None and high is not None and low >= 0 and high < extent:
            return expr
        return symbol(self.emitter.index(expr), extent)

    def _inside(self, wanted: Sequence[tuple[AffineExpr, int, int]]) -> Value | None:
        """Whether each expression is below its extent; None where the tile's size divides it."""
        found: Value | None = None
        for expr, extent, size in wanted:
            if extent % size:
                check = arith.cmpi("slt", self.emitter.index(expr), self.emitter.constant(extent, INDEX))
                found = check if found is None else arith.andi(found, check)
        return found

    def _choose(self, condition: Value, compute: Callable[[], Value]) -> Value:
        """``compute()`` where `condition` holds, else 0."""
        emitter = self.emitter
        then, otherwise = Block(), Block()
        with self._guarded_scalars(), emitter.inside(then):
            scf.yield_(compute())
        zero = emitter.constant(0, self.dtype)
        with at_end(otherwise, emitter.location):
            scf.yield_(zero)
        regions = [Region([then]), Region([otherwise])]
        return insert(If.create(condition, regions=regions, result_types=[self.dtype])).results[0]

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


def _store(kernel: Kernel, places: Sequence[tuple[int, Index]]) -> None:
    """Compute and store results at one point: everything is read before anything is written."""
    emitter = kernel.emitter
    found = [emitter.element(kernel.values[number], index) for number, index in places]
    for scalar, (number, index) in zip(found, places):
        emitter.buffers.store(emitter, scalar, kernel.targets[number], index)


def _multiply_add(left: Value, right: Value, total: Value) -> Value:
    if is_float(left.type):
        return math_ops.fma(left, right, total)
    return arith.addi(total, arith.muli(left, right))
