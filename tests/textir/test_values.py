"""Attributes and types: what each text means, and that it is printed as MLIR does."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.ir.attributes import (
    UNIT,
    ArrayAttr,
    BoolAttr,
    DenseArrayAttr,
    DenseElementsAttr,
    DenseResourceAttr,
    DictAttr,
    FloatAttr,
    IntegerAttr,
    OpaqueAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
)
from dlir.ir.types import (
    BF16,
    F16,
    F32,
    F64,
    I1,
    I8,
    I32,
    INDEX,
    NONE,
    UI8,
    ComplexType,
    FloatType,
    FunctionType,
    IntegerType,
    MemRefType,
    OpaqueType,
    TensorType,
    TupleType,
    UnrankedType,
    VectorType,
)
from dlir.textir import parse, to_text


def attribute(text: str):
    (op,) = parse(f'"d.c"() {{a = {text}}} : () -> ()').body.ops
    return op.attributes["a"]


def printed(text: str) -> str:
    (op,) = parse(f'"d.c"() {{a = {text}}} : () -> ()').body.ops
    return to_text(op).removeprefix('"d.c"() {a = ').removesuffix("} : () -> ()")


ATTRIBUTES = {
    "7": IntegerAttr(7),
    "-7 : i8": IntegerAttr(-7, I8),
    "255 : i8": IntegerAttr(-1, I8),
    "255 : ui8": IntegerAttr(255, UI8),
    "0xFF": IntegerAttr(255),
    "3 : index": IntegerAttr(3, INDEX),
    "1 : i1": BoolAttr(True),
    "true": BoolAttr(True),
    "1.5": FloatAttr(1.5),
    "1. : f32": FloatAttr(1.0, F32),
    "1 : f32": FloatAttr(1.0, F32),
    "-2.5e-3 : bf16": FloatAttr(-2.5e-3, BF16),
    "0x7F800000 : f32": FloatAttr(float("inf"), F32),
    "0xFC00 : f16": FloatAttr(float("-inf"), F16),
    "0x7E : f8E5M2": FloatAttr(float("nan"), FloatType("f8E5M2")),
    "unit": UNIT,
    '"a\\22\\n\\t\\\\\\0A é"': StringAttr('a"\n\t\\\n é'),
    "@f": SymbolRefAttr("f"),
    '@a::@"b c"': SymbolRefAttr("a", "b c"),
    "[]": ArrayAttr([]),
    "[1, @f, [true]]": ArrayAttr([IntegerAttr(1), SymbolRefAttr("f"), ArrayAttr([BoolAttr(True)])]),
    '{b = 1, "a b", c.d = {}}': DictAttr({"b": IntegerAttr(1), "a b": UNIT, "c.d": DictAttr({})}),
    "array<i64>": DenseArrayAttr([]),
    "array<i32: 1, -2>": DenseArrayAttr([1, -2], I32),
    "array<i1: true, false>": DenseArrayAttr([True, False], I1),
    "array<f32: 1.0, 0x7F800000>": DenseArrayAttr([1.0, float("inf")], F32),
    "tensor<2xf32>": TypeAttr(TensorType((2,), F32)),
    "() -> i32": TypeAttr(FunctionType([], [I32])),
    "dense_resource<w> : tensor<2xf32>": DenseResourceAttr("w", TensorType((2,), F32)),
    'dense_resource<"a b"> : tensor<i8>': DenseResourceAttr("a b", TensorType((), I8)),
    "#d.x<[a -> b]>": OpaqueAttr("#d.x<[a -> b]>"),
    "affine_map<(d0) -> (d0)>": OpaqueAttr("affine_map<(d0) -> (d0)>"),
}


@pytest.mark.parametrize("text", ATTRIBUTES)
def test_attributes(text):
    assert attribute(text) == ATTRIBUTES[text]
    assert text == "unit" or attribute(printed(text)) == ATTRIBUTES[text]


TYPES = {
    "i32": I32,
    "ui8": UI8,
    "si4": IntegerType(4, "signed"),
    "bf16": BF16,
    "f8E4M3FN": FloatType("f8E4M3FN"),
    "f80": FloatType("f80"),
    "index": INDEX,
    "none": NONE,
    "complex<f32>": ComplexType(F32),
    "tuple<>": TupleType([]),
    "tuple<i32, tuple<f32>>": TupleType([I32, TupleType([F32])]),
    "tensor<f32>": TensorType((), F32),
    "tensor<0x4x?xf32>": TensorType((0, 4, None), F32),
    "tensor<4x!d.t<8>>": TensorType((4,), OpaqueType("d.t<8>")),
    'tensor<4xf32, "row">': TensorType((4,), F32, StringAttr("row")),
    "tensor<4xf32, #d.e<[1]>>": TensorType((4,), F32, OpaqueAttr("#d.e<[1]>")),
    "tensor<2xcomplex<f64>>": TensorType((2,), ComplexType(F64)),
    "tensor<*xf32>": UnrankedType("tensor", F32),
    "memref<*xi8>": UnrankedType("memref", I8),
    "memref<4x4xf32>": MemRefType((4, 4), F32),
    "memref<4xf32, 3>": MemRefType((4,), F32, None, IntegerAttr(3)),
    "memref<4xf32, strided<[?]>, 3>": MemRefType((4,), F32, OpaqueAttr("strided<[?]>"), IntegerAttr(3)),
    "memref<4xf32, affine_map<(d0) -> (d0)>>": MemRefType((4,), F32, OpaqueAttr("affine_map<(d0) -> (d0)>")),
    "memref<4xf32, #gpu.address_space<workgroup>>": MemRefType(
        (4,), F32, None, OpaqueAttr("#gpu.address_space<workgroup>")
    ),
    "vector<4x8xf32>": VectorType((4, 8), F32),
    "vector<[4]x8xf32>": VectorType((4, 8), F32, (True, False)),
    "vector<f32>": VectorType((), F32),
    "!d.t": OpaqueType("d.t"),
    '!d.t<a, "b>", [1]>': OpaqueType('d.t<a, "b>", [1]>'),
    "(i32, f32) -> ()": FunctionType([I32, F32], []),
    "() -> (() -> i32)": FunctionType([], [FunctionType([], [I32])]),
}


@pytest.mark.parametrize("text", TYPES)
def test_types(text):
    assert attribute(text).value is TYPES[text]
    assert printed(text) == text


DENSE = {
    "dense<1> : tensor<2xi8>": np.array([1, 1], "i1"),
    "dense<[1, -2]> : tensor<2xi32>": np.array([1, -2], "i4"),
    "dense<[[1, 2], [3, 4]]> : tensor<2x2xindex>": np.array([[1, 2], [3, 4]], "i8"),
    "dense<[255, 0xFF, -1]> : tensor<3xi8>": np.array([-1, -1, -1], "i1"),
    "dense<[255, 0]> : tensor<2xui8>": np.array([255, 0], "u1"),
    "dense<[true, false]> : tensor<2xi1>": np.array([True, False]),
    "dense<[1.5, 2, -3.]> : tensor<3xf16>": np.array([1.5, 2, -3], "f2"),
    "dense<0xFF800000> : tensor<f32>": np.array(-np.inf, "f4"),
    "dense<[1.0, 0x7F800000]> : tensor<2xf32>": np.array([1, np.inf], "f4"),
    'dense<"0x0000803F00000040"> : tensor<2xf32>': np.array([1, 2], "f4"),
    'dense<"0x0000803F"> : tensor<2xf32>': np.array([1, 1], "f4"),
    'dense<"0x0100"> : tensor<2xi1>': np.array([True, False]),
    "dense<(1.0, -2.0)> : tensor<2xcomplex<f32>>": np.array([1 - 2j, 1 - 2j], "c8"),
    "dense<[(1.0, 2.0), (3.0, 4.0)]> : tensor<2xcomplex<f64>>": np.array([1 + 2j, 3 + 4j]),
    "dense<> : tensor<0x4xf32>": np.zeros((0, 4), "f4"),
    "dense<[]> : tensor<0xf32>": np.zeros(0, "f4"),
    "dense<[[], []]> : tensor<2x0xf32>": np.zeros((2, 0), "f4"),
    "dense<[ 1, // one\n 2]> : tensor<2xi64>": np.array([1, 2]),
    "dense<3> : vector<4xi32>": np.full(4, 3, "i4"),
}


@pytest.mark.parametrize("text", DENSE)
def test_dense_elements(text):
    for found in (attribute(text), attribute(printed(text))):
        assert isinstance(found, DenseElementsAttr)
        np.testing.assert_array_equal(found.value, DENSE[text], strict=True)


def test_large_arrays_are_printed_as_bytes():
    values = np.random.default_rng(0).standard_normal((5, 20)).astype("f4")
    op = next(parse('"d.c"() : () -> ()').body.ops)
    op.attributes["a"] = DenseElementsAttr(values)
    assert 'dense<"0x' in to_text(op)
    (again,) = parse(to_text(op)).body.ops
    np.testing.assert_array_equal(again.get("a"), values)


def test_every_bit_of_a_nan_survives():
    values = np.array([0x7F800001, 0xFFC12345, 0x3F800000], "u4").view("f4")
    op = next(parse('"d.c"() : () -> ()').body.ops)
    op.attributes["a"] = DenseElementsAttr(values)
    (again,) = parse(to_text(op)).body.ops
    np.testing.assert_array_equal(again.get("a").view("u4"), values.view("u4"))


@pytest.mark.parametrize(
    "text", ["dense<[1, 2]> : tensor<2xi4>", 'dense<["a", "b"]> : tensor<2x!d.s>', "dense<1.0> : tensor<2xtf32>"]
)
def test_elements_without_a_numpy_dtype_are_kept_as_text(text):
    assert attribute(text) == OpaqueAttr(text)
    assert printed(text) == text
