"""Variables that calls change: optimisers step by step, whose values are seen when, stores, atomicity, on every backend."""

from __future__ import annotations

import gc
import signal
import threading

import numpy as np
import pytest
from support.cuda import need_simulator

from dlir.backends.compiler import compile_module, lower_module
from dlir.backends.cuda.sim.module import KernelFault
from dlir.backends.registry import find_backend
from dlir.backends.variables import VariableStore
from dlir.ir.errors import DlirError
from dlir.passes.manager import PassManager
from dlir.passes.pipelines import pipeline_for
from dlir.textir import parse

CONFIGURATIONS = [("ref", "O2"), *((b, level) for b in ("cpu", "cuda-sim") for level in ("O0", "O1", "O2"))]


@pytest.fixture(params=CONFIGURATIONS, ids=lambda item: "-".join(item))
def compiled(request):
    """``compiled(text, weights)``: a program of one of the backends and levels."""
    backend, level = request.param
    if backend == "cuda-sim":
        need_simulator()
    return lambda text, weights=None, **options: compile_module(
        parse(text), weights, backend=backend, level=level, **options
    )


def variable(name, shape, value=0.0):
    type = f"tensor<{'x'.join(map(str, shape))}{'x' if shape else ''}f32>"
    return f"state.variable @{name} {{init = dense<{value}> : {type}, type = {type}}}"


# Linear regression, 12 x 5 -> 3; the gradient is written out.
HEAD = """
func.func @main(%x: tensor<12x5xf32>, %t: tensor<12x3xf32>) -> tensor<f32> {
  %w = state.read @w
  %b = state.read @b
  %p = nd.matmul %x, %w
  %bb = nd.broadcast_to %b {shape = [12, 3]}
  %q = nd.add %p, %bb
  %e = nd.sub %q, %t
  %xt = nd.transpose %x {perm = [1, 0]}
  %gw = nd.matmul %xt, %e
  %gb = nd.sum %e {axes = [0]}
  %e2 = nd.mul %e, %e
  %loss = nd.sum %e2
"""
OPTIMISERS = {
    "sgd": """
  %lw{P} = nd.mul %g{P}, {RATE}
  %n{P} = nd.sub %{P}, %lw{P}
  state.write @{P}, %n{P}
""",
    "momentum": """
  %m{P} = state.read @m{P}
  %mm{P} = nd.mul %m{P}, {BETA}
  %nm{P} = nd.add %mm{P}, %g{P}
  %lw{P} = nd.mul %nm{P}, {RATE}
  %n{P} = nd.sub %{P}, %lw{P}
  state.write @{P}, %n{P}
  state.write @m{P}, %nm{P}
""",
    "adam": """
  %m{P} = state.read @m{P}
  %v{P} = state.read @v{P}
  %mm{P} = nd.mul %m{P}, {BETA}
  %mg{P} = nd.mul %g{P}, {REST}
  %nm{P} = nd.add %mm{P}, %mg{P}
  %vv{P} = nd.mul %v{P}, {BETA2}
  %g2{P} = nd.mul %g{P}, %g{P}
  %vg{P} = nd.mul %g2{P}, {REST2}
  %nv{P} = nd.add %vv{P}, %vg{P}
  %c1{P} = nd.broadcast_to %c1 {shape = {SHAPE}}
  %c2{P} = nd.broadcast_to %c2 {shape = {SHAPE}}
  %mh{P} = nd.div %nm{P}, %c1{P}
  %vh{P} = nd.div %nv{P}, %c2{P}
  %r{P} = nd.sqrt %vh{P}
  %re{P} = nd.add %r{P}, {EPS}
  %d{P} = nd.div %mh{P}, %re{P}
  %lw{P} = nd.mul %d{P}, {RATE}
  %n{P} = nd.sub %{P}, %lw{P}
  state.write @{P}, %n{P}
  state.write @m{P}, %nm{P}
  state.write @v{P}, %nv{P}
""",
}
# The powers of the betas are variables, too.
ADAM_CLOCK = """
  %p1 = state.read @p1
  %p2 = state.read @p2
  %np1 = nd.mul %p1, %beta_
  %np2 = nd.mul %p2, %beta2_
  %one_ = nd.constant {value = dense<1.0> : tensor<f32>}
  %c1 = nd.sub %one_, %np1
  %c2 = nd.sub %one_, %np2
  state.write @p1, %np1
  state.write @p2, %np2
"""
NUMBERS = {"RATE": 0.02, "BETA": 0.9, "REST": 0.1, "BETA2": 0.99, "REST2": 0.01, "EPS": 1e-8}
SHAPES = {"w": (5, 3), "b": (3,)}


def training(optimiser):
    lines, body = [], HEAD
    for name, shape in SHAPES.items():
        lines.append(f"state.variable @{name} {{init = dense_resource<{name}> : {type_of(shape)}, type = {type_of(shape)}}}")
        for prefix in {"sgd": "", "momentum": "m", "adam": "mv"}[optimiser]:
            lines.append(variable(prefix + name, shape))
        for key, number in NUMBERS.items():
            body += f"  %{key.lower()}{name} = nd.constant {{value = dense<{number}> : {type_of(shape)}}}\n"
    if optimiser == "adam":
        lines += [variable("p1", (), 1.0), variable("p2", (), 1.0)]
        body += "".join(
            f"  %{key.lower()}_ = nd.constant {{value = dense<{NUMBERS[key]}> : tensor<f32>}}\n"
            for key in ("BETA", "BETA2")
        )
        body += ADAM_CLOCK
    for name, shape in SHAPES.items():
        text = OPTIMISERS[optimiser]
        for key in NUMBERS:
            text = text.replace(f"{{{key}}}", f"%{key.lower()}{name}")
        body += text.replace("{P}", name).replace("{SHAPE}", str(list(shape)))
    return "\n".join(lines) + body + "  return %loss\n}\n"


def type_of(shape):
    return f"tensor<{'x'.join(map(str, shape))}xf32>"


def numpy_training(optimiser, w, b, batches):
    """The same in float64."""
    values = {"w": w.astype(float), "b": b.astype(float)}
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    v = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    losses = []
    for step, (x, t) in enumerate(batches, 1):
        e = x @ values["w"] + values["b"] - t
        losses.append((e * e).sum())
        for name, g in (("w", x.T @ e), ("b", e.sum(0))):
            if optimiser == "sgd":
                d = g
            elif optimiser == "momentum":
                d = m[name] = 0.9 * m[name] + g
            else:
                m[name] = 0.9 * m[name] + 0.1 * g
                v[name] = 0.99 * v[name] + 0.01 * g * g
                d = m[name] / (1 - 0.9**step) / (np.sqrt(v[name] / (1 - 0.99**step)) + 1e-8)
            values[name] = values[name] - 0.02 * d
    return values, losses


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_hundred_steps_are_those_of_numpy(compiled, optimiser):
    rng = np.random.default_rng(7)
    first = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    goal = rng.standard_normal((5, 3), dtype=np.float32)
    xs = 0.3 * rng.standard_normal((100, 12, 5), dtype=np.float32)
    batches = [(x, x @ goal + 1) for x in xs]
    program = compiled(training(optimiser), first.__getitem__)
    losses = [program(x, t)[0] for x, t in batches]
    values, want = numpy_training(optimiser, first["w"], first["b"], batches)
    np.testing.assert_allclose(losses, want, rtol=2e-4, atol=1e-4)
    assert losses[-1] < losses[0] / 2
    for name, value in values.items():
        np.testing.assert_allclose(program.variables[name], value, rtol=2e-4, atol=2e-5)
