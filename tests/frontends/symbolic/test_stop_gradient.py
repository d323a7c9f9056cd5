"""What is behind `stop_gradient` counts as a constant, in every derivative."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.frontends.optimizers import SGD
from dlir.frontends.symbolic import Parameter, Variable, compile, grad, jvp, load, nd, stop_gradient
from dlir.ir.errors import DlirError
from dlir.textir import parse

X = Variable("x")
AT = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("backend", ["ref", "cpu"])
@pytest.mark.parametrize("level", ["O0", "O2"])
def test_gradients_of_all_orders_and_jvp(level, backend):
    y = nd.sum(stop_gradient(X * X) * X)
    slope = y.grad(X)
    nodes = [y, slope, nd.sum(slope * X).grad(X), jvp(y, X, AT)]
    value, first, second, moved = compile(nodes, backend=backend, level=level)(AT)
    assert value == moved == 36
    np.testing.assert_allclose(first, AT**2)
    np.testing.assert_allclose(second, AT**2)


def test_as_torchs_detach():
    torch = pytest.importorskip("torch")
    t = torch.tensor(AT, requires_grad=True)
    ((t.tanh() - t.exp().detach()) ** 2).sum().backward()
    loss = nd.sum((nd.tanh(X) - stop_gradient(nd.exp(X))) ** 2.0)
    np.testing.assert_allclose(compile(loss.grad(X))(AT), t.grad.numpy())


def test_a_gradient_with_regard_to_what_is_stopped_is_there_and_goes_no_further():
    stopped = stop_gradient(X * 2.0)
    by_stopped, by_x = compile(nd.sum(stopped * stopped).grad([stopped, X]))(AT)
    np.testing.assert_allclose(by_stopped, 4 * AT)
    np.testing.assert_array_equal(by_x, np.zeros(3))


def test_a_target_network_is_not_trained():
    online, target = Parameter("online", np.ones(3)), Parameter("target", np.full(3, 2.0))
    loss = nd.sum((online * X - stop_gradient(target * X)) ** 2.0)
    compile(loss, updates=SGD(0.1).updates(loss))(AT)
    assert np.array_equal(target.value, np.full(3, 2.0)) and not np.array_equal(online.value, np.ones(3))


def test_it_is_a_value_in_files_and_in_text(tmp_path):
    y = stop_gradient(X) * X
    y.save(tmp_path / "y.safetensors")
    assert np.array_equal(compile(load(tmp_path / "y.safetensors"))(AT), AT**2)
    text = """func.func @main(%x: tensor<3xf64>) -> (tensor<3xf64>, tensor<3xf64>) {
      %s = diff.stop_gradient %x
      %y = nd.mul %s, %x
      %g = diff.gradient %y, %x
      return %y, %g
    }"""
    value, slope = compile_module(parse(text))(AT)
    assert np.array_equal(value, AT**2) and np.array_equal(slope, AT)


def test_what_is_no_node_has_no_gradient_to_stop():
    with pytest.raises(DlirError, match="cannot stop the gradient of 3, which is not a node"):
        stop_gradient(3)
    assert np.array_equal(compile(stop_gradient(X))(np.arange(3)), np.arange(3)), "integers go through, too"
    assert compile(grad(nd.sum(stop_gradient(X)), X))(AT).tolist() == [0, 0, 0]
