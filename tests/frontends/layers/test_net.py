"""Nets of layers: what they are asked for, how they are changed, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_nets import LENET, PERCEPTRON, inputs_of, weights_of

from dlir.frontends.layers import Net
from dlir.frontends.optimizers import SGD
from dlir.frontends.symbolic import Parameter, Variable, compile, nd, nn
from dlir.ir.errors import DlirError
from dlir.textir.weights import write_tensors


def perceptron() -> Net:
    return Net.from_text(PERCEPTRON, weights_of(PERCEPTRON))


def test_a_text_with_a_file_of_weights(tmp_path):
    write_tensors(tmp_path / "w.safetensors", weights_of(LENET))
    x, labels = inputs_of(LENET)
    net = Net.from_text(LENET, tmp_path / "w.safetensors")
    want = Net.from_text(LENET, weights_of(LENET))(x, labels)
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(net(x, labels), want, strict=True))


def test_a_trained_net_is_saved_and_read(tmp_path):
    net = perceptron().insert("h1", lambda h: nd.tanh(h * 2.0), "sharper")
    x, labels = inputs_of(PERCEPTRON)
    step = net.compile_training(SGD(0.1))
    for _ in range(3):
        step(x, labels)
    net.save(tmp_path / "net.safetensors")
    again = Net.from_file(tmp_path / "net.safetensors")
    assert list(again.layers) == list(net.layers) and "sharper" in again.layers
    assert again.loss.name == "loss"
    for name, value in net.gradients(x, labels).items():
        assert np.array_equal(again.gradients(x, labels)[name], value)


def test_examples_are_nets(examples_dir):
    net = Net.from_file(examples_dir / "digits.dlir", backend="ref")
    found = net.activations(np.random.default_rng(0).random((64, 64), np.float32))
    assert {"h1", "h2", "logits", "y"} <= found.keys()
    np.testing.assert_allclose(found["y"].sum(axis=1), 1, rtol=1e-5)


def test_layers_without_names_are_called_after_their_ops():
    x = Variable("x")
    net = Net([nd.tanh(nd.tanh(x)) + 1.0])
    assert list(net.layers) == ["tanh_1", "tanh_2", "add_1"]


def test_a_layer_is_replaced_where_it_stands():
    x, labels = inputs_of(PERCEPTRON)
    net = perceptron()
    relu = net.replace("h2", lambda h, w, b: nd.maximum(h @ w + b, 0.0))
    assert (relu.activations(x, labels)["h2"] >= 0).all() and not (net.activations(x, labels)["h2"] >= 0).all()
    assert list(relu.parameters) == list(net.parameters)


def test_layerwise_gradients_of_branches_and_of_ops_with_several_results():
    rng = np.random.default_rng(0)
    shape = (8, 3)
    gamma, beta = Parameter("gamma", rng.random(3)), Parameter("beta", rng.random(3))
    w = Parameter("w", rng.standard_normal((3, 3)))
    frozen = Parameter("frozen", rng.standard_normal(3), trainable=False)
    x = Variable("x")
    h = x @ w
    y, mean, _ = nn.batch_norm_train(h, gamma, beta, np.zeros(3), np.ones(3))
    loss = nd.mean((y * h + frozen) ** 2.0) + nd.sum(mean) + nd.sum(nd.concat([w, w], axis=0))
    net = Net([loss.named("loss")])
    inputs = rng.standard_normal(shape)
    executor = net.layerwise()
    np.testing.assert_allclose(executor.forward(inputs), compile(loss)(inputs))
    want, got = net.gradients(inputs), executor.backward()
    assert sorted(want) == sorted(got) == ["beta", "gamma", "w"]
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-9, atol=1e-12)


def test_layerwise_gradients_keep_the_dtype_where_numbers_are_chosen_from():
    w, x = Parameter("w", np.array([1.0, -2.0, 3.0], np.float32)), Variable("x")
    h = w * x
    loss = nd.sum(nd.select(h > 0.0, 1.0, 0.1) * h * nd.select(h > 2.0, 3, 1)).named("loss")
    net = Net([loss])
    at = np.array([1.0, 1.0, 1.0], np.float32)
    executor = net.layerwise()
    assert executor.forward(at).dtype == np.float32
    (got,), (want,) = executor.backward().values(), net.gradients(at).values()
    assert got.dtype == want.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(want, [1.0, 0.1, 3.0], rtol=1e-6)


def mistake(call, message, hint=""):
    with pytest.raises(DlirError) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    assert message in diagnostic.message and hint in (diagnostic.hint or "")


def test_mistakes():
    net, (x, labels) = perceptron(), inputs_of(PERCEPTRON)
    mistake(lambda: net.replace("h3", nd.tanh), "no layer 'h3'", "layers: h1, h2")
    mistake(lambda: net.insert("h1", lambda h: 1.0), "must be a node")
    mistake(lambda: net(x, labels, x), "the net takes 2 inputs (x, labels), got 3")
    mistake(lambda: net.activations(x, lables=labels), "there is no input 'lables'", "did you mean 'labels'?")
    mistake(lambda: Net([Variable("x") + 1.0]).gradients(1.0), "the net has no loss", "with_loss")
    mistake(lambda: Net.from_text(PERCEPTRON, {}), "no weights are given for 'w1'")
    wrong = {**weights_of(PERCEPTRON), "w1": np.zeros((2, 2), np.float32)}
    mistake(lambda: Net.from_text(PERCEPTRON, wrong), "'w1' has shape 2x2")
    mistake(lambda: Net.from_text(PERCEPTRON, weights_of(PERCEPTRON), entry="mian"), "no function '@mian'", "main")
    mistake(net.layerwise().backward, "nothing to go back through", "forward")
    mistake(lambda: net.layerwise().forward(x), "input 'labels' is missing")
    vector = Net([Parameter("w", np.ones(3)) * Variable("x")], loss=None)
    vector = Net(vector.outputs, loss=vector.outputs[0])
    mistake(lambda: vector.gradients(np.ones(3)), "the loss must be a scalar")
