"""The cases of ``peers.py``: for each, how dlir and each peer that is installed computes it.

A contestant is a function of nothing that computes the case once.  `fresh` ones return new outputs each time; `reused` ones
write into outputs that were made before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from networks import Net, gpt2_block, jax_ops, lenet, resnet18, torch_ops

from dlir.backends.compiler import compile_module
from dlir.frontends.symbolic import Variable, compile, nd, nn

Call = Callable[[], Any]
F32 = np.float32


@dataclass
class Case:
    """One thing to compute; `want` is the answer, checked for every contestant before timing."""

    name: str
    want: np.ndarray
    fresh: dict[str, Call] = field(default_factory=dict)
    reused: dict[str, Call] = field(default_factory=dict)
    inner: int = 1
    tolerance: float = 1e-4


def optional(name: str) -> Any:
    """Module `name`, or None when it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def onnx_session(
    nodes: list[Any],
    inputs: dict[str, np.ndarray],
    threads: int,
    shape: tuple[int, ...],
    weights: dict[str, np.ndarray] | None = None,
) -> Any:
    """An onnxruntime session for a list of ONNX nodes whose last output is ``y``; None without the packages.

    `weights` become initialisers, which onnxruntime may lay out as it likes.
    """
    ort, onnx = optional("onnxruntime"), optional("onnx")
    if ort is None or onnx is None:
        return None
    h, kind = onnx.helper, onnx.TensorProto.FLOAT
    values = [h.make_tensor_value_info(name, kind, list(array.shape)) for name, array in inputs.items()]
    arrays = [onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = h.make_graph(nodes, "case", values, [h.make_tensor_value_info("y", kind, list(shape))], arrays)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def add_onnx(
    case: Case,
    nodes: list[Any],
    inputs: dict[str, np.ndarray],
    threads: int,
    weights: dict[str, np.ndarray] | None = None,
) -> None:
    """Add onnxruntime, with fresh outputs and with a bound one."""
    session = onnx_session(nodes, inputs, threads, case.want.shape, weights)
    if session is None:
        return
    case.fresh["onnxruntime"] = lambda: session.run(None, inputs)[0]
    binding, out = session.io_binding(), np.empty_like(case.want)
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    binding.bind_output("y", "cpu", 0, F32, out.shape, out.ctypes.data)

    def bound() -> np.ndarray:
        session.run_with_iobinding(binding)
        return out

    case.reused["onnxruntime"] = bound


def add_torch(case: Case, function: Callable[..., Any], inputs: dict[str, np.ndarray]) -> None:
    """Add torch, eager and compiled."""
    torch = optional("torch")
    if torch is None:
        return
    tensors = [torch.from_numpy(array) for array in inputs.values()]

    def in_mode(run: Callable[..., Any]) -> Call:
        def call() -> Any:
            with torch.inference_mode():
                return run(*tensors)

        return call

    case.fresh["torch"] = in_mode(function)
    compiled = in_mode(torch.compile(function, dynamic=False))
    try:
        compiled()
    except Exception as error:  # needs a C++ compiler, which may be missing
        print(f"torch.compile is left out: {type(error).__name__}")
        return
    case.fresh["torch.compile"] = compiled


def add_jax(case: Case, function: Callable[..., Any], inputs: dict[str, np.ndarray]) -> None:
    """Add JAX, jitted."""
    jax = optional("jax")
    if jax is None:
        return
    jitted = jax.jit(function)
    arrays = [jax.numpy.asarray(array) for array in inputs.values()]
    case.fresh["jax"] = lambda: jitted(*arrays).block_until_ready()


def add_dlir(case: Case, node: Any, inputs: dict[str, np.ndarray]) -> None:
    """Add dlir, with fresh outputs and with ``out=``."""
    function = compile(node)
    program = function.lower(**inputs)
    arrays = [inputs[name] for name in function.names]
    out = np.empty_like(case.want)
    case.fresh["dlir"] = lambda: program(*arrays)[0]
    case.reused["dlir"] = lambda: program(*arrays, out=[out])[0]


def sigmoid_chain(threads: int, size: int = 1 << 24) -> Case:
    """sigmoid(a*b+c)*d, elementwise."""
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal(size, dtype=F32) for name in "abcd"}
    a, b, c, d = x.values()
    one = F32(1)

    def in_numpy() -> np.ndarray:
        return one / (one + np.exp(-(a * b + c))) * d

    case = Case(f"sigmoid(a*b+c)*d, {size >> 20}M", in_numpy())
    va, vb, vc, vd = map(Variable, "abcd")
    add_dlir(case, nd.sigmoid(va * vb + vc) * vd, x)
    case.fresh["numpy"] = in_numpy
    out = np.empty_like(a)

    def numpy_reused() -> np.ndarray:
        np.multiply(a, b, out=out)
        np.add(out, c, out=out)
        np.negative(out, out=out)
        np.exp(out, out=out)
        np.add(out, one, out=out)
        np.divide(one, out, out=out)
        return np.multiply(out, d, out=out)

    case.reused["numpy"] = numpy_reused
    numexpr = optional("numexpr")
    if numexpr is not None:
        numexpr.set_num_threads(threads)
        text = "1/(1+exp(-(a*b+c)))*d"
        case.fresh["numexpr"] = lambda: numexpr.evaluate(text, local_dict=x)
        buffer = np.empty_like(a)
        case.reused["numexpr"] = lambda: numexpr.evaluate(text, local_dict=x, out=buffer)
    torch, jax = optional("torch"), optional("jax")
    if torch is not None:
        add_torch(case, lambda a, b, c, d: torch.sigmoid(a * b + c) * d, x)
        ta, tb, tc, td = map(torch.from_numpy, x.values())
        tout = torch.empty_like(ta)

        def torch_reused() -> Any:
            with torch.inference_mode():
                torch.mul(ta, tb, out=tout).add_(tc).sigmoid_().mul_(td)
            return tout

        case.reused["torch"] = torch_reused
    if jax is not None:
        add_jax(case, lambda a, b, c, d: jax.nn.sigmoid(a * b + c) * d, x)
    onnx = optional("onnx")
    if onnx is not None:
        node = onnx.helper.make_node
        nodes = [node("Mul", ["a", "b"], ["t"]), node("Add", ["t", "c"], ["u"]), node("Sigmoid", ["u"], ["s"])]
        add_onnx(case, [*nodes, node("Mul", ["s", "d"], ["y"])], x, threads)
    return case


