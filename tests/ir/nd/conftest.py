"""Running nd ops in the tests: by ``eval``, and point by point through ``space`` / ``element`` / ``finish``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dlir.ir.affine import AffineExpr, Dim, Quotient, Remainder, Symbol, dims
from dlir.ir.attributes import Attribute
from dlir.ir.builder import at_end
from dlir.ir.core import Block, UnregisteredOp, Value
from dlir.ir.dialects.nd.conversion import signless
from dlir.ir.dialects.nd.scalars import accumulator
from dlir.ir.op import Op, spread_groups
from dlir.ir.ops import arith
from dlir.ir.types import INDEX, TensorType, Type, dtype_from_numpy

MONOIDS: dict[str, tuple[Any, Callable[[np.dtype], Any]]] = {
    "add": (np.add, lambda dtype: 0),
    "mul": (np.multiply, lambda dtype: 1),
    "max": (np.maximum, lambda dtype: -np.inf if dtype.kind not in "iu" else np.iinfo(dtype).min),
    "min": (np.minimum, lambda dtype: np.inf if dtype.kind not in "iu" else np.iinfo(dtype).max),
    "and": (np.logical_and, lambda dtype: True),
    "or": (np.logical_or, lambda dtype: False),
}


def make_op(cls: type[Op], arrays: Sequence[Any], attributes: dict[str, Any]) -> Op:
    """The op on block arguments of the arrays' types; None stands for an absent operand."""
    block = Block()
    operands = [None if a is None else block.add_arg(type_of(a)) for a in arrays]
    with at_end(block):
        cls.build(*operands, **attributes)
    op = block.last
    assert isinstance(op, cls)
    return op


def type_of(array: np.ndarray) -> TensorType:
    return TensorType(array.shape, dtype_from_numpy(array.dtype))


class Context:
    """Builds scalar code like kernel lowering does, and runs it on all points of the space at once."""

    def __init__(self, op: Op, arrays: Sequence[np.ndarray], extents: Sequence[int]) -> None:
        self.op = op
        self.arrays = arrays
        self.block = Block()
        grid = np.indices(tuple(extents), dtype=np.int64) if extents else np.zeros((0,), np.int64)
        self.dims = dims(extents)
        self.grid = list(grid)
        self.values: dict[Value, Any] = {}

    def _index(self, expr: AffineExpr) -> Any:
        total: Any = np.int64(expr.constant)
        for atom, factor in expr.terms:
            if isinstance(atom, Dim):
                part = self.grid[atom.index]
            elif isinstance(atom, Symbol):
                part = self.run()[atom.value]
            elif isinstance(atom, Quotient):
                part = self._index(atom.expr) // atom.divisor
            else:
                assert isinstance(atom, Remainder)
                part = self._index(atom.expr) % atom.divisor
            total = total + part * factor
        return total

    def _given(self, value: Any, dtype: Type) -> Value:
        """A scalar of the type that it has below the level of arrays, where no integer is unsigned."""
        op = UnregisteredOp("test.value", result_types=[signless(dtype)])
        self.block.append(op)
        if dtype is not INDEX and dtype is not op.result.type:
            value = np.asarray(value).view(op.result.type.numpy)
        self.values[op.result] = value
        return op.result

    def load(self, operand: int, index: Sequence[AffineExpr]) -> Value:
        array = self.arrays[operand]
        assert len(index) == array.ndim
        places = [np.asarray(self._index(expr)) for expr in index]
        for place, extent in zip(places, array.shape, strict=True):
            assert np.all((place >= 0) & (place < extent)), f"{self.op.name} reads outside of operand {operand}"
        return self._given(array[tuple(places)], self.op.operands[operand].dtype)

    def table(self, elements: Attribute, index: Sequence[AffineExpr]) -> Value:
        return self._given(elements.value[tuple(map(self._index, index))], elements.type.dtype)  # type: ignore[attr-defined]

    def index(self, expr: AffineExpr) -> Value:
        return self._given(self._index(expr), INDEX)

    def constant(self, number: float | int | bool, dtype: Type) -> Value:
        return arith.constant(number, dtype)

    def run(self) -> dict[Value, Any]:
        for op in self.block.ops:
            if isinstance(op, Op) and op.results[0] not in self.values:
                inputs = [np.asarray(self.values[value]) for value in op.operands]
                assert_defined(op, inputs)
                (self.values[op.results[0]],) = op.evaluate(inputs)
        return self.values


def assert_defined(op: Op, inputs: Sequence[np.ndarray]) -> None:
    """Refuse what machines leave undefined: guards must keep it from happening."""
    if op.name in ("arith.fptosi", "arith.fptoui"):
        dtype = op.results[0].type.numpy
        limits = np.iinfo(dtype if op.name == "arith.fptosi" else f"u{dtype.itemsize}")
        whole = np.trunc(inputs[0].astype("f8"))
        assert np.all((whole >= float(limits.min)) & (whole < float(int(limits.max) + 1))), "does not fit the integer"
    if op.name == "arith.divsi":
        a, b = inputs
        assert np.all(b != 0), "division by zero"
        assert not np.any((a == np.iinfo(a.dtype).min) & (b == -1)), "the quotient overflows"


def run_points(op: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """What ``space``, ``element`` and ``finish`` of a primitive compute, with every load checked to be in bounds."""
    space = op.space()
    result_type = op.results[0].type
    assert space.parallel == result_type.shape
    if 0 in space.parallel:
        return np.zeros(space.parallel, result_type.dtype.numpy)
    accumulated: Any = None
    if 0 in space.reduction:
        function, neutral = MONOIDS[space.monoid]
        dtype = accumulator(result_type.dtype).numpy
        accumulated = np.full(space.parallel, neutral(dtype), dtype)
    else:
        context = Context(op, arrays, space.extents)
        with at_end(context.block), np.errstate(all="ignore"):
            value = op.element(context, context.dims)
            found = np.broadcast_to(context.run()[value], space.extents)
        if space.monoid is None:
            assert value.type is signless(result_type.dtype)
            return found.view(result_type.dtype.numpy)
        found = found.view(accumulator(result_type.dtype).numpy)
        function, neutral = MONOIDS[space.monoid]
        axes = tuple(range(len(space.parallel), len(space.extents)))
        accumulated = function.reduce(found, axis=axes, dtype=found.dtype, initial=neutral(found.dtype))
    context = Context(op, arrays, space.parallel)
    with at_end(context.block), np.errstate(all="ignore"):
        start = context._given(accumulated, dtype_from_numpy(accumulated.dtype))
        value = op.finish(context, start, context.dims)
        assert value.type is signless(result_type.dtype)
        return np.broadcast_to(context.run()[value], space.parallel).view(result_type.dtype.numpy)


def run_eval(op: Op, arrays: Sequence[Any]) -> np.ndarray:
    """What ``eval`` gives."""
    (found,) = op.evaluate([a for a in arrays if a is not None])
    return np.asarray(found)


@pytest.fixture(scope="session")
def tools() -> Any:
    """The functions of this file."""
    import types

    return types.SimpleNamespace(
        make_op=make_op, run_points=run_points, run_eval=run_eval, type_of=type_of, spread=spread_groups
    )
