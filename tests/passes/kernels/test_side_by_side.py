"""Kernels of several parts, of reductions of rows, and what fuse makes of independent kernels."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import F32, TensorType
from dlir.passes.explain_fusion import explain
from dlir.passes.fuse import Fuse
from dlir.passes.kernels import horizontal
from dlir.textir import parse, to_text

BACKENDS = ["cpu", "cuda-sim"]


def arrays_of(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def updates(*args):
    return tuple(nd.sub(w, nd.mul(g, 0.1)) for w, g in zip(args[::2], args[1::2], strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_updates_of_parameters_are_one_kernel(tools, backend):
    shapes = [shape for shape in ((3,), (4, 5), (2, 3, 4), (1,), (5000,), (70, 80)) for _ in "wg"]
    arrays = arrays_of(*shapes)
    program = compile_module(tools.make(updates, *arrays), backend=backend)
    assert program.kernels == 1
    for found, w, g in zip(program(*arrays), arrays[::2], arrays[1::2], strict=True):
        np.testing.assert_allclose(found, w - np.float32(0.1) * g, rtol=1e-6)


def test_updates_may_overwrite_what_is_donated(tools):
    module = tools.make(updates, *arrays_of((40,), (40,), (30, 2), (30, 2)))
    module.body.first.set_arg_attributes(
        [{"dlir.donated": parse('"a"() {x} : () -> ()').body.first.attributes["x"]}, {}] * 2
    )
    program = compile_module(module)
    assert program.kernels == 1 and program.memory.planned == 4 * (2 * 40 + 2 * 60)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_whose_operands_broadcast_or_lie_across(tools, backend):
    def body(x, y, b):
        return nd.add(nd.transpose(x), b), nd.exp(y)

    arrays = arrays_of((6, 4), (7,), (6,))
    module = tools.make(body, *arrays)
    program = compile_module(module, backend=backend)
    assert program.kernels == 1
    np.testing.assert_allclose(program(*arrays)[0], arrays[0].T + arrays[2], rtol=1e-6)
    np.testing.assert_allclose(program(*arrays)[1], np.exp(arrays[1]), rtol=1e-6)


def test_contractions_that_read_one_array_are_one_kernel_on_a_cpu(tools):
    def body(x, a, b):
        return nd.relu(nd.matmul(x, a)), nd.matmul(x, b)

    arrays = arrays_of((40, 30), (30, 20), (30, 70))
    assert compile_module(tools.make(body, *arrays), backend="cuda-sim").kernels == 2
    program = compile_module(tools.make(body, *arrays))
    assert program.kernels == 1
    one, two = program(*arrays)
    np.testing.assert_allclose(one, np.maximum(arrays[0] @ arrays[1], 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(two, arrays[0] @ arrays[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_cpu_what_reduces_an_array_goes_with_a_product_of_it(tools, backend):
    """As the gradients of weights and bias of a layer do."""

    def body(g, x):
        return nd.matmul(x, g, transpose_a=True), nd.mul(nd.sum(g, axes=(0,)), 0.1)

    g, x = arrays_of((24, 20), (24, 40))
    program = compile_module(tools.make(body, g, x), backend=backend)
    assert program.kernels == (1 if backend == "cpu" else 2)
    weights, bias = program(g, x)
    np.testing.assert_allclose(weights, x.T @ g, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bias, g.sum(0) * np.float32(0.1), rtol=1e-4, atol=1e-5)


def test_a_large_reduction_does_not_wait_beside_few_products(tools):
    def body(g, x):
        return nd.matmul(x, g, transpose_a=True), nd.sum(g, axes=(0,))

    assert compile_module(tools.make(body, *arrays_of((24, 20), (24, 3)))).kernels == 2


def test_kernels_that_wait_for_each_other_stay_apart(tools):
    def body(x, w, v):
        y = nd.matmul(nd.exp(x), w)
        return nd.neg(v), nd.sub(y, 1.0), nd.exp(nd.sum(y, axes=(0,)))

    module = tools.passes(tools.make(body, *arrays_of((6, 6), (6, 4), (9,))), "fuse")
    found = [tools.ops_of(region) for region in tools.regions(module)]
    assert ["exp"] not in found and any(set(ops) == {"exp", "neg"} for ops in found)
    assert len(found) == 3


def test_what_reaches_what_is_found_out_again_only_after_a_merge(tools, monkeypatch):
    """Else the time for a long chain would grow with the square of its length."""
    calls = []
    found_out = horizontal._reachability
    monkeypatch.setattr(horizontal, "_reachability", lambda clustering: calls.append(1) or found_out(clustering))

    def body(x, w):
        for _ in range(12):
            x = nd.matmul(x, nd.matmul(x, w))
        return x

    module = tools.passes(tools.make(body, *arrays_of((6, 6), (6, 6))), "fuse")
    assert len(tools.regions(module)) == 24
    assert len(calls) == 1


def test_nothing_is_merged_that_would_make_more_values_live(tools):
    """Each update frees a gradient before the next is made."""

    def body(x, *weights):
        found = []
        for w in weights:
            x = nd.matmul(x, x)
            found.append(nd.add(nd.sum(nd.mul(nd.transpose(x), x), axes=(0,)), w))
        return tuple(found)

    types = [TensorType((64, 64), F32), *[TensorType((64,), F32)] * 3]
    module = tools.make(body, *types)
    apart = compile_module(module).memory.planned
    assert apart <= compile_module(module, level="O1").memory.planned


@pytest.mark.parametrize("schedule", ["nest + nest + nest", "runs", "flat + no"])
def test_a_schedule_for_other_parts_is_refused(tools, schedule):
    module = tools.passes(tools.make(updates, *arrays_of((3,), (3,), (4,), (4,))), "fuse,schedule")
    (region,) = tools.regions(module)
    assert region["schedule"] == "runs + runs" and len(region["tile"]) == 2
    region.set("schedule", schedule)
    with pytest.raises(DlirError, match="cannot have its schedule"):
        tools.passes(module, "bufferize,lower-kernels")


def test_another_schedule_for_parts_in_the_text_holds(tools):
    arrays = arrays_of((30,), (30,), (40,), (40,))
    module = tools.passes(tools.make(updates, *arrays), "fuse,schedule")
    text = (
        to_text(module)
        .replace('schedule = "runs + runs"', 'schedule = "flat + runs"')
        .replace("tile = [4096, 4096]", "tile = [7]")
    )
    assert "flat + runs" in text and "tile = [7]" in text
    found = compile_module(parse(text))(*arrays)
    np.testing.assert_allclose(found[1], arrays[2] - np.float32(0.1) * arrays[3], rtol=1e-6)


# ---------------------------------------------------------------- reductions of rows


def cross_entropy(x, labels):
    below = nd.sub(x, nd.max(x, axes=(-1,), keepdims=True))
    logs = nd.sub(below, nd.log(nd.sum(nd.exp(below), axes=(-1,), keepdims=True)))
    return nd.neg(nd.mean(nd.sum(nd.mul(logs, labels), axes=(-1,))))


def in_numpy(x, labels):
    x = x.astype(np.float64)
    logs = x - np.log(np.exp(x).sum(-1, keepdims=True))
    return -(logs * labels).sum(-1).mean()


@pytest.mark.parametrize("shape", [(12, 10), (3, 4, 40), (1, 7)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mean_loss_is_one_kernel(tools, shape, backend):
    arrays = arrays_of(shape, shape)
    program = compile_module(tools.make(cross_entropy, *arrays), backend=backend)
    assert backend != "cpu" or program.kernels == 1
    np.testing.assert_allclose(program(*arrays)[0], in_numpy(*arrays), rtol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: nd.sum(nd.mul(nd.max(x, axes=(1,)), 2.0)),
        lambda x: nd.max(nd.softmax(x)),
        lambda x: nd.sqrt(nd.sum(nd.mean(x, axes=(1,), keepdims=True), keepdims=True)),
        lambda x: nd.mean(nd.sub(x, nd.mean(x, axes=(0,), keepdims=True))),
        lambda x: (nd.sum(nd.layer_norm(x)), nd.neg(nd.sum(nd.layer_norm(x)))),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "ref"])
def test_reductions_of_reductions(tools, body, backend):
    arrays = arrays_of((9, 33))
    module = tools.passes(tools.make(body, *arrays), "cse")
    program = compile_module(module, backend=backend)
    for found, want in zip(program(*arrays), tools.run(module, arrays), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    if backend == "cpu":
        assert program.kernels == 1


# ---------------------------------------------------------------- why not

TEXT = """
func.func @main(%x: tensor<8x8xf32>, %z: tensor<3xf32>) -> (tensor<8x8xf32>, tensor<3xf32>) {
  %a = nd.exp %x
  %b = nd.matmul %a, %x
  %c = nd.add %b, %a
  %d = nd.tanh %c
  %t = nd.transpose %d
  %e = nd.sin %z
  %f = nd.abs %d {dlir.fuse = "none"}
  %g = nd.add %f, %t
  return %g, %e
}
"""


@pytest.mark.parametrize(
    ("one", "two", "answer"),
    [
        ("c", "%d", "they are one kernel, of 3 ops"),
        ("a", "b", "computed again for each tile"),
        ("%a", "%c", "'nd.matmul' stands between them"),
        ("d", "t", "'nd.transpose' costs nothing"),
        ("d", "f", "'nd.abs' is kept apart"),
        ("d", "e", "results have shapes"),
    ],
)
def test_why_not_fused_by_name(one, two, answer):
    assert answer in explain(parse(TEXT), one, two)


def test_kernels_side_by_side_are_one_kernel():
    text = """
    func.func @main(%x: tensor<8xf32>, %y: tensor<9xf32>) -> (tensor<8xf32>, tensor<9xf32>) {
      %a = nd.exp %x
      %b = nd.exp %y
      return %a, %b
    }
    """
    assert explain(parse(text), "a", "b") == "they are one kernel, of 2 ops"


def test_why_not_fused_of_what_nothing_needs():
    text = """
    func.func @main(%x: tensor<8x4xf32>, %w: tensor<4x4xf32>) -> tensor<8x4xf32> {
      %a = nd.matmul %x, %w
      %b = nd.softmax %a
      %unused = nd.exp %x
      return %b
    }
    """
    assert "needs the whole result of 'nd.matmul'" in explain(parse(text), "a", "b")
    assert explain(parse(text), "a", "unused") == "nothing needs %unused, which is dropped"


def test_why_not_fused_depends_on_options_and_target():
    text = """
    func.func @main(%x: tensor<1024x1024xf32>, %w: tensor<1024x1024xf32>) -> (tensor<1024x1024xf32>, tensor<f32>) {
      %a = nd.matmul %x, %w
      %b = nd.relu %a
      %c = nd.softmax %x
      %d = nd.sum %c
      return %b, %d
    }
    """
    one = "they are one kernel"
    assert one in explain(parse(text), "a", "b") and one in explain(parse(text), "c", "d")
    assert "more than max-ops = 1" in explain(parse(text), "a", "b", Fuse(max_ops=1))
    assert "more than max-buffers = 2" in explain(parse(text), "a", "b", Fuse(max_buffers=2))
    assert one in explain(parse(text), "a", "b", Fuse(target="cuda", library="off"))
    library = explain(parse(text), "a", "b", Fuse(target="cuda", library="on"))
    assert library.startswith("they would be slower as one kernel: cuBLASLt adds a matrix and a bias")
    blocks = explain(parse(text), "c", "d", Fuse(target="cuda"))
    assert blocks.startswith("they would be slower as one kernel: what is reduced over all rows")


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(DlirError, match="no op defines '%q'"):
        explain(parse(TEXT), "a", "q")


def test_the_command_answers(tmp_path, capsys):
    from dlir.frontends.cli.opt import main

    path = tmp_path / "a.dlir"
    path.write_text(TEXT)
    assert main([str(path), "--why-not-fused", "%a,%b"]) == 0
    assert "computed again for each tile" in capsys.readouterr().out
    assert main([str(path), "--why-not-fused", "%a,%q"]) == 1
    assert "no op defines '%q'" in capsys.readouterr().err
