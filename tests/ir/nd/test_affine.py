"""Index arithmetic: simplification keeps the value, and finds what it should."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlir.ir.affine import (
    AffineExpr,
    AffineMap,
    constant,
    delinearize,
    dim,
    dims,
    has_lookup,
    linearize,
    lookup,
    symbol,
)
from dlir.ir.core import Block
from dlir.ir.types import INDEX

EXTENTS = (4, 6, 5)
POINTS = list(itertools.product(*map(range, EXTENTS)))


@st.composite
def expressions(draw) -> tuple[AffineExpr, str]:
    """An expression over the dimensions, and the Python expression that it was made from."""
    text = draw(st.sampled_from(["a", "b", "c", "7", "-3"]))
    for _ in range(draw(st.integers(1, 6))):
        step = draw(st.sampled_from(["+", "-", "*", "//", "%"]))
        if step in "+-":
            text = f"({text} {step} {draw(st.sampled_from(['a', 'b * 4', 'c * 12', '5', 'a * 24']))})"
        elif step == "*":
            text = f"({text} * {draw(st.sampled_from([-1, 2, 3, 4, 6]))})"
        else:
            text = f"({text} {step} {draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12]))})"
    a, b, c = dims(EXTENTS)
    return build(text, a, b, c), text


def build(text: str, a, b, c):
    """What the arithmetic in `text` gives for these operands."""
    import ast

    names = {"a": a, "b": b, "c": c}

    def value(node):
        match node:
            case ast.Constant(number):
                return constant(number) if isinstance(a, AffineExpr) else number
            case ast.Name(name):
                return names[name]
            case ast.UnaryOp(ast.USub(), operand):
                return -value(operand)
            case ast.BinOp(left, ast.Add(), right):
                return value(left) + value(right)
            case ast.BinOp(left, ast.Sub(), right):
                return value(left) - value(right)
            case ast.BinOp(left, ast.Mult(), ast.UnaryOp(_, ast.Constant(number))):
                return value(left) * -number
            case ast.BinOp(left, ast.Mult(), ast.Constant(number)):
                return value(left) * number
            case ast.BinOp(left, ast.FloorDiv(), ast.Constant(number)):
                return value(left) // number
            case ast.BinOp(left, ast.Mod(), ast.Constant(number)):
                return value(left) % number

    return value(ast.parse(text, mode="eval").body)


@given(expressions())
def test_simplification_keeps_the_value(case) -> None:
    expr, text = case
    for point in POINTS[::7]:
        assert expr.evaluate(point) == build(text, *point), text


@given(expressions())
def test_bounds_hold(case) -> None:
    expr, _ = case
    low, high = expr.bounds
    assert low is not None and high is not None
    assert all(low <= expr.evaluate(point) <= high for point in POINTS[::7])


@given(expressions(), expressions())
def test_substitution_is_composition(first, second) -> None:
    inner = (first[0], second[0], dim(1))
    composed = AffineMap(3, (first[0],)).compose(AffineMap(3, inner))
    for point in POINTS[::11]:
        expected = first[0].evaluate([expr.evaluate(point) for expr in inner])
        # Dimensions hold the extents of their own space: substituting what lies outside of them is not meant.
        if all(0 <= expr.evaluate(p) < extent for p in POINTS for expr, extent in zip(inner, EXTENTS, strict=True)):
            assert composed.exprs[0].evaluate(point) == expected


SHAPES = [
    *(((6, 4), (3, 8)), ((3, 4), (6, 2)), ((2, 3, 4), (4, 6)), ((24,), (2, 3, 4)), ((1, 6), (6,)), ((5, 1, 4), (20,))),
    *(((4, 6), (4, 2, 3)), ((8, 3), (2, 12)), ((12, 10), (8, 15)), ((), (1, 1)), ((2, 0), (0, 5))),
]


@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_reshape_reads_the_element_with_the_same_position(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    source = delinearize(linearize(dims(new), new), old)
    positions = np.arange(math.prod(old)).reshape(old)
    for point in np.ndindex(new):
        assert positions[tuple(expr.evaluate(point) for expr in source)] == np.ravel_multi_index(point, new)


@pytest.mark.parametrize(("old", "new"), SHAPES[:9])
def test_reshape_and_back_is_the_identity(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    there = AffineMap(len(new), delinearize(linearize(dims(new), new), old))
    back = AffineMap(len(old), delinearize(linearize(dims(old), old), new))
    points = there.compose(back).apply(dims(old))
    assert [e for e, extent in zip(points, old) if extent > 1] == [d for d, n in zip(dims(old), old) if n > 1]


def test_divisions_by_what_is_known_vanish() -> None:
    a, b = dims((6, 4))
    assert str((a * 4 + b) // 4) == "d0"
    assert str((a * 4 + b) % 4) == "d1"
    assert str((a * 4 + b) // 8) == "d0 // 2"
    assert str((a * 4 + b) % 8) == "d0 % 2 * 4 + d1"
    assert ((a * 12 + b) // 4) // 3 == a
    assert (a // 2) // 3 == a // 6 == constant(0)
    assert dim(0) // 2 // 3 == dim(0) // 6
    assert dim(0) % 12 % 4 == dim(0) % 4
    assert (dim(0) % 12) // 4 == dim(0) // 4 % 3


def test_quotient_and_remainder_join_again() -> None:
    a = dim(0)
    assert a // 5 * 5 + a % 5 == a
    assert a % 5 + a // 5 * 5 + 3 == a + 3


def test_equality_is_by_structure_and_ignores_order_and_extents() -> None:
    assert dim(0) + dim(1) * 2 == dim(1, 7) * 2 + dim(0)
    assert hash(dim(0) + dim(1) * 2) == hash(dim(1) * 2 + dim(0))
    assert dim(0) != dim(1)
    assert dim(0) - dim(0) == constant(0)
    block = Block([INDEX, INDEX])
    assert symbol(block.args[0]) == symbol(block.args[0], 4) != symbol(block.args[1])


def test_symbols_take_part() -> None:
    value = Block([INDEX]).args[0]
    expr = (symbol(value, 3) * 4 + dim(0, 4)) // 4
    assert expr == symbol(value)
    assert expr.evaluate([2], {value: 1}.__getitem__) == 1
    # Without an extent it may be negative: nothing is assumed.
    assert (symbol(value) % 4 + 1).bounds == (1, 4)
    assert symbol(value).bounds == (None, None)


def test_lookups_are_known_by_where_they_read() -> None:
    table, other = Block([INDEX, INDEX]).args
    found = lookup(0, [dim(0, 4) * 2 + dim(1, 2)], 8)
    assert found.bounds == (0, 7) and (found + 8) // 8 == constant(1) and (found * 3 + dim(1, 3)) // 3 == found
    assert found.used_dims() == (0, 1) and found.coefficient(0) == 0
    assert has_lookup([constant(1), found % 3]) and not has_lookup([dim(0) % 3])
    # Numbers read from one array at one place are equal, and no others.
    mine, others = found.bind([table]), found.bind([other])
    assert mine - found.bind([table]) == constant(0) and mine != others != found
    moved = mine.substitute([dim(2), constant(1)])
    assert moved == lookup(table, [dim(2) * 2 + 1], 8) and moved.used_dims() == (2,)
    assert (found // 3).bind([table]) == mine // 3
    # One of a single element is at its only place.
    assert lookup(0, [dim(0)], 1) == constant(0)
    with pytest.raises(TypeError, match="only known at run time"):
        found.evaluate([0, 0])


def test_maps_know_what_they_are() -> None:
    a, b, c = dim(0), dim(1), dim(2)
    assert AffineMap.identity(2).is_identity and AffineMap.identity(2).is_projection
    assert AffineMap(2, (b, a)).is_projection and not AffineMap(2, (b, a)).is_identity
    assert AffineMap(3, (c, constant(0))).is_projection and not AffineMap(3, (a, b)).is_identity
    assert not AffineMap(2, (a, a)).is_projection and not AffineMap(2, (a + 1, b)).is_projection
    assert AffineMap(3, (c // 2, a + 1)).used_dims() == (0, 2)
    assert str(AffineMap(2, (a * 2 - 1, b % 3))) == "(d0, d1) -> (d0 * 2 - 1, d1 % 3)"


def test_what_is_not_affine_is_refused() -> None:
    with pytest.raises(TypeError, match="not affine"):
        dim(0) * dim(1)
    with pytest.raises(TypeError, match="positive integer"):
        dim(0) // 0
    with pytest.raises(TypeError, match="positive integer"):
        dim(0) % -2
