"""What the reference interpreter refuses, and how it says so."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.backends.ref import Reference
from dlir.ir.errors import DlirError
from dlir.ir.verifier import verified
from dlir.textir.parser import parse


def run(text, *inputs, **options):
    return Reference(verified(parse(text, "net.dlir")), **options).run("main", inputs)


def function(body, head="(%x: tensor<4xf32>) -> tensor<4xf32>", rest=""):
    return f"module {{\nfunc.func @main{head} {{\n{body}\n}}\n{rest}\n}}"


X = np.ones(4, np.float32)


def test_an_unregistered_op_is_named_with_its_place():
    text = function('%y = "other.op"(%x) : (tensor<4xf32>) -> tensor<4xf32>\nreturn %y')
    with pytest.raises(DlirError, match=r"net.dlir:3:\d+: error: 'other.op' is not registered"):
        run(text, X)


def test_gpu_launches_point_to_the_simulator():
    text = """module attributes {gpu.container_module} {
      gpu.module @k ({
        gpu.func @f {function_type = () -> (), gpu.kernel} ({
          gpu.return
        })
      })
      func.func @main() {
        %c = arith.constant {value = 1 : index}
        "gpu.launch_func"(%c, %c, %c, %c, %c, %c) <{kernel = @k::@f,
          operandSegmentSizes = array<i32: 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0>}>
          : (index, index, index, index, index, index) -> ()
        return
      }
    }"""
    with pytest.raises(DlirError, match="does not run GPU kernels") as caught:
        run(text)
    assert "cuda-sim" in caught.value.diagnostics[0].hint


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "takes 1 inputs, got 0"),
        ((X, X), "takes 1 inputs, got 2"),
        ((np.ones(3, np.float32),), "'x' must be tensor<4xf32>, got float32 of shape"),
        ((np.ones(4),), "'x' must be tensor<4xf32>, got float64"),
    ],
)
def test_inputs_must_fit(inputs, message):
    with pytest.raises(DlirError, match=message):
        run(function("return %x"), *inputs)


def test_an_unknown_entry_is_suggested():
    with pytest.raises(DlirError) as caught:
        Reference(parse(function("return %x"))).run("mian", [X])
    assert "main" in caught.value.diagnostics[0].hint


def test_huge_tensors_are_refused_before_they_are_made():
    text = function(
        "%y = nd.broadcast_to %x {shape = array<i64: 1048576, 262144, 4>}\nreturn %y",
        "(%x: tensor<4xf32>) -> tensor<1048576x262144x4xf32>",
    )
    with pytest.raises(DlirError, match=r"tensor<.*> needs 4.0 TiB; the limit is 8.0 GiB \(--max-bytes\)"):
        run(text, X)


def test_sizes_known_only_at_run_time_are_checked_too():
    text = function(
        "%a = nd.reshape %x {shape = array<i64: -1, 1>}\n%b = nd.reshape %x {shape = array<i64: 1, -1>}\n"
        "%y = nd.matmul %a, %b\nreturn %y",
        "(%x: tensor<?xf32>) -> tensor<?x?xf32>",
    )
    x = np.ones(600, np.float32)
    np.testing.assert_array_equal(run(text, x)[0], np.ones((600, 600)))
    with pytest.raises(DlirError, match=r"tensor<600x600xf32> needs 1.4 MiB; the limit is 1.0 MiB"):
        run(text, x, max_bytes=1 << 20)


def test_buffers_are_limited():
    text = function(
        '%t = "memref.alloc"(%n) <{operandSegmentSizes = array<i32: 1, 0>}> : (index) -> memref<?xf32>\nreturn',
        "(%n: index)",
    )
    assert run(text, np.int64(8)) == []
    with pytest.raises(DlirError, match=r"memref<.*> needs 4.0 TiB; the limit is 8.0 GiB"):
        run(text, np.int64(1 << 40))
    with pytest.raises(DlirError, match="negative size"):
        run(text, np.int64(-1))


def test_dynamic_dimensions_must_agree():
    text = function("%y = nd.add %x, %z\nreturn %y", "(%x: tensor<?xf32>, %z: tensor<?xf32>) -> tensor<?xf32>")
    assert run(text, X, X)[0].tolist() == [2] * 4
    with pytest.raises(DlirError, match=r"net.dlir:3:\d+: error: 'nd.add'"):
        run(text, X, np.ones(1, np.float32))


@pytest.mark.parametrize("index", [-1, 4])
def test_indices_are_checked(index):
    text = function("%y = memref.load %x, %i\nreturn %y", "(%x: memref<4xf32>, %i: index) -> f32")
    assert run(text, X, np.int64(3)) == [1]
    with pytest.raises(DlirError, match=rf"'memref.load' at \[{index}\] is outside"):
        run(text, X, np.int64(index))


def test_vector_access_and_views_must_stay_inside():
    text = function("%v = vector.load %x, %i : vector<2xf32>\nreturn", "(%x: memref<4xf32>, %i: index)")
    assert run(text, X, np.int64(2)) == []
    with pytest.raises(DlirError, match="leaves a buffer"):
        run(text, X, np.int64(3))
    text = function("%v = memref.view %x, %i : memref<2xf32>\nreturn", "(%x: memref<16xi8>, %i: index)")
    assert run(text, np.zeros(16, np.int8), np.int64(8)) == []
    with pytest.raises(DlirError, match="8 bytes at offset 9 are not inside a buffer of 16 bytes"):
        run(text, np.zeros(16, np.int8), np.int64(9))


def test_inputs_and_constants_cannot_be_written():
    store = "%c = arith.constant {value = 0 : index}\n%f = arith.constant {value = 0.0 : f32}\nmemref.store %f, {}, %c"
    text = function(store.replace("{}", "%x") + "\nreturn", "(%x: memref<4xf32> {dlir.input = 0})")
    with pytest.raises(DlirError, match=r"'memref.store' writes to an input or a constant"):
        run(text, X)
    text = function(
        "%g = memref.get_global @w : memref<1xf32>\n" + store.replace("{}", "%g") + "\nreturn",
        "()",
        "memref.global @w {type = memref<1xf32>, initial_value = dense<1.0> : tensor<1xf32>, constant}",
    )
    with pytest.raises(DlirError, match="writes to an input or a constant"):
        run(text)


def test_recursion_is_an_error_and_does_not_stick():
    text = function("%y = func.call @main %x : tensor<4xf32>\nreturn %y")
    reference = Reference(parse(text))
    for _ in range(2):
        with pytest.raises(DlirError, match="'@main' calls itself"):
            reference.run("main", [X])


def test_weights_must_be_given_and_fit():
    text = function(
        "%w = state.read @w : tensor<4xf32>\nreturn %w",
        rest="state.variable @w {init = dense_resource<blob> : tensor<4xf32>, type = tensor<4xf32>}",
    )
    with pytest.raises(DlirError, match="the weights 'blob' are needed"):
        run(text, X)
    with pytest.raises(DlirError, match=r"the weights 'blob' are float64 of shape \(4,\), not tensor<4xf32>"):
        run(text, X, weights=lambda name: np.ones(4))
    assert run(text, X, weights=lambda name: X)[0].tolist() == [1] * 4


def test_a_loop_must_count_up():
    text = function("scf.for %a, %a, %a ({\n^bb0(%i: index):\nscf.yield\n})\nreturn", "(%a: index)")
    with pytest.raises(DlirError, match=r"step of 'scf.for' must be positive, got 0"):
        run(text, np.int64(0))


@pytest.mark.parametrize(
    ("head", "foot"),
    [
        ("scf.if %p ({", "scf.yield }, {})"),
        ("scf.for %zero, %one, %one ({ ^bb0(%i: index):", "scf.yield })"),
        (
            "scf.parallel %zero, %one, %one {operandSegmentSizes = array<i32: 1, 1, 1, 0>} ({ ^bb0(%i: index):",
            "scf.reduce })",
        ),
    ],
)
def test_deep_nesting_does_not_touch_pythons_stack(head, foot):
    depth = 2000
    body = [
        "%zero = arith.constant {value = 0 : index}",
        "%one = arith.constant {value = 1 : index}",
        *[head.replace("%i", f"%i{level}") for level in range(depth)],
        "%c = arith.constant {value = 1.0 : f32}",
        "memref.store %c, %y, %zero",
        *[foot] * depth,
        "return",
    ]
    text = function("\n".join(body), "(%p: i1 {dlir.input = 0}, %y: memref<1xf32> {dlir.result = 0})")
    assert run(text, np.bool_(True)) == [1.0]


def test_integers_of_odd_widths_cannot_be_run():
    with pytest.raises(DlirError, match=r"net.dlir:3:\d+: error: 'arith.constant' failed: i4 has no NumPy dtype"):
        run(function("%c = arith.constant {value = 3 : i4}\nreturn %x"), X)
    with pytest.raises(DlirError, match="argument 'x' of type i4 cannot be given"):
        run(function("return", "(%x: i4)"), 1)
