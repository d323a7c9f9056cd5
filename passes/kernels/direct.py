"""Contractions in register tiles that read a packed operand where it lies: products with prepared weights, convolutions.

A work item is a block of rows times a group of panels.  Each register tile is `rows` x `columns`: for each product of the sum
one line of the panel is loaded as vectors, and multiplied by a scalar of each row.  Nothing is copied, except for a part of
an image that is read outside of its edges (`halo.py`), which is laid out with its zeros once for all panels of the item.

Where the last dimension of the rows is longer than a tile, each of its lines is cut into tiles; shorter lines are counted
together.  The scheme for convolutions is that of Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on
SIMD Architectures" (2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, constant, delinearize
from dlir.ir.core import Value
from dlir.ir.ops import arith, memref, vector
from dlir.ir.types import MemRefType, VectorType, is_float
from dlir.passes.kernels.buffers import signless
from dlir.passes.kernels.clip import Clip
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.direct_roles import DirectRoles, direct_roles
from dlir.passes.kernels.emit import Context, accumulated_dtype
from dlir.passes.kernels.halo import Halo
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.outline import may_be_outlined
from dlir.passes.kernels.plan import Unfit
from dlir.passes.kernels.product import factor, leaf_of, may_leave
from dlir.passes.kernels.roles import inverse, split

#: Work items that there should be, for threads to share.
ITEMS = 16
#: Bytes of the panels of one item, which should stay in a core's cache, and of the part of an image laid out for one.
GROUP_BYTES = 256 << 10
HALO_BYTES = 160 << 10
#: Rows of a block, at least and at most.
LEAST_ROWS, MOST_ROWS = 24, 512


def emit_direct(kernel: Kernel) -> None:
    """One work item for each block of rows and group of panels."""
    rows, columns, lanes = kernel.tile
    roles = direct_roles(kernel.plan, columns)
    if columns != roles.width:
        raise Unfit(f"the columns of a tile must be those of a panel, {roles.width}, not {columns}")
    if columns % lanes:
        raise Unfit(f"the {columns} columns of a tile are no multiple of {lanes} lanes")
    Direct(kernel, roles, rows, lanes).emit()


@dataclass(frozen=True)
class Lines:
    """How rows are walked: `outer` parts of the rows are part of the item's number, `block` parts are counted together, and
    cut into blocks; a line of tiles is `size` rows long."""

    outer: tuple[int, ...]
    blocked: tuple[int, ...]
    inner: tuple[int, ...]

    @staticmethod
    def of(roles: DirectRoles, rows: int, has_halo: bool) -> Lines:
        """Lines for tiles of so many rows."""
        numbers, sizes = roles.rows, roles.sizes(roles.rows)
        if not numbers:
            return Lines((), (), ())
        last = sizes[-1]
        if has_halo:
            # A block of an image is a range of lines.
            keep = 2 if len(numbers) > 1 else 1
            outer, numbers = numbers[:-keep], numbers[-keep:]
            if len(numbers) == 1:
                return Lines(outer, (), numbers)
            if rows % last == 0:
                return Lines(outer, numbers, ())
            return Lines(outer, numbers[:1], numbers[1:])
        if len(numbers) == 1 or rows % last == 0 or last % rows == 0 or last < rows:
            return Lines((), numbers, ())
        return Lines((), numbers[:-1], numbers[-1:])


class Direct:
    """Emits one contraction."""

    def __init__(self, kernel: Kernel, roles: DirectRoles, rows: int, lanes: int) -> None:
        assert kernel.plan.anchor is not None
        self.kernel = kernel
        self.emitter = kernel.emitter
        self.roles = roles
        self.op = kernel.plan.anchor
        self.dtype = signless(accumulated_dtype(self.op))
        self.lanes = lanes
        self.columns = roles.width
        self.clip = Clip.of(self.op, roles)
        self.has_halo = self.clip is None and may_leave(self.op, roles.left)
        self.lines = self._lines(rows)
        self.line = roles.size(self.lines.inner) if self.lines.inner else roles.size(self.lines.blocked)
        self.rows = min(rows, self.line)
        self.panels = roles.size(roles.panels)
        self._choose_blocks()
        self.halo: Halo | None = None

    def _lines(self, rows: int) -> Lines:
        if self.clip is not None:
            return Lines(self.clip.guards, self.clip.free, ())
        return Lines.of(self.roles, rows, self.has_halo)

    def _step(self) -> int:
        """How many of the blocked rows must be in one block: whole tiles."""
        return 1 if self.lines.inner else self.rows

    def make_item(self, outer: Mapping[int, AffineExpr], first: AffineExpr, top: AffineExpr) -> Item:
        """The item of the panels from `first` on, for the blocked rows from `top` on."""
        return Item(self, outer, first, top)

    def _choose_blocks(self) -> None:
        """How many panels make a group, and how much of the blocked rows makes a block."""
        roles = self.roles
        panel_bytes = roles.size(roles.reduction) * self.columns * self.dtype.bytes  # type: ignore[attr-defined]
        self.group = max(1, min(self.panels, GROUP_BYTES // panel_bytes))
        total = roles.size(self.lines.blocked)
        # What must stay together: whole tiles, and of a convolution whole lines.
        per = self.line if self.lines.inner else 1
        self.step = max(1, self._step())
        if self.has_halo and not self.lines.inner and self.lines.blocked:
            self.step = math.lcm(self.step, roles.sizes(self.lines.blocked)[-1])
        others = roles.size(roles.outer) * roles.size(self.lines.outer)
        block = min(-(-total // self.step), max(1, MOST_ROWS // per // self.step)) * self.step
        if self.has_halo:
            while block > self.step and Halo.bytes_for(self, block) > HALO_BYTES:
                block -= self.step

        def items() -> int:
            return others * -(-self.panels // self.group) * -(-total // block)

        while items() < ITEMS and block > self.step and block * per > LEAST_ROWS:
            block = -(-block // (2 * self.step)) * self.step
        while items() < ITEMS and self.group > 1:
            self.group = -(-self.group // 2)
        self.block = block
        self.blocks = -(-total // self.block)

    def emit(self) -> None:
        roles = self.roles
        outer = (*roles.outer, *self.lines.outer)
        counts = (*roles.sizes(outer), -(-self.panels // self.group), self.blocks)

        def item(number: AffineExpr) -> None:
            *index, group, block = delinearize(number, counts)
            self.make_item(dict(zip(outer, index)), group * self.group, block * self.block).emit()

        self.emitter.items(math.prod(counts), item)

    def row_values(self, blocked: AffineExpr, inner: AffineExpr) -> dict[int, AffineExpr]:
        """The parts of the rows at a place in the blocked rows and in the line."""
        roles, lines = self.roles, self.lines
        values = dict(zip(lines.blocked, split(blocked, roles.sizes(lines.blocked)))) if lines.blocked else {}
        if lines.inner:
            values.update(zip(lines.inner, split(inner, roles.sizes(lines.inner))))
        return values


class Item:
    """Emits one work item: the panels from `first` on, for the blocked rows from `top` on."""

    def __init__(self, owner: Direct, outer: Mapping[int, AffineExpr], first: AffineExpr, top: AffineExpr) -> None:
        self.owner = owner
        self.emitter = owner.emitter
        self.outer = dict(outer)
        self.first, self.top = first, top
        #: How many of the blocked rows there are.
        total = owner.roles.size(owner.lines.blocked)
        self.height = owner.kernel.at_most(owner.block, total, top) if owner.lines.blocked else 1
        self.panel: AffineExpr = constant(0)

    def emit(self) -> None:
        owner, emitter = self.owner, self.emitter
        self.sums = memref.alloca((), (), MemRefType((owner.rows, owner.columns), owner.dtype), alignment=64)
        self.halo = Halo(owner, owner.block) if owner.has_halo else None
        if self.halo is not None:
            self.halo.fill(self.outer, self.top)
        count = owner.kernel.at_most(owner.group, owner.panels, self.first)

        def panel(number: AffineExpr) -> None:
            self.panel = emitter.bounded(self.first + number, owner.panels)
            self._walk_rows()

        if count == 1:
            panel(constant(0))
        else:
            emitter.serial(count, panel)

    def _walk_rows(self) -> None:
        owner, emitter = self.owner, self.emitter
        if owner.lines.inner:

            def line(number: AffineExpr) -> None:
                whole, rest = divmod(owner.line, owner.rows)
                self._tiles(whole * owner.rows, lambda at, count: self._tile(number, at, count))
                if rest:
                    self._tile(number, constant(whole * owner.rows), rest)

            if self.height == 1:
                line(constant(0))
            else:
                emitter.serial(self.height, line)
        else:
            self._blocked_tiles()

    def _tiles(self, limit: int | Value, body: Callable[[AffineExpr, int], None]) -> None:
        step = self.owner.rows
        if limit == step:
            body(constant(0), step)
        elif limit:
            # Counted in tiles, so that the place of a row in its line can be told.
            count = limit // step if isinstance(limit, int) else arith.divui(limit, step)
            self.emitter.serial(count, lambda number: body(number * step, step))

    def _blocked_tiles(self) -> None:
        """Tiles over the rows of the block, of which the last block may have some that are no whole tile."""
        owner, emitter, step = self.owner, self.emitter, self.owner.rows
        total = owner.roles.size(owner.lines.blocked)
        whole, rest = divmod(total, step)

        def body(at: AffineExpr, count: int) -> None:
            self._tile(at, constant(0), count)

        if owner.blocks == 1:
            self._tiles(whole * step, body)
            if rest:
                body(constant(whole * step), rest)
            return
        limit: int | Value = owner.block
        if owner.blocks * owner.block > whole * step:
            left = emitter.index(-self.top + whole * step)
            limit = arith.minsi(left, emitter.index(constant(owner.block)))
        self._tiles(limit, body)
        if rest:
            last = (owner.blocks - 1) * owner.block
            is_last = arith.cmpi("sge", emitter.index(self.top), emitter.index(constant(last)))
            emitter.when(is_last, lambda: body(constant(whole * step - last), rest))

    # ------------------------------------------------------------ one tile

    def _tile(self, blocked: AffineExpr, inner: AffineExpr, count: int) -> None:
        """Compute and store the results of `count` rows: from `blocked` on in the block, or from `inner` on in its line."""
        sums = self._multiply(blocked, inner, count)
        for row, vectors in enumerate(sums):
            for number, item in enumerate(vectors):
                place = [self.emitter.index(constant(row)), self.emitter.index(constant(number * self.owner.lanes))]
                vector.store(item, self.sums, place)
        self._finish(blocked, inner, count)

    def _place(self, blocked: AffineExpr, inner: AffineExpr, row: AffineExpr | int) -> tuple[AffineExpr, AffineExpr]:
        """The place of row number `row` of a tile, from the top of the block."""
        return (blocked, inner + row) if self.owner.lines.inner else (blocked + row, inner)

    def _values(self, blocked: AffineExpr, inner: AffineExpr) -> dict[int, AffineExpr]:
        """The values of the parts that this item does not sum over, but for the column."""
        owner, roles = self.owner, self.owner.roles
        values = {**self.outer, **owner.row_values(self.top + blocked, inner)}
        values.update(zip(roles.panels, split(self.panel, roles.sizes(roles.panels)) if roles.panels else ()))
        return values

    def _multiply(self, blocked: AffineExpr, inner: AffineExpr, count: int) -> list[list[Value]]:
        """The sums of a tile, one vector after another."""
        owner, emitter = self.owner, self.emitter
        roles = owner.roles
        type = VectorType((owner.lanes,), owner.dtype)
        vectors = owner.columns // owner.lanes
        zero = emitter.vector_constant(0, type)
        places = [self._place(blocked, inner, row) for row in range(count)]
        points = [self._values(*place) for place in places]
        panel = points[0]

        def step(summed: dict[int, AffineExpr], sums: Sequence[Value]) -> list[Value]:
            right = [self._vector({**panel, **summed}, number, type) for number in range(vectors)]
            found = []
            for row, point in enumerate(points):
                scalar = self._scalar(places[row], {**point, **summed})
                left = vector.broadcast(scalar, type)
                found += [_multiply_add(left, right[n], sums[row * vectors + n]) for n in range(vectors)]
            return found

        def nest(summed: dict[int, AffineExpr], sums: Sequence[Value]) -> Sequence[Value]:
            if len(summed) == len(roles.reduction):
                return step(summed, sums)
            part = roles.reduction[len(summed)]
            lower: int | Value = 0
            upper: int | Value = roles.extents[part]
            if owner.clip is not None:
                lower, upper = owner.clip.range(emitter, part, {**panel, **summed})
            return emitter.serial(upper, lambda k, *inner: list(nest({**summed, part: k}, inner)), list(sums), 1, lower)

        found = nest({}, [zero] * (count * vectors))
        return [list(found[i * vectors : (i + 1) * vectors]) for i in range(count)]

    def _vector(self, values: Mapping[int, AffineExpr], number: int, type: VectorType) -> Value:
        owner = self.owner
        point = owner.roles.index({**values, owner.roles.column: constant(0)})
        leaf = leaf_of(owner.op, owner.roles.right, point)
        assert leaf is not None
        return self.emitter.buffers.load_vector(self.emitter, *leaf, type, number * owner.lanes)

    def _scalar(self, place: tuple[AffineExpr, AffineExpr], values: Mapping[int, AffineExpr]) -> Value:
        owner = self.owner
        if self.halo is not None:
            return self.halo.load(place, values)
        if owner.clip is not None:
            return owner.clip.load(self.emitter, values)
        return factor(self.emitter, owner.op, owner.roles.left, owner.roles.index(values))

    def _finish(self, blocked: AffineExpr, inner: AffineExpr, count: int) -> None:
        """Compute and store the results for the sums of a tile."""
        emitter, op = self.emitter, self.owner.op

        def row(number: AffineExpr) -> None:
            place = self._place(blocked, inner, number)
            values = self._values(*place)

            def element(column: AffineExpr) -> None:
                point = self._point({**values, self.owner.roles.column: column})
                found = emitter.buffers.load_memref(emitter, self.sums, (number, column))
                self._store(place, column, point, op.finish(Context(emitter, op), found, point))

            emitter.parallel([self._span(values)], element)

        emitter.parallel([count], row)
        may_be_outlined(emitter)

    def _span(self, values: Mapping[int, AffineExpr]) -> int | Value:
        """How many columns the panel has that are the result's."""
        roles, emitter = self.owner.roles, self.emitter
        extent = roles.extents[roles.column]
        width = self.owner.op.results[0].shape[dim_of_columns(roles)]
        if width == extent * roles.size(_panels_of(roles)):
            return extent
        start = roles.index({**values, roles.column: constant(0)})[dim_of_columns(roles)]
        return arith.minsi(emitter.index(-start + width), emitter.index(constant(extent)))

    def _point(self, values: Mapping[int, AffineExpr]) -> Index:
        """The element of the result whose parts have these values."""
        (result,) = self.owner.op.results
        point = self.owner.roles.index(values)[: result.rank]
        return tuple(self.emitter.bounded(expr, size) for expr, size in zip(point, result.shape))

    def _store(self, place: tuple[AffineExpr, AffineExpr], column: AffineExpr, point: Index, finished: Value) -> None:
        """Compute and store the kernel's results for an element of the contraction's, which stands at `place` and `column`."""
        kernel, op = self.owner.kernel, self.owner.op
        (loop,) = kernel.plan.loops
        ((*wanted,),) = loop.demand.reductions[op]
        loop_point = inverse(kernel.plan, point)
        self.emitter.remember(op.results[0], tuple(e.substitute(loop_point) for e in wanted), finished)
        kernel.store_outputs(loop, loop_point)


def dim_of_columns(roles: DirectRoles) -> int:
    """The dimension of the result that the columns are part of."""
    end = 0
    for number, part in enumerate(roles.parts):
        end += len(part)
        if roles.column < end:
            return number
    raise AssertionError("a column is part of a dimension")


def _panels_of(roles: DirectRoles) -> tuple[int, ...]:
    """The parts of the dimension that the columns are part of, but for the column itself."""
    first = sum(len(part) for part in roles.parts[: dim_of_columns(roles)])
    return tuple(range(first, roles.column))


def _multiply_add(left: Value, right: Value, total: Value) -> Value:
    if is_float(left.dtype):
        return vector.fma(left, right, total)
    return arith.addi(total, arith.muli(left, right))
