"""bufferize: destination-passing arguments, variables, copies, reshapes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from support.buffers import make_function, region, run_buffers

from dlir.ir.attributes import UNIT, ArrayAttr, DenseElementsAttr, DictAttr, StringAttr
from dlir.ir.builder import at_start
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.location import FileLoc
from dlir.ir.ops import func, nd, state
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import F32, INDEX, TensorType
from dlir.passes.manager import PassManager
from dlir.textir import to_text

ROWS = TensorType((2, 3), F32)
FLAT = TensorType((6,), F32)
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def bufferize(module):
    PassManager.from_text("bufferize").run(module)
    return module.body.last


def attributes(function):
    return [{k: v.value for k, v in function.arg_attributes(arg.index).items()} for arg in function.body.args]


def names(function):
    return [op.name for op in function.body.ops]


def add_variable(module, name="w", value=X):
    with at_start(module.body):
        state.variable(sym_name=name, init=DenseElementsAttr(value), type=ROWS)


def test_inputs_come_first_and_then_a_buffer_for_each_result():
    def body(x, y):
        r = region(lambda a, b: (nd.add(a, b), nd.sum(a, axes=(1,))), x, y)
        r[1].name = "total"
        return r[1], r[0]

    function = bufferize(make_function([ROWS, ROWS], body, ["x", "y"]))
    assert str(function.type) == "(memref<2x3xf32>, memref<2x3xf32>, memref<2xf32>, memref<2x3xf32>) -> ()"
    assert attributes(function) == [
        {"dlir.input": 0, "dlir.name": "x"},
        {"dlir.input": 1, "dlir.name": "y"},
        {"dlir.result": 0},
        {"dlir.result": 1},
    ]
    assert [arg.name for arg in function.body.args][:3] == ["x", "y", "total"]
    kernel = function.body.first
    x, y, total, sums = function.body.args
    assert kernel.operands == (x, y, sums, total) and kernel["outs"] == 2
    assert names(function) == ["kernel.region", "func.return"]


def test_given_names_and_other_attributes_are_kept():
    module = make_function([ROWS], lambda x: region(nd.exp, x))
    function = module.body.first
    function.set_arg_attributes([{"dlir.name": StringAttr("image"), "my.note": UNIT}])
    function.attributes["res_attrs"] = ArrayAttr([DictAttr({"dlir.name": StringAttr("y")})])
    function = bufferize(module)
    assert attributes(function)[0] == {"dlir.input": 0, "dlir.name": "image", "my.note": True}
    assert attributes(function)[1] == {"dlir.result": 0, "dlir.name": "y"}
    assert "res_attrs" not in function.attributes


def test_a_kernel_keeps_its_attributes_its_body_and_its_place():
    module = make_function([ROWS], lambda x: region(nd.exp, x))
    op = module.body.first.body.first
    op.set("schedule", "row")
    op.location = FileLoc("a.dlir", 3, 1)
    body = op.body
    new = bufferize(module).body.first
    assert new["schedule"] == "row" and new.location == op.location and new.body is body
    assert not new.results


def test_temporaries_are_allocated_where_they_are_first_needed():
    def body(x):
        t = region(lambda a: nd.sum(a, axes=(0,)), x)
        t.name = "t"
        return region(lambda t, x: nd.mul(nd.broadcast_to(t, shape=(2, 3)), x), t, x)

    function = bufferize(make_function([ROWS], body))
    assert names(function) == ["memref.alloc", "kernel.region", "kernel.region", "func.return"]
    alloc = function.body.first
    assert alloc["alignment"] == 64 and alloc.results[0].name == "t"


def test_what_is_computed_in_place_is_marked():
    function = bufferize(make_function([ROWS], lambda x: region(nd.neg, region(nd.exp, x))))
    first, second, _ = function.body.ops
    assert "dlir.inplace" not in first.attributes
    assert second.operands == (function.body.args[1],) * 2
    assert second.get("dlir.inplace") == (0, 1)


def test_the_largest_dying_operand_is_overwritten():
    def body(x, y):
        small = region(lambda a: nd.sum(a, axes=(0,)), x)
        large = region(nd.exp, y)
        return region(lambda s, t: nd.add(nd.broadcast_to(s, shape=(2, 3)), t), small, large)

    last = bufferize(make_function([ROWS, ROWS], body)).body.last.previous
    assert last.get("dlir.inplace") == (1, 2)


def test_an_argument_is_overwritten_only_if_it_is_donated():
    for donated in (False, True):
        module = make_function([ROWS], lambda x: region(nd.exp, x))
        if donated:
            module.body.first.set_arg_attributes([{"dlir.donated": UNIT}])
        function = bufferize(module)
        assert len(function.body.args) == 2 - donated
        (result,), (after,) = run_buffers(function, [X])
        assert np.array_equal(result, np.exp(X))
        assert np.array_equal(after, np.exp(X) if donated else X)


def test_a_donated_argument_of_another_shape_does_not_hold_the_result():
    """The caller knows the argument by its own shape."""
    module = make_function([ROWS], lambda x: region(lambda a: nd.reshape(nd.exp(a), shape=(6,)), x))
    module.body.first.set_arg_attributes([{"dlir.donated": UNIT}])
    function = bufferize(module)
    assert [str(arg.type) for arg in function.body.args] == ["memref<2x3xf32>", "memref<6xf32>"]
    assert names(function) == ["kernel.region", "func.return"]


def test_a_reshape_of_what_was_computed_over_a_donated_argument_is_copied():
    module = make_function([ROWS], lambda x: region(lambda a: nd.reshape(a, shape=(6,)), region(nd.exp, x)))
    module.body.first.set_arg_attributes([{"dlir.donated": UNIT}])
    function = bufferize(module)
    assert [str(arg.type) for arg in function.body.args] == ["memref<2x3xf32>", "memref<6xf32>"]
    assert "memref.copy" in names(function)
    (result,), _ = run_buffers(function, [X])
    assert np.array_equal(result, np.exp(X).reshape(6))


@pytest.mark.parametrize(
    "body, want",
    [
        (lambda x: x, [X]),
        (lambda x: (y := region(nd.exp, x), y), [np.exp(X), np.exp(X)]),
        (lambda x: (region(nd.exp, x), x, x), [np.exp(X), X, X]),
        (lambda x: region(lambda a: nd.reshape(a, shape=(6,)), x), [X.reshape(6)]),
        (
            lambda x: (y := region(nd.exp, x), region(lambda a: nd.reshape(a, shape=(6,)), y)),
            [np.exp(X), np.exp(X).reshape(6)],
        ),
    ],
    ids=["an input", "one value twice", "an input twice", "a reshaped input", "a value and its reshape"],
)
def test_results_are_separate_buffers_and_inputs_are_copied(body, want):
    function = bufferize(make_function([ROWS], body))
    assert len(function.body.args) == 1 + len(want)
    results, (after,) = run_buffers(function, [X])
    for got, expected in zip(results, want, strict=True):
        assert got.shape == expected.shape and np.array_equal(got, expected)
    assert np.array_equal(after, X)


def test_a_donated_input_that_its_last_reader_still_needs_does_not_hold_the_result():
    module = make_function([ROWS], lambda x: region(lambda a: nd.softmax(a, axis=1), x))
    module.body.first.set_arg_attributes([{"dlir.donated": UNIT}])
    assert len(bufferize(module).body.args) == 2


def test_a_result_may_live_in_a_donated_input_that_was_needed_before():
    def body(x):
        t = region(lambda a: nd.sum(a, axes=(1,), keepdims=True), x)
        return region(lambda t: nd.broadcast_to(t, shape=(2, 3)), region(nd.exp, t))

    module = make_function([ROWS], body)
    module.body.first.set_arg_attributes([{"dlir.donated": UNIT}])
    function = bufferize(module)
    assert attributes(function)[0]["dlir.result"] == 0
    (result,), _ = run_buffers(function, [X])
    assert np.array_equal(result, np.broadcast_to(np.exp(X.sum(axis=1, keepdims=True)), (2, 3)))


def test_a_donated_input_that_is_returned_stays_where_it_is():
    module = make_function([ROWS], lambda x: x)
    module.body.first.set_arg_attributes([{"dlir.donated": UNIT}])
    function = bufferize(module)
    assert names(function) == ["func.return"]
    assert attributes(function)[0]["dlir.result"] == 0


def test_a_reshape_is_another_view_and_no_kernel():
    def body(x):
        y = region(nd.exp, x)
        flat = region(lambda a: nd.reshape(a, shape=(6,)), y)
        return region(lambda a: nd.sum(a, axes=(0,)), flat), region(nd.neg, flat)

    function = bufferize(make_function([ROWS], body))
    assert names(function).count("kernel.region") == 3
    (total, negative), _ = run_buffers(function, [X])
    assert np.allclose(total, np.exp(X).sum()) and np.array_equal(negative, -np.exp(X).reshape(6))


def test_a_value_whose_reshape_is_still_needed_is_not_overwritten():
    def body(x):
        y = region(nd.exp, x)
        flat = region(lambda a: nd.reshape(a, shape=(6,)), y)
        z = region(nd.neg, y)
        return region(lambda z, f: nd.add(nd.reshape(z, shape=(6,)), f), z, flat)

    (result,), _ = run_buffers(bufferize(make_function([ROWS], body)), [X])
    assert np.array_equal(result, np.zeros(6))


def test_an_operand_that_is_also_read_under_another_shape_is_not_overwritten():
    """Element by element as it is, but transposed through its reshape."""
    square = TensorType((3, 3), F32)

    def body(x):
        y = region(nd.exp, x)
        flat = region(lambda a: nd.reshape(a, shape=(9,)), y)
        return region(lambda a, f: nd.add(a, nd.transpose(nd.reshape(f, shape=(3, 3)))), y, flat)

    function = bufferize(make_function([square], body))
    assert not any("dlir.inplace" in op.attributes for op in function.body.ops)


def test_variables_become_constant_globals_and_are_never_overwritten():
    module = make_function([ROWS], lambda x: x)
    add_variable(module)
    function = module.body.last
    with at_start(function.body):
        w = state.read(variable="w", result_types=[ROWS])
        y = region(nd.exp, w)
    function.body.terminator.set_operands([y, w])
    function.update_type()
    function = bufferize(module)
    variable = module.body.first
    assert variable.name == "memref.global" and variable["constant"]
    assert str(variable["type"]) == "memref<2x3xf32>" and variable["initial_value"].type is ROWS
    results, _ = run_buffers(function, [X], {"w": X})
    assert np.array_equal(results[0], np.exp(X)) and np.array_equal(results[1], X)


def test_what_has_buffers_already_is_left_as_it_is():
    module = make_function([ROWS], lambda x: region(nd.neg, region(nd.exp, x)))
    add_variable(module)
    bufferize(module)
    again = clone(module)
    bufferize(again)
    assert structurally_equal(module, again)


def test_functions_without_tensors_are_left_alone():
    module = make_function([], lambda: ())
    before = clone(module)
    bufferize(module)
    assert structurally_equal(module, before)


def test_array_ops_outside_kernels_are_refused():
    module = make_function([ROWS], lambda x: nd.exp(x))
    module.body.first.body.first.location = FileLoc("a.dlir", 2, 3)
    with pytest.raises(DlirError, match=r"a.dlir:2:3.*'nd.exp' over tensors") as caught:
        bufferize(module)
    assert "fuse" in caught.value.diagnostics[0].hint


def test_calls_over_tensors_are_refused():
    module = make_function([ROWS], lambda x: func.call(x, callee="f", result_types=[ROWS]))
    module.body.append(Func.make("f", [ROWS], [ROWS], private=True))
    with pytest.raises(DlirError, match=r"'func.call' over tensors") as caught:
        PassManager.from_text("bufferize", verify_each=False).run(module)
    assert "inline" in caught.value.diagnostics[0].hint


def test_unknown_shapes_are_refused():
    module = make_function([TensorType((None, 3), F32)], lambda x: x, ["x"])
    with pytest.raises(DlirError, match=r"%x has the unknown shape tensor<\?x3xf32>") as caught:
        bufferize(module)
    assert "bind-shapes" in caught.value.diagnostics[0].hint


def test_a_function_that_is_refused_leaves_all_as_it_was():
    module = make_function([ROWS], lambda x: region(nd.neg, region(nd.exp, x)))
    add_variable(module)
    other = make_function([ROWS], lambda x: nd.exp(x), name="other").body.first
    other.detach()
    module.body.append(other)
    before = to_text(module, locations=True)
    with pytest.raises(DlirError, match="'nd.exp' over tensors"):
        bufferize(module)
    assert to_text(module, locations=True) == before


def test_a_kernel_without_results_is_gone():
    def body(x):
        region(lambda a: (), x)
        return region(nd.exp, x)

    module = make_function([ROWS], body)
    assert names(bufferize(module)) == ["kernel.region", "func.return"]


def test_a_scalar_argument_stays_what_it_is():
    function = bufferize(make_function([INDEX, ROWS], lambda i, x: region(nd.exp, x), ["i", "x"]))
    assert [str(arg.type) for arg in function.body.args] == ["index", "memref<2x3xf32>", "memref<2x3xf32>"]
    assert attributes(function)[:2] == [{"dlir.input": 0, "dlir.name": "i"}, {"dlir.input": 1, "dlir.name": "x"}]
