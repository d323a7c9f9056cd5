"""``sparse<...>``: what is kept, and that MLIR means the same."""

from __future__ import annotations

import pytest

from dlir.ir.errors import DlirError
from dlir.textir import parse, to_text

CASES = {
    "sparse<[[0, 0], [1, 2]], [1, 5]> : tensor<3x4xi32>": None,
    "sparse<[[0,0],[1,2]], 7> : tensor<3x4xi32>": "sparse<[[0, 0], [1, 2]], 7> : tensor<3x4xi32>",
    "sparse<[[0, 0], [1, 2]], [4, 4]> : tensor<3x4xi32>": "sparse<[[0, 0], [1, 2]], 4> : tensor<3x4xi32>",
    "sparse<[0, 3], [1.5, 2.5]> : tensor<4xf32>": "sparse<[[0], [3]], [1.500000e+00, 2.500000e+00]> : tensor<4xf32>",
    "sparse<0, 1.0> : tensor<4xf32>": "sparse<[[0]], 1.000000e+00> : tensor<4xf32>",
    "sparse<0, [2]> : vector<2x3xi8>": "sparse<[[0, 0]], 2> : vector<2x3xi8>",
    "sparse< > : tensor<3x4xf32>": "sparse<> : tensor<3x4xf32>",
    "sparse<[[0, 1]], [true]> : tensor<2x3xi1>": "sparse<[[0, 1]], true> : tensor<2x3xi1>",
    'sparse<[[1]], "0x0000C03F"> : tensor<2xf32>': "sparse<[[1]], 1.500000e+00> : tensor<2xf32>",
    "sparse<[[0], [1]], [(1.0, 2.0), (0.0, -1.0)]> : tensor<2xcomplex<f32>>": (
        "sparse<[[0], [1]], [(1.000000e+00, 2.000000e+00), (0.000000e+00, -1.000000e+00)]> : tensor<2xcomplex<f32>>"
    ),
    "sparse<[[0, // a row\n 1]], 2> : tensor<2x2xi8>": "sparse<[[0, 1]], 2> : tensor<2x2xi8>",
    'sparse<[[1]], "a, b"> : tensor<2x!d.text>': None,
}


def module(attribute: str) -> str:
    return f'"d.x"() {{a = {attribute}}} : () -> ()\n'


@pytest.mark.parametrize("text", CASES)
def test_it_is_printed_in_one_way(text):
    printed = to_text(parse(module(text)))
    assert f"{{a = {CASES[text] or text}}}" in printed
    assert to_text(parse(printed)) == printed


def test_mlir_prints_what_reads_back_the_same(mlir_opt):
    ours = [to_text(parse(module(text)), generic=True) for text in CASES]
    for mine, theirs in zip(ours, mlir_opt.each(ours), strict=True):
        assert to_text(parse(theirs), generic=True) == mine


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("sparse<[[0, 0], [3, 9]], [1, 2]> : tensor<3x4xi32>", "index [3, 9] lies outside of tensor<3x4xi32>", 31),
        ("sparse<[[-1, 0]], [1]> : tensor<3x4xi32>", "index [-1, 0] lies outside of tensor<3x4xi32>", 23),
        ("sparse<[[0, 0], [1, 1]], [1, 2, 3]> : tensor<3x4xi32>", "there are 2 indices, and 3 are given", 38),
        ("sparse<[[0, 0, 0]], [1]> : tensor<3x4xi32>", "an index of tensor<3x4xi32> is a list of 2 integers", 22),
        ("sparse<[0, 1], [1, 2]> : tensor<3x4xi32>", "an index of tensor<3x4xi32> is a list of 2 integers", 22),
        ("sparse<[[0.5, 0]], [1]> : tensor<3x4xi32>", "an element of type i64 is an integer, not '0.5'", 23),
        ("sparse<[[0, 0]], [1.5]> : tensor<3x4xi32>", "an element of type i32 is an integer, not '1.5'", 32),
        ("sparse<1, 2> : tensor<?xf32>", "sparse needs a tensor or vector type of static shape", 21),
    ],
)
def test_what_is_wrong_has_its_place(text, message, column):
    with pytest.raises(DlirError) as caught:
        parse(module(text))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message.startswith(message) and diagnostic.location.column == column
