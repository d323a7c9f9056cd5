"""What `fuse` puts in one kernel, and what it keeps apart."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import F32, TensorType
from dlir.passes.explain_fusion import explain
from dlir.passes.kernels.legality import why_not_fused
from dlir.textir import parse, to_text


def tensor(*shape):
    return TensorType(shape, F32)


def fused(tools, body, *types, pipeline="fuse"):
    """The array ops of each kernel."""
    return [tools.ops_of(region) for region in tools.regions(tools.passes(tools.make(body, *types), pipeline))]


def test_a_chain_of_pointwise_ops_is_one_kernel(tools):
    found = fused(tools, lambda x, y: nd.sigmoid(nd.add(nd.mul(x, y), 1.0)), tensor(4, 8), tensor(8))
    assert found == [["broadcast_to", "mul", "constant", "add", "sigmoid"]]


def test_max_ops_1_makes_a_kernel_of_every_op(tools):
    found = fused(tools, lambda x: nd.exp(nd.neg(nd.abs(x))), tensor(4), pipeline="fuse{max-ops=1}")
    assert found == [["abs"], ["neg"], ["exp"]]


def test_softmax_written_out_is_one_kernel(tools):
    def softmax(x):
        powers = nd.exp(nd.sub(x, nd.max(x, axes=(1,), keepdims=True)))
        return nd.div(powers, nd.sum(powers, axes=(1,), keepdims=True))

    assert len(fused(tools, softmax, tensor(4, 8))) == 1


def test_bias_residual_and_layer_norm_are_one_kernel_that_also_gives_the_sum(tools):
    def body(x, r, b, g):
        total = nd.add(nd.add(x, b), r)
        return total, nd.layer_norm(total, g, g)

    module = tools.passes(tools.make(body, tensor(4, 8), tensor(4, 8), tensor(8), tensor(8)), "fuse")
    (region,) = tools.regions(module)
    assert len(region.results) == 2
    assert module.symbol("main").body.terminator.operands == region.results


def test_a_contraction_takes_its_bias_and_activation(tools):
    def body(x, w, b):
        return nd.relu(nd.add(nd.matmul(x, w), b))

    (ops,) = fused(tools, body, tensor(4, 8), tensor(8, 5), tensor(5))
    assert ops == ["matmul", "broadcast_to", "add", "relu"]


def test_what_feeds_a_contraction_is_a_kernel_of_its_own_but_a_view_is_not(tools):
    def body(x, w):
        return nd.matmul(nd.exp(x), nd.transpose(w))

    assert fused(tools, body, tensor(4, 8), tensor(5, 8)) == [["exp"], ["transpose", "matmul"]]


def test_two_contractions_are_two_kernels(tools):
    def body(x, w):
        return nd.matmul(nd.relu(nd.matmul(x, w)), w)

    assert fused(tools, body, tensor(4, 4), tensor(4, 4)) == [["matmul", "relu"], ["matmul"]]


def test_a_reduction_of_a_contraction_is_a_kernel_of_its_own(tools):
    found = fused(tools, lambda x, w: nd.softmax(nd.matmul(x, w)), tensor(4, 4), tensor(4, 4))
    assert found == [["matmul"], ["softmax"]]


def test_reductions_over_different_axes_are_apart(tools):
    def body(x):
        rows = nd.div(x, nd.sum(x, axes=(1,), keepdims=True))
        return nd.div(rows, nd.sum(rows, axes=(0,), keepdims=True))

    assert len(fused(tools, body, tensor(4, 8))) == 2


def test_pooling_takes_the_pointwise_ops_after_it(tools):
    found = fused(tools, lambda x: nd.relu(nd.max_pool(x, kernel=(2, 2))), tensor(1, 2, 4, 4))
    assert found == [["max_pool", "relu"]]


def test_pooling_takes_a_costly_op_before_it_only_if_windows_do_not_overlap(tools):
    def body(step):
        return lambda x: nd.max_pool(nd.exp(x), kernel=(2, 2), stride=(step, step))

    assert fused(tools, body(2), tensor(1, 2, 8, 8)) == [["exp", "max_pool"]]
    assert fused(tools, body(1), tensor(1, 2, 8, 8)) == [["exp"], ["max_pool"]]


def test_a_diamond_is_one_kernel(tools):
    def body(x):
        y = nd.exp(x)
        return nd.add(nd.neg(y), nd.abs(y))

    (ops,) = fused(tools, body, tensor(4))
    assert sorted(ops) == ["abs", "add", "exp", "neg"]


def test_nothing_is_fused_around_what_stands_between(tools):
    """exp -> matmul -> add, and exp -> add: exp and add in one kernel would need the matmul in their middle."""

    def body(x):
        y = nd.exp(x)
        return nd.add(nd.matmul(y, y), y)

    assert fused(tools, body, tensor(4, 4)) == [["exp"], ["matmul", "add"]]


def test_a_costly_op_is_not_repeated_for_every_row(tools):
    found = fused(tools, lambda x, b: nd.add(x, nd.exp(b)), tensor(64, 8), tensor(8))
    assert found == [["exp"], ["broadcast_to", "add"]]


def test_a_costly_op_of_the_row_is_hoisted_and_so_may_be_fused(tools):
    found = fused(tools, lambda x, b: nd.add(x, nd.exp(b)), tensor(8, 64), tensor(8, 1))
    assert found == [["exp", "broadcast_to", "add"]]


def test_a_reduction_is_never_computed_twice(tools):
    def body(x):
        total = nd.sum(x, axes=(1,))
        return nd.add(nd.reshape(total, shape=(4, 1)), nd.reshape(total, shape=(1, 4)))

    assert len(fused(tools, body, tensor(4, 8))) == 2


def test_a_view_that_is_returned_is_a_copy_and_not_an_input_of_others(tools):
    module = tools.make(lambda x: (nd.transpose(x), nd.exp(nd.transpose(x))), tensor(3, 4))
    regions = tools.regions(tools.passes(module, "fuse"))
    assert all(region.operands == (module_arg(region),) for region in regions)


def module_arg(region):
    return region.parent.args[0]


def test_inputs_come_in_the_order_of_their_first_use(tools):
    def body(a, b, c):
        return nd.add(nd.mul(c, a), nd.sub(b, a))

    (region,) = tools.regions(tools.passes(tools.make(body, *[tensor(4)] * 3), "fuse"))
    assert [value.name for value in region.operands] == ["x2", "x0", "x1"]


def test_constants_are_made_inside_of_each_kernel(tools):
    table = np.arange(4, dtype=np.float32)
    found = fused(tools, lambda x: nd.matmul(nd.add(x, table), nd.reshape(table, shape=(4, 1))), tensor(4, 4))
    assert found == [["constant", "broadcast_to", "add"], ["constant", "reshape", "matmul"]]


def test_a_composite_of_several_kernels_is_written_out(tools):
    def body(x):
        return nd.softmax(nd.layer_norm(x, axes=(0,)), axis=1)

    assert fused(tools, body, tensor(4, 8)) == [["layer_norm"], ["softmax"]]


def test_regions_that_are_there_stay_as_they_are(tools):
    text = to_text(tools.passes(tools.make(lambda x: nd.exp(nd.neg(x)), tensor(4)), "fuse{max-ops=1}"))
    assert to_text(tools.passes(parse(text), "fuse")) == text


def test_dynamic_shapes_are_refused_with_the_remedy(tools):
    module = tools.make(lambda x: nd.exp(x), TensorType((None, 4), F32))
    with pytest.raises(DlirError, match="static shapes") as caught:
        tools.passes(module, "fuse")
    assert "bind-shapes" in (caught.value.diagnostics[0].hint or "")


def test_the_limit_of_ops_holds(tools):
    def body(x):
        for _ in range(10):
            x = nd.neg(x)
        return x

    assert [len(ops) for ops in fused(tools, body, tensor(4), pipeline="fuse{max-ops=4}")] == [4, 4, 2]


def test_the_limit_of_buffers_holds(tools):
    def body(*xs):
        total = xs[0]
        for x in xs[1:]:
            total = nd.add(total, x)
        return total

    module = tools.passes(tools.make(body, *[tensor(4)] * 8), "fuse{max-buffers=4}")
    assert all(len(region.operands) + len(region.results) <= 4 for region in tools.regions(module))


@pytest.mark.parametrize(
    ("body", "names", "reason"),
    [
        (lambda x: nd.exp(nd.neg(x)), ("neg", "exp"), None),
        (lambda x: nd.exp(nd.abs(nd.neg(x))), ("neg", "exp"), "'nd.abs' stands between"),
        (lambda x: nd.matmul(nd.exp(x), x), ("exp", "matmul"), "computed again for each tile"),
        (lambda x: nd.sum(nd.matmul(x, x)), ("matmul", "sum"), "needs the whole result"),
        (lambda x: nd.max(nd.div(x, nd.sum(x, axes=(0,), keepdims=True)), axes=(1,)), ("sum", "div"), None),
    ],
)
def test_why_not_fused_says_why(tools, body, names, reason):
    ops = {op.name: op for op in tools.make(body, tensor(4, 4)).walk()}
    found = why_not_fused(*[ops[f"nd.{name}"] for name in names])
    assert found is None if reason is None else reason in (found or "")


def test_fusing_is_deterministic(tools):
    def body(x, y):
        a, b = nd.exp(x), nd.sum(y, axes=(1,), keepdims=True)
        return nd.add(nd.mul(a, b), nd.max(a, axes=(1,), keepdims=True)), nd.softmax(nd.add(a, y))

    texts = {to_text(tools.passes(tools.make(body, tensor(4, 8), tensor(4, 8)), "fuse")) for _ in range(3)}
    assert len(texts) == 1


def test_equal_kernels_are_lowered_once(tools):
    def body(x, w):
        for _ in range(3):
            x = nd.softmax(nd.matmul(x, w))
        return x

    module = tools.passes(tools.make(body, tensor(4, 4), tensor(4, 4)), "fuse,bufferize,lower-kernels")
    names = [op.get("sym_name") for op in module.body.ops]
    assert names == ["main", "kernel_0", "kernel_1"]
    assert [op["callee"] for op in module.walk() if op.name == "func.call"] == ["kernel_0", "kernel_1"] * 3


def test_what_only_dead_code_in_a_body_reads_is_dead():
    """Without canonicalize, a view that nobody uses stands in the loop when the code in front of it is fused."""
    module = parse("""
    func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
      %c0 = arith.constant {value = 0 : index}
      %c1 = arith.constant {value = 1 : index}
      %a = nd.sub %x, %x
      %y = scf.for %c0, %c1, %c1, %x ({
      ^bb0(%i: index, %h: tensor<4x4xf32>):
        %s = nd.slice %a {start = [3, 0], stop = [4, 4]}
        %r = nd.reshape %s {shape = [4]}
        %n = nd.neg %h
        scf.yield %n
      })
      return %y
    }
    """)
    (x,) = [np.arange(16, dtype=np.float32).reshape(4, 4)]
    for level in ("O0", "O2"):
        program = compile_module(module, level=level)
        assert program.kernels == 1
        np.testing.assert_array_equal(program(x)[0], -x)


BACKWARD = """func.func @main(%x: tensor<512x1024xf32>, %w: tensor<1024x8192xf32>, %v: tensor<8192x512xf32>) -> tensor<512x512xf32> {
  %a = nd.softmax %x
  %wide = nd.matmul %a, %w
  %square = nd.softmax %wide
  %narrow = nd.matmul %square, %v
  %late = nd.softmax %a
  %end = nd.matmul %late, %a {transpose_b = true}
  %sum = nd.matmul %narrow, %end
  func.return %sum
}"""


def test_what_is_needed_late_is_not_made_early_with_what_it_reads():
    """`%late` could be computed in the kernel of `%a`, and would lie there beside all that comes between."""
    module = parse(BACKWARD)
    assert "more of values would live at one time" in explain(module, "a", "late")
    programs = [compile_module(parse(BACKWARD), level=level) for level in ("O1", "O2")]
    unfused, fused = (program.memory.planned for program in programs)
    assert fused <= unfused
    small = BACKWARD.replace("512", "16").replace("1024", "32").replace("8192", "64")
    assert "they are one kernel" in explain(parse(small), "a", "late")


ACROSS = """func.func @main(%x: tensor<512x128xf32>, %c: tensor<128x128xf32>) -> tensor<512x128xf32> {
  %squares = nd.mul %c, %c
  %sums = nd.sum %squares {axes = array<i64: 1>}
  %y = nd.div %x, %sums
  return %y
}"""


def test_rows_that_lie_together_and_rows_side_by_side_are_two_kernels():
    """The sums go along rows of `%c`; what is divided by them goes down columns of `%x`, each far apart in memory."""
    assert "some across rows that lie side by side" in explain(parse(ACROSS), "sums", "y")
    small = ACROSS.replace("512", "8").replace("128", "16")
    assert "they are one kernel" in explain(parse(small), "sums", "y")
    rng = np.random.default_rng(0)
    x, c = (rng.standard_normal(shape).astype(np.float32) for shape in ((512, 128), (128, 128)))
    program = compile_module(parse(ACROSS))
    assert program.kernels == 2
    np.testing.assert_allclose(program(x, c)[0], x / (c * c).sum(1), rtol=1e-5)


SCAN = """func.func @main(%x: tensor<64x256xf32>) -> tensor<64x256xf32> {
  %sums = nd.cumsum %x {axis = 1}
  %y = nd.OP %sums
  return %y
}"""


@pytest.mark.parametrize(("op", "kernels"), [("neg", 1), ("exp", 2)])
def test_costly_ops_are_not_done_one_by_one_between_running_totals(op, kernels):
    text = SCAN.replace("OP", op)
    assert ("in the order of the running totals" in explain(parse(text), "sums", "y")) == (kernels == 2)
    # Down the columns, totals lie side by side, and vectors hold those of many columns.
    assert "they are one kernel" in explain(parse(text.replace("axis = 1", "axis = 0")), "sums", "y")
    x = np.random.default_rng(0).uniform(-0.01, 0.01, (64, 256)).astype(np.float32)
    program = compile_module(parse(text))
    assert program.kernels == kernels
    want = {"neg": np.negative, "exp": np.exp}[op](np.cumsum(x, 1))
    np.testing.assert_allclose(program(x)[0], want, rtol=1e-4, atol=1e-6)


TURNED = """func.func @main(%x: tensor<384x512xf32>) -> (tensor<384x512xf32>, tensor<512x384xf32>) {
  %e = nd.exp %x
  %t = nd.transpose %e
  return %e, %t
}"""


def test_a_large_result_in_another_order_is_a_kernel_of_its_own():
    """In one loop, each element of one of the two would take a line of the cache."""
    module = parse(TURNED)
    program = compile_module(module)
    assert program.kernels == 2
    x = np.random.default_rng(0).standard_normal((384, 512)).astype(np.float32)
    found = program(x)
    np.testing.assert_array_equal(found[1], found[0].T)
    small = TURNED.replace("384", "12").replace("512", "16")
    assert compile_module(parse(small)).kernels == 1


def test_rows_are_not_written_as_columns():
    text = """func.func @main(%x: tensor<384x512xf32>) -> tensor<512x384xf32> {
      %s = nd.softmax %x
      %t = nd.transpose %s
      %e = nd.exp %t
      return %e
    }"""
    assert "written in another order" in explain(parse(text), "s", "e")
    assert compile_module(parse(text)).kernels == 2
    small = text.replace("384", "12").replace("512", "16")
    assert "they are one kernel" in explain(parse(small), "s", "e")


def test_what_is_repeated_is_not_turned():
    """Each pixel four times, in an image of twice the size: one kernel with what computes the pixels."""
    text = """func.func @main(%x: tensor<1x8x64x64xf32>) -> tensor<1x8x128x128xf32> {
      %a = nd.relu %x
      %b = nd.reshape %a {shape = [1, 8, 64, 1, 64, 1]}
      %c = nd.broadcast_to %b {shape = [1, 8, 64, 2, 64, 2]}
      %d = nd.reshape %c {shape = [1, 8, 128, 128]}
      return %d
    }"""
    program = compile_module(parse(text))
    assert program.kernels == 1
    x = np.random.default_rng(0).standard_normal((1, 8, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(program(x)[0], np.maximum(x, 0).repeat(2, 2).repeat(2, 3))
