"""Signatures: read from a function at any level, and what they say about arguments that do not fit."""

import numpy as np
import pytest

from dlir.backends.executable import input_types, signature_of
from dlir.ir.errors import DlirError
from dlir.textir import parse

ARRAYS = """
func.func @main(%x: tensor<2x3xf32>, %n: tensor<i32> {dlir.donated}) -> (tensor<3xf32>, tensor<i32>) {
  %y = nd.sum %x {axes = [0]} : tensor<3xf32>
  return %y, %n
}
"""
BUFFERS = """
func.func @main(%a: memref<2x3xf32> {dlir.input = 0, dlir.name = "x"},
                %b: memref<i32> {dlir.input = 1, dlir.result = 1, dlir.name = "n"},
                %c: memref<3xf32> {dlir.result = 0}, %d: memref<64xi8> {dlir.arena}) {
  return
}
"""


def function(text):
    return parse(text).symbol("main")


@pytest.fixture(params=[ARRAYS, BUFFERS], ids=["arrays", "buffers"])
def signature(request):
    return signature_of(function(request.param))


def test_signature_is_the_same_before_and_after_bufferize(signature):
    assert str(signature) == "(x: tensor<2x3xf32>, n: tensor<i32>) -> (tensor<3xf32>, tensor<i32>)"
    assert [item.is_donated for item in signature.inputs] == [False, True]


def test_roles_of_buffers():
    roles = signature_of(function(BUFFERS)).roles
    assert [(role.kind, role.number, role.result) for role in roles] == [
        ("input", 0, None),
        ("input", 1, 1),
        ("result", 0, None),
        ("arena", 0, None),
    ]


def test_input_types():
    names, types = input_types(function(ARRAYS))
    assert names == ["x", "n"]
    assert [str(type_) for type_ in types] == ["tensor<2x3xf32>", "tensor<i32>"]


@pytest.mark.parametrize(
    ("positional", "named", "message"),
    [
        ((1, 2, 3), {}, r"'@main' takes 2 arguments \(x, n\), got 3"),
        ((1,), {}, "'@main' needs argument 'n'"),
        ((), {}, "'@main' needs arguments 'x', 'n'"),
        ((1,), {"x": 2}, "'@main' got argument 'x' twice"),
        ((), {"x": 1, "m": 2}, "'@main' has no argument 'm'"),
    ],
)
def test_arguments_that_do_not_come_out(signature, positional, named, message):
    with pytest.raises(DlirError, match=message):
        signature.arrange(positional, named)


def test_arguments_by_position_and_name(signature):
    assert signature.arrange((1,), {"n": 2}) == [1, 2]
    assert signature.arrange((), {"n": 2, "x": 1}) == [1, 2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 3)), r"needs float32 of shape \[2, 3\] for argument 'x', got float64 of shape \[2, 3\]"),
        (np.zeros((3, 2), np.float32), r"got float32 of shape \[3, 2\]"),
        (np.zeros((2, 3), ">f4"), "foreign byte order"),
        (np.float32(1), r"got float32 of shape \[\]"),
        ([[1, 2, 3]], r"got float32 of shape \[1, 3\]"),
        ([[1, 2], [3]], "cannot take a list"),
        ("text", "cannot take a str"),
        (None, "cannot take a NoneType"),
        ([["a", "b", "c"]] * 2, r"got <U1 of shape"),
    ],
)
def test_arrays_that_do_not_fit(signature, value, message):
    with pytest.raises(DlirError, match=message):
        signature.input_array(0, value)


def test_numbers_and_lists_are_converted(signature):
    array = signature.input_array(0, [[1, 2, 3], [4, 5, 6.5]])
    assert array.dtype == np.float32
    assert signature.input_array(1, 7).dtype == np.int32
    with pytest.raises(DlirError, match="got float64"):
        signature.input_array(1, 7.5)


def test_arrays_of_other_libraries_come_by_dlpack(signature):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    array = signature.input_array(0, tensor)
    assert array.ctypes.data == tensor.data_ptr()


def test_out_must_be_writeable_arrays_of_the_results_types(signature):
    good = [np.zeros(3, np.float32), np.array(0, np.int32)]
    assert signature.check_out(good) == good
    locked = np.zeros(3, np.float32)
    locked.flags.writeable = False
    for out, message in (
        (good[:1], "gives 2 results, got 1 arrays"),
        (good[0], "gives 2 results"),
        ([np.zeros(3), good[1]], r"needs float32 of shape \[3\] in out\[0\]"),
        ([[0, 0, 0], good[1]], "got a list"),
        ([locked, good[1]], r"out\[0\]: it is read-only"),
    ):
        with pytest.raises(DlirError, match=message):
            signature.check_out(out)


def test_columns_of_one_matrix_share_no_memory(signature):
    memory = np.zeros((2, 4), np.float32)
    signature.check_donations([memory[:, :3], memory[1:, 3:].view(np.int32).reshape(())])


def test_donated_arguments_may_not_share_memory_or_be_locked(signature):
    memory = np.zeros(6, np.float32)
    x, n = memory.reshape(2, 3), np.array(0, np.int32)
    signature.check_donations([x, n])
    with pytest.raises(DlirError, match="'n' as donated, but 'x' shares its memory(.|\n)*pass a copy of it"):
        signature.check_donations([x, memory[2:3].view(np.int32).reshape(())])
    n.flags.writeable = False
    with pytest.raises(DlirError, match="'n' as donated, but it is read-only"):
        signature.check_donations([x, n])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("%a: memref<2xf32> {dlir.input = 1}", "not numbered"),
        ("%a: memref<2xf32> {dlir.input = 0}, %b: memref<2xf32>", "argument 1 of '@main' has no role"),
        ("%a: memref<2xf32> {dlir.result = 0}, %b: memref<2xf32> {dlir.result = 0}", "not numbered"),
        ("%a: memref<2xf32> {dlir.result = 2}", "not numbered"),
        ("%a: memref<8xi8> {dlir.arena}, %b: memref<8xi8> {dlir.arena}", "two arenas"),
    ],
)
def test_roles_that_make_no_sense(arguments, message):
    with pytest.raises(DlirError, match=message):
        signature_of(function(f"func.func @main({arguments}) {{\n  return\n}}\n"))
