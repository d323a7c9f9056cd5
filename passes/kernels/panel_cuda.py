"""The part of one operand of a contraction that a block of a GPU's threads has in shared memory, in two buffers in turn.

`load` brings a thread's units of a step to registers, and `store` from there to a buffer.  A unit is a vector of 16 bytes where
these are neighbours in memory, along the lines or along the depth of the panel, and aligned; else it is one element, which may
be computed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dlir.ir.affine import AffineExpr, constant, delinearize, dim, linearize
from dlir.ir.attributes import IntegerAttr
from dlir.ir.core import Value
from dlir.ir.dialects.gpu import workgroup
from dlir.ir.ops import arith, gpu, memref, vector
from dlir.ir.types import ScalarType, VectorType
from dlir.passes.kernels.buffers import stride_of
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.product import factor, leaf_of
from dlir.passes.kernels.roles import split
from dlir.passes.kernels.tiles_cuda import Tiling

#: Bytes that one thread moves at once.
VECTOR = 16


class Panel:
    """`tiling.tile`'s rows (side 0) or columns (side 1), as lines, by its depth; elements are of type `dtype`.

    `by_lines` says for an operand whose neighbours run along the depth whether its lines stay together in the buffers, which
    are ``[turn, line, k]`` then, and ``[turn, k, line]`` otherwise.
    """

    def __init__(
        self,
        tiling: Tiling,
        side: int,
        dtype: ScalarType,
        by_lines: bool,
        outer: Sequence[AffineExpr],
        start: AffineExpr,
        thread: AffineExpr,
    ) -> None:
        self.tiling = tiling
        self.emitter = tiling.emitter
        self.side = side
        self.dtype = dtype
        self.outer = outer
        self.start = start
        self.thread = thread
        self.size, self.depth = tiling.tile[side], tiling.tile[2]
        self.operand = tiling.roles.left if side == 0 else tiling.roles.right
        self.runs_along_depth = self._runs_along_depth()
        self.by_lines = by_lines and self.runs_along_depth
        self.width = self._width()
        inner = self.depth if self.by_lines else self.size
        #: Elements from one line of the buffer to the next: threads that go down a column use different banks.
        self.pitch = inner + VECTOR // dtype.bytes
        turns = 1 if self.is_whole else 2
        shape = (turns, self.size if self.by_lines else self.depth, self.pitch)
        self.buffer = memref.alloca((), (), workgroup(shape, dtype))

    @property
    def is_whole(self) -> bool:
        """Whether there is only one step."""
        return self.tiling.extents[2] <= self.depth

    # ------------------------------------------------------------ moving

    def load(self, first: AffineExpr, ahead: bool = False) -> list[Value]:
        """This thread's units of the step that begins with product `first`, zeros where the operand ends.

        A step that is loaded `ahead` may be one that does not exist.
        """
        turns = -(-self._units // self.tiling.threads)
        return [self._load_unit(number, first, ahead) for number in range(turns)]

    def store(self, turn: AffineExpr, loaded: Sequence[Value]) -> None:
        """Put what `load` gave into buffer `turn`."""
        for number, value in enumerate(loaded):
            self.tiling.when(self._is_busy(number), partial(self._store_unit, value, number, turn))

    @property
    def _units(self) -> int:
        return self.size * self.depth // self.width

    def _unit(self, number: int) -> AffineExpr:
        """The number of the unit that this thread moves in turn `number`."""
        return self.thread + number * self.tiling.threads

    def _is_busy(self, number: int) -> Value | None:
        """Whether there is a unit for this thread in turn `number`; None if there is one for all threads."""
        if (number + 1) * self.tiling.threads <= self._units:
            return None
        emitter = self.emitter
        return arith.cmpi("slt", emitter.index(self._unit(number)), emitter.index(constant(self._units)))

    def _place(self, number: int) -> tuple[AffineExpr, AffineExpr]:
        """The line and depth at which a unit begins: neighbouring threads move neighbours in memory."""
        width = self.width
        if self.runs_along_depth:
            line, k = delinearize(self._unit(number), (self.size, self.depth // width))
            return line, k * width
        k, line = delinearize(self._unit(number), (self.depth, self.size // width))
        return line * width, k

    def _load_unit(self, number: int, first: AffineExpr, ahead: bool) -> Value:
        emitter, tiling = self.emitter, self.tiling
        line, k = self._place(number)
        type = VectorType((self.width,), self.dtype)

        def load() -> Value:
            place = tiling.below(self.start + line, self.side), tiling.below(first + k, 2)
            if self.width == 1:
                return self._element(*place)
            leaf = self._leaf(self.outer, *place)
            assert leaf is not None
            found = emitter.buffers.load_vector(emitter, *leaf, type)
            assert found.defining_op is not None
            found.defining_op.attributes["alignment"] = IntegerAttr(VECTOR)
            return found

        def zeros() -> Value:
            zero = emitter.constant(0, self.dtype)
            return zero if self.width == 1 else vector.broadcast(zero, type)

        size, (*extents, depth) = self.size, tiling.extents
        wanted = [(self.start + line, extents[self.side], size), (first + k, depth, 0 if ahead else self.depth)]
        return tiling.choose(tiling.inside(wanted, self._is_busy(number)), load, zeros)

    def _store_unit(self, value: Value, number: int, turn: AffineExpr) -> None:
        line, k = self._place(number)
        if self.width == 1:
            memref.store(value, self.buffer, self.at(turn, line, k))
        elif self.by_lines == self.runs_along_depth:
            vector.store(value, self.buffer, self.at(turn, line, k), alignment=VECTOR)
        else:
            for step in range(self.width):
                memref.store(vector.extract(value, step), self.buffer, self.at(turn, line, k + step))

    def at(self, turn: AffineExpr, line: AffineExpr, k: AffineExpr) -> list[Value]:
        """The indices of an element in the buffer."""
        places = (line, k) if self.by_lines else (k, line)
        return [self.emitter.index(expr) for expr in (turn, *places)]

    # ------------------------------------------------------------ the operand

    def _index(self, outer: Sequence[AffineExpr], line: AffineExpr, k: AffineExpr) -> Index:
        """The point of the contraction's space at product `k` of a row or column."""
        tiling, zero = self.tiling, constant(0)
        row, column = (line, zero) if self.side == 0 else (zero, line)
        return tiling.point(outer, row, column) + tuple(split(k, tiling.roles.reduction))

    def _element(self, line: AffineExpr, k: AffineExpr) -> Value:
        """What the operand contributes to product `k` of a line, as an element of the buffer."""
        found = factor(self.emitter, self.tiling.op, self.operand, self._index(self.outer, line, k))
        if found.type is self.dtype:
            return found
        # The factor was widened to the type of the sum.
        op = found.defining_op
        if op is not None and op.name == "arith.extf" and op.operands[0].type is self.dtype:
            return op.operands[0]
        return arith.truncf(found, result_types=[self.dtype])

    def _leaf(self, outer: Sequence[AffineExpr], line: AffineExpr, k: AffineExpr) -> tuple[Value, Index] | None:
        """Where in memory that is, if it is there as it is."""
        leaf = leaf_of(self.tiling.op, self.operand, self._index(outer, line, k))
        return leaf if leaf is not None and leaf[0] in self.emitter.buffers and leaf[0].dtype is self.dtype else None

    def _runs_along_depth(self) -> bool:
        """Whether neighbours in an operand's memory are neighbours in the sum, rather than in the result."""
        space = self.tiling.op.space()
        index = space.maps[self.operand]
        assert index is not None
        return stride_of(index.exprs, self.tiling.op.operands[self.operand].shape, len(space.extents) - 1) == 1

    def _width(self) -> int:
        """How many elements a thread moves at once: 16 bytes of them, or 1 where these are not neighbours or not aligned."""
        width, extents = VECTOR // self.dtype.bytes, self.tiling.extents
        along, size = (extents[2], self.depth) if self.runs_along_depth else (extents[self.side], self.size)
        if along % width or size % width:
            return 1
        outer = [dim(3 + n, extent) for n, extent in enumerate(self.tiling.roles.extents(self.tiling.roles.outer))]
        start, step = dim(0, along // width) * width, dim(1, width)
        across = dim(2, extents[self.side] if self.runs_along_depth else extents[2])

        def position(place: AffineExpr) -> AffineExpr | None:
            line, k = (across, place) if self.runs_along_depth else (place, across)
            leaf = self._leaf(outer, line, k)
            return None if leaf is None else linearize(leaf[1], leaf[0].shape)

        whole, found = position(start), position(start + step)
        if whole is None or found is None or found != whole + step:
            return 1
        is_aligned = whole.constant % width == 0 and all(factor % width == 0 for _, factor in whole.terms)
        return width if is_aligned else 1


def sum_in_steps(
    tiling: Tiling,
    panels: Sequence[Panel],
    accumulate: Callable[[AffineExpr, Sequence[Value]], Sequence[Value]],
    inits: Sequence[Value],
) -> Sequence[Value]:
    """What ``accumulate(turn, sums)`` makes of `inits` in all steps, with the panels of each in buffer `turn`."""
    emitter, depth, zero = tiling.emitter, tiling.tile[2], constant(0)
    for panel in panels:
        panel.store(zero, panel.load(zero))
    gpu.barrier()
    if panels[0].is_whole:
        return accumulate(zero, inits)

    def step(first: AffineExpr, *sums: Value) -> Sequence[Value]:
        turn = first // depth % 2
        following = first + depth
        loaded = [panel.load(following, ahead=True) for panel in panels]
        found = accumulate(turn, sums)
        for panel, values in zip(panels, loaded):
            panel.store(-turn + 1, values)
        gpu.barrier()
        return found

    return emitter.serial(tiling.extents[2], step, inits, step=depth)
