"""Tensors that are in memory: where their elements are loaded from and stored to.

An index that only divides and takes remainders because a shape was folded or split is turned back into a position in the
flat buffer, so that neighbours in the loop are neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dlir.ir.affine import AffineExpr, Lookup, Quotient, Remainder, has_lookup, linearize
from dlir.ir.attributes import Attribute
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import UnrealizedConversionCast
from dlir.ir.ops import memref, vector
from dlir.ir.types import MemRefType, Type, VectorType
from dlir.passes.kernels.probe import signless

if TYPE_CHECKING:
    from dlir.passes.kernels.emit import Emitter


class Buffers:
    """The memrefs that hold tensors, and the views of them that have been made.

    `constant` gives the memref of a constant array, in the kernel's entry block.
    """

    def __init__(self, memrefs: dict[Value, Value], constant: Callable[[Attribute], Value]) -> None:
        self._memrefs = dict(memrefs)
        self._constant = constant
        self._tables: dict[Attribute, Value] = {}
        self._flat: dict[Value, Value] = {}
        #: How the elements of values are loaded that are in memory in some other way.
        self._loaders: dict[Value, Callable[[Sequence[AffineExpr]], Value]] = {}

    def __contains__(self, value: Value) -> bool:
        return value in self._memrefs or value in self._loaders

    def memref_of(self, value: Value) -> Value:
        """The memref that holds tensor `value`."""
        return self._memrefs[value]

    @contextmanager
    def loading(self, value: Value, load: Callable[[Sequence[AffineExpr]], Value]) -> Iterator[None]:
        """Let ``load(index)`` give the elements of tensor `value`."""
        self._loaders[value] = load
        try:
            yield
        finally:
            del self._loaders[value]

    def load(self, emitter: Emitter, value: Value, index: Sequence[AffineExpr]) -> Value:
        """The element of tensor `value` at `index`."""
        if value in self._loaders:
            return self._loaders[value](index)
        return self.load_memref(emitter, self._memrefs[value], index)

    def table(self, emitter: Emitter, elements: Attribute, index: Sequence[AffineExpr]) -> Value:
        """The element of a constant array at `index`."""
        if elements not in self._tables:
            with emitter.at(0):
                self._tables[elements] = self._constant(elements)
        return self.load_memref(emitter, self._tables[elements], index)

    def load_memref(self, emitter: Emitter, source: Value, index: Sequence[AffineExpr]) -> Value:
        """The element of a memref at `index`, as a signless scalar."""
        source, index = self._address(emitter, source, index)
        found = memref.load(source, [emitter.index(expr) for expr in index])
        return _converted(found, signless(found.type))

    def load_vector(
        self, emitter: Emitter, value: Value, index: Sequence[AffineExpr], type: VectorType, behind: int = 0
    ) -> Value:
        """The elements of tensor `value` that are `behind` the one at `index` in memory, and its neighbours."""
        buffer = self._flattened(emitter, self._memrefs[value])
        return vector.load(buffer, [emitter.index(linearize(index, value.shape) + behind)], type)

    def store(self, emitter: Emitter, scalar: Value, target: Value, index: Sequence[AffineExpr]) -> None:
        """Write `scalar` to memref `target` at `index`."""
        target, index = self._address(emitter, target, index)
        memref.store(_converted(scalar, target.dtype), target, [emitter.index(expr) for expr in index])

    def _address(
        self, emitter: Emitter, buffer: Value, index: Sequence[AffineExpr]
    ) -> tuple[Value, Sequence[AffineExpr]]:
        """The buffer and index to use: those given, or the flat view and a position that divides less."""
        before = sum(map(divisions, index))
        if not before or buffer.rank < 2:
            return buffer, index
        position = linearize(index, buffer.shape)
        if divisions(position) >= before:
            return buffer, index
        return self._flattened(emitter, buffer), [position]

    def _flattened(self, emitter: Emitter, buffer: Value) -> Value:
        if buffer.rank == 1:
            return buffer
        if buffer not in self._flat:
            with emitter.at(emitter.depth_of(buffer)):
                type = MemRefType((buffer.type.size,), buffer.dtype)
                self._flat[buffer] = memref.reinterpret_cast(buffer, type)
        return self._flat[buffer]


def folds(index: Sequence[AffineExpr], shape: Sequence[int]) -> bool:
    """Whether an element can be addressed without dividing: as it is, or as a position in the flat buffer."""
    return not any(map(divisions, index)) or not divisions(linearize(index, shape))


def stride_of(index: Sequence[AffineExpr], shape: Sequence[int], number: int) -> int | None:
    """How far one step of dimension `number` moves in memory, in elements; None where it depends on the place."""
    position = linearize(index, shape)
    for atom, _ in position.terms:
        if isinstance(atom, Quotient | Remainder | Lookup) and number in AffineExpr({atom: 1}).used_dims():
            return None
    return position.coefficient(number)


def first_step(index: Sequence[AffineExpr], shape: Sequence[int], number: int) -> int | None:
    """How far the first step of dimension `number` moves in memory, in elements; None where that is known at run time only."""
    position = linearize(index, shape)
    if has_lookup([position]):
        return None
    start = [0] * (max((number, *position.used_dims())) + 1)
    following = [*start[:number], 1, *start[number + 1 :]]
    return position.evaluate(following) - position.evaluate(start)


def divisions(expr: AffineExpr) -> int:
    """How many quotients and remainders an expression holds."""
    count = 0
    stack = [expr]
    while stack:
        for atom, _ in stack.pop().terms:
            if isinstance(atom, Quotient | Remainder):
                count += 1
                stack.append(atom.expr)
    return count


def _converted(scalar: Value, dtype: Type) -> Value:
    """A scalar seen as signless or as the signed or unsigned type that a buffer holds."""
    if scalar.type is dtype:
        return scalar
    return UnrealizedConversionCast.build(scalar, dtype)
