"""What is saved comes back: graphs without shapes, parameters with their values, functions with their updates."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dlir.frontends.symbolic import (
    Constant,
    Parameter,
    Variable,
    compile,
    load,
    load_function,
    nd,
    nn,
    random,
    save,
)
from dlir.ir.errors import DlirError
from dlir.textir import parse_file
from dlir.textir.checkpoint import save_checkpoint


def graph():
    a, b = Variable("A"), Variable("B")
    d = (b * a + Constant(1)).named("D")
    large = Constant(np.arange(100.0).reshape(10, 10))
    joined = nd.concat([a, b, a], axis=0) * nd.sum(large)
    return [
        d,
        joined,
        nn.dense(nd.reshape(a, shape=(1, -1)), nd.reshape(b, shape=(-1, 1))),
        *d.grad([a, b]),
        2.5 + Constant(True) * a,
    ]


def test_a_graph_comes_back_without_shapes(tmp_path):
    nodes = graph()
    save(tmp_path / "g.safetensors", nodes)
    found = load(tmp_path / "g.safetensors")
    assert [str(node) for node in found] == [str(node) for node in nodes]
    for size in (3, 5):
        arrays = {"A": np.linspace(0, 1, size), "B": np.linspace(1, 2, size)}
        for mine, theirs in zip(compile(nodes)(**arrays), compile(found)(**arrays), strict=True):
            assert np.array_equal(mine, theirs)


def test_a_single_node_comes_back_as_one(tmp_path):
    node = graph()[0]
    node.save(tmp_path / "d.safetensors")
    assert str(load(tmp_path / "d.safetensors")) == str(node)
    save(tmp_path / "l.safetensors", [node])
    assert isinstance(load(tmp_path / "l.safetensors"), list)


def test_numbers_stay_numbers_and_arrays_stay_arrays(tmp_path):
    """A Python number takes the dtype of what it meets, an array of rank 0 does not."""
    x = Variable("x")
    save(tmp_path / "n.safetensors", [x + 1.0, x + 1, x * np.float64(2)])
    found = compile(load(tmp_path / "n.safetensors"))(x=np.float32(1))
    assert [item.dtype for item in found] == [np.float32, np.float32, np.float64]


def test_parameters_keep_their_values_and_are_new_ones(tmp_path):
    w = Parameter("w", np.zeros(3))
    w.value = np.arange(3.0)
    (w * Variable("x")).save(tmp_path / "w.safetensors")
    found = load(tmp_path / "w.safetensors")
    w.value = np.ones(3)
    assert np.array_equal(compile(found)(x=np.ones(3)), np.arange(3.0))


def test_a_fresh_process_needs_no_code_of_the_user(tmp_path):
    w = Parameter("w", np.arange(6.0).reshape(2, 3))
    x = Variable("x")
    nd.tanh(x @ w).save(tmp_path / "net.safetensors")
    code = (
        "import sys, numpy as np; from dlir.frontends.symbolic import compile, load;"
        "np.save(sys.argv[2], compile(load(sys.argv[1]))(x=np.ones((4, 2))))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "net.safetensors", tmp_path / "y.npy"], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), np.tanh(np.ones((4, 2)) @ w.value), rtol=1e-12)


def test_a_function_comes_back_with_updates_and_donations(tmp_path):
    a, b = Parameter("a", np.arange(3.0)), Parameter("b", np.zeros(3))
    f = compile([], updates={a: b, b: a + Variable("x")}, donate=["x"])
    f.save(tmp_path / "f.safetensors")
    g = load_function(tmp_path / "f.safetensors", backend="ref")
    assert g.graph.donate == ("x",)
    g(x=np.ones(3))
    found = {item.name: item.value for item in g.parameters}
    assert np.array_equal(found["a"], np.zeros(3)) and np.array_equal(found["b"], np.arange(3.0) + 1)
    assert np.array_equal(a.value, np.arange(3.0))


def test_an_exported_module_is_ordinary_ir(tmp_path):
    w = Parameter("w", np.arange(3.0))
    f = compile(w * Variable("x"))
    f.export(tmp_path / "f.safetensors", x=np.ones(3))
    assert [op.name for op in parse_file(tmp_path / "f.safetensors").module.body.ops] == ["state.variable", "func.func"]
    assert np.array_equal(compile(load(tmp_path / "f.safetensors"))(x=np.full(3, 2.0)), [0, 2, 4])


def test_first_values_that_were_never_needed_are_computed_for_the_file(tmp_path):
    w = Parameter("w", random.normal(random.key(seed=0), shape=(4,)))
    w.save(tmp_path / "w.safetensors")
    assert np.array_equal(compile(load(tmp_path / "w.safetensors"))(), w.value)


def test_files_that_do_not_fit_are_diagnosed(tmp_path):
    path = tmp_path / "g.safetensors"
    graph()[0].save(path)
    module = parse_file(path).module
    text_of = {op.name: op for op in module.walk()}
    text_of["symbolic.nd.mul"].name = "symbolic.nd.mull"
    save_checkpoint(path, module, {})
    with pytest.raises(DlirError, match=r"op 'nd\.mull', which is not known"):
        load(path)
    (tmp_path / "k.dlir").write_text("func.func @main(%x: memref<4xf32>) { return }")
    (tmp_path / "l.dlir").write_text(
        "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> { %y = kernel.region %x ({ ^bb0(%a: tensor<4xf32>): kernel.yield %a }) : tensor<4xf32> return %y }"
    )
    with pytest.raises(DlirError, match="is no op of a graph"):
        load(tmp_path / "l.dlir")
