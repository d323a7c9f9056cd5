"""S3: one graph per model, compiled once for each set of argument shapes."""

from __future__ import annotations

import numpy as np

from dlir.frontends.symbolic import Variable, compile, nn


def lenet():
    v = Variable
    h = nn.max_pool2d(nn.tanh(nn.conv2d(v("x"), v("k1"), v("c1"))), kernel=(2, 2))
    h = nn.max_pool2d(nn.tanh(nn.conv2d(h, v("k2"), v("c2"))), kernel=(2, 2))
    h = nn.dense(nn.flatten(h), v("w1"), v("b1"), activation="tanh")
    return nn.softmax(nn.dense(h, v("w2"), v("b2")))


def lenet_inputs(batch: int = 2):
    shapes = {"x": (batch, 1, 12, 12), "k1": (4, 1, 3, 3), "c1": (4,), "k2": (6, 4, 2, 2), "c2": (6,)}
    shapes.update(w1=(24, 16), b1=(16,), w2=(16, 10), b2=(10,))
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_hundred_calls_of_one_shape_compile_once(measured):
    f = compile(lenet())
    inputs = lenet_inputs()
    first = f(**inputs)
    for _ in range(99):
        assert np.array_equal(f(**inputs), first)
    assert f.compilations == 1
    measured(f"LeNet: 100 calls, {f.compilations} compilation")
    f(**lenet_inputs(batch=3))
    assert f.compilations == 2
    assert "new shape of 'x': tensor<3x1x12x12xf32>, was tensor<2x1x12x12xf32>" in f.explain()


def test_the_model_is_one_module_with_one_function(measured):
    module = compile(lenet()).lower(**lenet_inputs()).module
    assert [op.name for op in module.body.ops] == ["func.func"]
    measured("the model is one module with one function")