def softmax(threads: int, rows: int = 8192, columns: int = 1024) -> Case:
    """Softmax along the last axis."""
    x = {"x": np.random.default_rng(0).standard_normal((rows, columns), dtype=F32)}

    def in_numpy() -> np.ndarray:
        e = np.exp(x["x"] - x["x"].max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    case = Case(f"softmax ({rows},{columns})", in_numpy())
    add_dlir(case, nn.softmax(Variable("x"), axis=-1), x)
    case.fresh["numpy"] = in_numpy
    torch, jax, onnx = optional("torch"), optional("jax"), optional("onnx")
    if torch is not None:
        add_torch(case, lambda x: torch.softmax(x, 1), x)
        tensor, out = torch.from_numpy(x["x"]), torch.empty(rows, columns)
        case.reused["torch"] = lambda: torch.softmax(tensor, 1, out=out)
    if jax is not None:
        add_jax(case, lambda x: jax.nn.softmax(x, 1), x)
    if onnx is not None:
        add_onnx(case, [onnx.helper.make_node("Softmax", ["x"], ["y"], axis=-1)], x, threads)
    return case


def layer_norm(threads: int, rows: int = 8192, columns: int = 1024) -> Case:
    """Affine layer normalisation of the last axis."""
    rng = np.random.default_rng(0)
    x = {"x": rng.standard_normal((rows, columns), dtype=F32)}
    x.update({name: rng.standard_normal(columns, dtype=F32) for name in ("g", "b")})

    def in_numpy() -> np.ndarray:
        mean = x["x"].mean(1, keepdims=True)
        centred = x["x"] - mean
        return centred / np.sqrt((centred * centred).mean(1, keepdims=True) + F32(1e-5)) * x["g"] + x["b"]

    case = Case(f"layer norm ({rows},{columns})", in_numpy())
    add_dlir(case, nn.layer_norm(*map(Variable, "xgb"), epsilon=1e-5), x)
    case.fresh["numpy"] = in_numpy
    torch, jax, onnx = optional("torch"), optional("jax"), optional("onnx")
    if torch is not None:
        add_torch(case, lambda x, g, b: torch.nn.functional.layer_norm(x, (columns,), g, b, 1e-5), x)
    if jax is not None:

        def in_jax(x: Any, g: Any, b: Any) -> Any:
            mean = x.mean(1, keepdims=True)
            return (x - mean) * jax.lax.rsqrt(x.var(1, keepdims=True) + 1e-5) * g + b

        add_jax(case, in_jax, x)
    if onnx is not None:
        node = onnx.helper.make_node("LayerNormalization", ["x", "g", "b"], ["y"], axis=-1, epsilon=1e-5)
        add_onnx(case, [node], x, threads)
    return case


def mlp(threads: int, sizes: tuple[int, ...] = (784, 512, 512, 10), batch: int = 256) -> Case:
    """Three dense layers, ReLU between them."""
    rng = np.random.default_rng(0)
    x = {"x": rng.standard_normal((batch, sizes[0]), dtype=F32)}
    for number, (n, m) in enumerate(pairwise(sizes)):
        x[f"w{number}"] = (rng.standard_normal((n, m)) / np.sqrt(n)).astype(F32)
        x[f"b{number}"] = rng.standard_normal(m, dtype=F32)

    def in_numpy() -> np.ndarray:
        h = np.maximum(x["x"] @ x["w0"] + x["b0"], 0)
        h = np.maximum(h @ x["w1"] + x["b1"], 0)
        return h @ x["w2"] + x["b2"]

    case = Case(f"MLP {'-'.join(map(str, sizes))} batch {batch}", in_numpy(), tolerance=1e-3)
    v = {name: Variable(name) for name in x}
    h = nn.dense(v["x"], v["w0"], v["b0"], activation="relu")
    h = nn.dense(h, v["w1"], v["b1"], activation="relu")
    add_dlir(case, nn.dense(h, v["w2"], v["b2"]), x)
    case.fresh["numpy"] = in_numpy
    torch, jax, onnx = optional("torch"), optional("jax"), optional("onnx")
    if torch is not None:

        def in_torch(x: Any, w0: Any, b0: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
            h = torch.relu(torch.addmm(b0, x, w0))
            return torch.addmm(b2, torch.relu(torch.addmm(b1, h, w1)), w2)

        add_torch(case, in_torch, x)
    if jax is not None:

        def in_jax(x: Any, w0: Any, b0: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
            relu = jax.nn.relu
            return relu(relu(x @ w0 + b0) @ w1 + b1) @ w2 + b2

        add_jax(case, in_jax, x)
    if onnx is not None:
        node = onnx.helper.make_node
        nodes = [node("Gemm", ["x", "w0", "b0"], ["p"]), node("Relu", ["p"], ["q"])]
        nodes += [node("Gemm", ["q", "w1", "b1"], ["r"]), node("Relu", ["r"], ["s"])]
        add_onnx(case, [*nodes, node("Gemm", ["s", "w2", "b2"], ["y"])], x, threads)
    return case


def five_ops(threads: int, size: int = 10) -> Case:
    """Five elementwise ops on ten elements: what a call costs."""
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal(size, dtype=F32) for name in "abc"}
    a, b, c = x.values()

    def in_numpy() -> np.ndarray:
        return np.maximum((a * b + c) - a, b) * c

    case = Case(f"five ops on {size} elements", in_numpy(), inner=1000)
    va, vb, vc = map(Variable, "abc")
    add_dlir(case, nd.maximum((va * vb + vc) - va, vb) * vc, x)
    case.fresh["numpy"] = in_numpy
    torch, jax = optional("torch"), optional("jax")
    if torch is not None:
        add_torch(case, lambda a, b, c: torch.maximum((a * b + c) - a, b) * c, x)
    if jax is not None:
        add_jax(case, lambda a, b, c: jax.numpy.maximum((a * b + c) - a, b) * c, x)
    return case


def network(name: str, net: Net, threads: int, tolerance: float = 1e-3) -> Case:
    """A whole network whose weights are frozen: no input, and each contestant may prepare them."""
    x = {"x": np.random.default_rng(1).standard_normal(net.shape, dtype=F32)}
    program = compile_module(net.to_dlir(), net.weights.__getitem__)
    case = Case(name, program(x["x"])[0].copy(), tolerance=tolerance)
    out = np.empty_like(case.want)
    case.fresh["dlir"] = lambda: program(x["x"])[0]
    case.reused["dlir"] = lambda: program(x["x"], out=[out])[0]
    torch, jax, onnx = optional("torch"), optional("jax"), optional("onnx")
    if torch is not None:
        import torch._inductor.config as inductor

        # Weights of modules are what freezing takes.
        inductor.freezing = True
        module = torch.nn.Module()
        for key, array in net.weights.items():
            module.register_parameter(key, torch.nn.Parameter(torch.from_numpy(array), requires_grad=False))
        in_torch = torch_ops(torch)
        module.forward = lambda x: net.apply(in_torch, x, dict(module.named_parameters()))
        add_torch(case, module.eval(), x)
    if jax is not None:
        in_jax, weights = jax_ops(jax), {key: jax.numpy.asarray(array) for key, array in net.weights.items()}
        add_jax(case, lambda x: net.apply(in_jax, x, weights), x)
    if onnx is not None:
        nodes, arrays = net.to_onnx(onnx)
        add_onnx(case, nodes, x, threads, arrays)
    return case


def lenet_64(threads: int) -> Case:
    """LeNet-5 on 64 images."""
    return network("LeNet-5 batch 64", lenet(64), threads)


def resnet_1(threads: int) -> Case:
    """ResNet-18 on one image."""
    return network("ResNet-18 batch 1", resnet18(1), threads)


def resnet_8(threads: int) -> Case:
    """ResNet-18 on eight images."""
    return network("ResNet-18 batch 8", resnet18(8), threads)


def gpt2(threads: int) -> Case:
    """A block of GPT-2."""
    return network("GPT-2 block, 256 tokens", gpt2_block(256), threads)


CASES = (sigmoid_chain, softmax, layer_norm, mlp, five_ops, lenet_64, resnet_1, resnet_8, gpt2)
