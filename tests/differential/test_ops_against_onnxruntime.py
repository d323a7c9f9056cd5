"""Ops that have ONNX's names and attributes give what onnxruntime gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.torch_peer import assert_near, run_all

from dlir.ir.ops import nd, nn

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

OPSET = 21


def run_onnx(op: str, arrays: list[np.ndarray], attributes: dict[str, Any]) -> np.ndarray:
    """The first result of a model of one node."""
    names = [f"x{i}" for i in range(len(arrays))]
    node = onnx.helper.make_node(op, names, ["y"], **attributes)
    kind = onnx.helper.np_dtype_to_tensor_dtype
    inputs = [onnx.helper.make_tensor_value_info(n, kind(a.dtype), a.shape) for n, a in zip(names, arrays)]
    output = onnx.ValueInfoProto(name="y")
    graph = onnx.helper.make_graph([node], "g", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, arrays)))[0]


Case = tuple[str, Callable[..., Any], list[np.ndarray], list[np.ndarray], dict[str, Any]]


def cases() -> list[Case]:
    """ONNX's op, ours, our operands, ONNX's further operands, ONNX's attributes."""
    rng = np.random.default_rng(0)
    x = (3 * rng.normal(size=(4, 5, 6))).astype("f4")
    axis = [np.asarray(1)]
    found: list[Case] = [
        ("Gelu", nd.gelu, [x], [], {}),
        ("Gelu", lambda x: nd.gelu(x, approximate="tanh"), [x], [], {"approximate": "tanh"}),
        ("HardSwish", nd.hardswish, [x], [], {}),
        ("HardSigmoid", lambda x: nd.hardsigmoid(x, alpha=0.2, beta=0.4), [x], [], {"alpha": 0.2, "beta": 0.4}),
        ("Elu", lambda x: nd.elu(x, alpha=0.5), [x], [], {"alpha": 0.5}),
        ("LeakyRelu", lambda x: nd.leaky_relu(x, alpha=0.3), [x], [], {"alpha": 0.3}),
        ("LogSoftmax", lambda x: nd.log_softmax(x, axis=1), [x], [], {"axis": 1}),
        ("ArgMin", lambda x: nd.argmin(x, axis=1, keepdims=True), [x], [], {"axis": 1}),
        ("ReduceProd", lambda x: nd.prod(x, axes=(1,)), [x], [np.array([1])], {"keepdims": 0}),
        ("GlobalAveragePool", nn.global_avg_pool2d, [x[None]], [], {}),
        ("GlobalMaxPool", nn.global_max_pool2d, [x[None]], [], {}),
    ]
    weights = [rng.normal(size=4).astype("f4") for _ in range(2)]
    norm = partial(nn.group_norm, groups=2)
    found.append(("GroupNormalization", norm, [x.reshape(5, 4, 6).copy(), *weights], [], {"num_groups": 2}))
    for exclusive in (False, True):
        for reverse in (False, True):
            flags = {"exclusive": int(exclusive), "reverse": int(reverse)}
            ours = partial(nd.cumsum, axis=1, exclusive=exclusive, reverse=reverse)
            found.append(("CumSum", ours, [x], axis, flags))
            found.append(("CumSum", ours, [rng.integers(-9, 9, (3, 4))], axis, flags))
    return found


@pytest.mark.parametrize("backend", ["ref", "cpu"])
def test_ops(backend: str) -> None:
    table = cases()
    found = run_all([ours for _, ours, *_ in table], [arrays for _, _, arrays, *_ in table], backend)
    for (name, _, arrays, more, attributes), got in zip(table, found, strict=True):
        assert_near(name, got, run_onnx(name, [*arrays, *more], attributes), 2e-5)
