"""Checks that every op of the nd dialect passes, found through the registry: a new op is tested at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.dialects.nd.base import NdOp, Primitive
from dlir.ir.dialects.nd.scatter import Scatter
from dlir.ir.op import InferError
from dlir.ir.registry import dialect_ops

OPS: dict[str, Any] = dialect_ops("nd")
#: Scatters have no element that could be computed by itself.
PRIMITIVES = {name: cls for name, cls in OPS.items() if issubclass(cls, Primitive) and not issubclass(cls, Scatter)}
DRAWS = 40

#: Relative and absolute tolerance by dtype, for functions that libraries compute differently.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def draws(cls: Any) -> Any:
    """Samples of an op, the same in every run."""
    rng = np.random.default_rng(sum(map(ord, cls.op_name)))
    for _ in range(DRAWS):
        yield cls.sample(rng)


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal shape and dtype, integers and bools exactly, floats within the tolerance of their dtype."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    if expected.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, expected)
        return
    tolerance = TOLERANCE[expected.dtype.name]
    np.testing.assert_allclose(actual.astype("f8"), expected.astype("f8"), tolerance, tolerance)


@pytest.mark.parametrize("name", OPS)
def test_eval_gives_the_inferred_type(name: str, tools: Any) -> None:
    for arrays, attributes in draws(OPS[name]):
        op = tools.make_op(OPS[name], arrays, attributes)
        result = tools.run_eval(op, arrays)
        assert tools.type_of(result) is op.result.type, (arrays, attributes)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_scalar_code_computes_what_eval_does(name: str, tools: Any) -> None:
    for arrays, attributes in draws(PRIMITIVES[name]):
        op = tools.make_op(PRIMITIVES[name], arrays, attributes)
        present = [a for a in arrays if a is not None]
        assert_same(tools.run_points(op, present), tools.run_eval(op, arrays))


@pytest.mark.parametrize("name", OPS)
def test_dynamic_shapes_agree_with_the_static_ones(name: str, tools: Any) -> None:
    """Types with any dimension dynamic give a result type that the real one is a case of, or a clear refusal."""
    cls = OPS[name]
    agreed = 0
    for arrays, attributes in draws(cls):
        types = [None if a is None else tools.type_of(a) for a in arrays]
        expected = tools.make_op(cls, arrays, attributes).result.type
        loose = [t and t.with_shape((None,) * t.rank) for t in types]
        keywords = {n: attributes.get(n, spec.default) for n, spec in cls.schema().attributes.items()}
        try:
            found = cls.infer(*loose, **keywords)
        except InferError as error:
            assert error.message
            continue
        agreed += 1
        assert found.dtype is expected.dtype and found.rank == expected.rank
        assert all(loose in (None, exact) for loose, exact in zip(found.shape, expected.shape, strict=True))
    assert agreed or name == "nd.conv", "never takes dynamic shapes"


@pytest.mark.parametrize("name", OPS)
def test_operands_are_prepared_once(name: str, tools: Any) -> None:
    """What `infer` accepts is not changed by `prepare`: text that was printed reads back the same."""
    for arrays, attributes in draws(OPS[name]):
        op = tools.make_op(OPS[name], arrays, attributes)
        assert op.previous is None, "prepare made ops for operands that fit already"


@pytest.mark.parametrize("name", OPS)
def test_every_op_says_what_it_is(name: str) -> None:
    cls = OPS[name]
    assert issubclass(cls, NdOp)
    assert cls.__doc__ and cls.__doc__.strip()
    assert issubclass(cls, Primitive) != issubclass(cls, Decomposed)


def test_samples_cover_the_edge_cases() -> None:
    """Rank 0, no elements, and extents of 1 occur among the operands of elementwise ops."""
    shapes = {arrays[0].shape for arrays, _ in draws(OPS["nd.add"])}
    assert () in shapes
    assert any(0 in shape for shape in shapes)
    assert any(1 in shape and len(shape) > 1 for shape in shapes)
