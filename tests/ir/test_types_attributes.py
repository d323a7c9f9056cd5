"""Types and attributes: interned, spelled as MLIR does, different when their bits are."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from dlir.ir import attributes as at
from dlir.ir import spelling
from dlir.ir import types as ty


def test_equal_types_are_one_object():
    assert ty.TensorType((2, None), ty.F32) is ty.TensorType([2, None], ty.F32)
    assert ty.IntegerType(8, "unsigned") is ty.UI8
    assert copy.deepcopy(ty.F32) is ty.F32


@pytest.mark.parametrize(
    "type,text",
    [
        (ty.TensorType((2, None), ty.F32), "tensor<2x?xf32>"),
        (ty.TensorType((), ty.I1), "tensor<i1>"),
        (ty.MemRefType((4,), ty.F32, None, at.IntegerAttr(3)), "memref<4xf32, 3>"),
        (ty.VectorType((4, 8), ty.F32, (True, False)), "vector<[4]x8xf32>"),
        (ty.FunctionType([ty.I32], [ty.F32]), "(i32) -> f32"),
        (ty.FunctionType([], [ty.FunctionType([], [])]), "() -> (() -> ())"),
        (ty.TupleType([ty.I32, ty.INDEX]), "tuple<i32, index>"),
    ],
)
def test_spelling_of_types(type, text):
    assert str(type) == text


def test_sizes_do_not_overflow():
    assert ty.TensorType((1 << 40, 1 << 40), ty.F32).nbytes == 1 << 82
    assert ty.TensorType((3,), ty.I1).nbytes == 3


def test_types_are_immutable():
    with pytest.raises(AttributeError):
        ty.F32.name = "f64"


@pytest.mark.parametrize("pair", [(0.0, -0.0), (1, True), (1, 1.0), (True, 1.0)])
def test_values_with_different_bits_or_types_are_different_attributes(pair):
    one, two = map(at.attribute, pair)
    assert one != two and one is not two
    assert at.attribute(pair[0]) is one


def test_nan_equals_itself_as_an_attribute():
    assert at.FloatAttr(math.nan) == at.FloatAttr(math.nan)


@pytest.mark.parametrize(
    "value,type,text",
    [
        (1e-5, ty.F32, "1.000000e-05 : f32"),
        (0.1, ty.F64, "1.000000e-01"),
        (1 / 3, ty.F64, "3.3333333333333331e-01"),
        (math.inf, ty.F32, "0x7F800000 : f32"),
        (-math.inf, ty.F64, "0xFFF0000000000000 : f64"),
        (1.0, ty.BF16, "1.000000e+00 : bf16"),
    ],
)
def test_spelling_of_floats(value, type, text):
    assert str(at.FloatAttr(value, type)) == text


def test_float_text_reads_back_bit_for_bit():
    rng = np.random.default_rng(0)
    for bits in rng.integers(0, 1 << 32, 500, dtype=np.uint64):
        value = float(np.uint32(bits).view(np.float32))
        text = spelling.spell_float(value, ty.F32)
        if text.startswith("0x"):
            back = spelling.float_from_bits(int(text, 16), ty.F32)
        else:
            back = float(np.float32(text))
        assert np.float32(back).tobytes() == np.float32(value).tobytes() or math.isnan(value)


def test_dense_elements():
    attr = at.DenseElementsAttr(np.arange(4, dtype=np.float32).reshape(2, 2))
    assert str(attr).startswith("dense<[[0.000000e+00, 1.000000e+00], [2.000000e+00")
    assert attr == at.DenseElementsAttr(np.arange(4, dtype=np.float32).reshape(2, 2))
    splat = at.DenseElementsAttr(np.float32(2).reshape(()), ty.TensorType((1000, 1000), ty.F32))
    assert splat.is_splat and splat.value.shape == (1000, 1000) and splat.array.nbytes == 4
    with pytest.raises(ValueError):
        splat.value[0, 0] = 1


def test_large_constants_are_spelled_in_hex():
    text = str(at.DenseElementsAttr(np.zeros(100, np.float32) + np.float32(1)))
    assert text.startswith('dense<"0x0000803F0000803F')


def test_strings_are_escaped_as_mlir_does():
    assert str(at.StringAttr('a"b\\\n\x07é')) == '"a\\"b\\\\\\n\\07é"'
