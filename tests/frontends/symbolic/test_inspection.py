"""A lowered function shows its IR at each stage, its sources, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Parameter, Spec, Variable, compile, nd, nn
from dlir.textir import parse

X, W, B = map(Variable, "xwb")
SPECS = {"x": Spec((64, 32)), "w": Spec((32, 16)), "b": Spec((16,))}


def program(**options):
    return compile(nn.softmax(nn.dense(X, W, B, activation="relu"), axis=1), **options).lower(**SPECS)


def test_stages_are_programs_that_read_back():
    found = program()
    texts = {stage: found.as_text(stage) for stage in ("source", "array", "fused", "bufferized", "planned", "lowered")}
    assert "nn.dense" in texts["source"] and "nn." not in texts["array"] and "nd.matmul" in texts["array"]
    assert texts["fused"].count("kernel.region") == found.kernels == 2
    assert "memref" in texts["bufferized"] and "memref" not in texts["fused"]
    for text in texts.values():
        parse(text)
    assert found.as_text("fuse") == texts["fused"]


def test_a_stage_may_be_any_pass_of_the_level():
    assert "kernel.region" in program(level="O0").as_text("fused")
    with pytest.raises(Exception, match="level O0 has no stage 'recognise'"):
        program(level="O0").as_text("recognise")


@pytest.mark.parametrize("backend, language, mark", [("cpu", "llvm", "define"), ("ref", None, "")])
def test_sources(backend, language, mark):
    found = program(backend=backend).sources()
    assert list(found) == ([language] if language else [])
    assert all(mark in text for text in found.values())


def test_costs_are_counted_by_kernel():
    dense, softmax = program().cost_analysis().kernels
    # Products and sums, the bias, the maximum with zero.
    assert dense.flops == 64 * 16 * (2 * 32 + 2) and dense.transcendentals == 0
    assert dense.bytes_accessed == 4 * (64 * 32 + 32 * 16 + 16 + 64 * 16)
    assert softmax.transcendentals == 64 * 16 and softmax.bytes_accessed == 2 * 4 * 64 * 16
    # Maximum, difference, sum and product of each element, and a quotient of each row.
    assert softmax.flops == 4 * 64 * 16 + 64
    total = program().cost_analysis()
    assert total.flops == dense.flops + softmax.flops
    assert str(total).splitlines()[-1].endswith("total") and len(str(total).splitlines()) == 4


def test_costs_of_a_convolution_and_of_reductions():
    found = compile(nn.conv2d(X, W)).lower(x=Spec((2, 3, 8, 8)), w=Spec((4, 3, 3, 3))).cost_analysis()
    assert found.flops == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)
    found = compile(nd.sum(X, axes=(1,))).lower(x=Spec((5, 7))).cost_analysis()
    assert (found.flops, found.transcendentals, found.bytes_accessed) == (35, 0, 4 * (35 + 5))


def test_costs_on_the_reference_are_those_of_single_ops():
    assert len(program(backend="ref").cost_analysis().kernels) > 3


def test_costs_agree_with_jax():
    jax = pytest.importorskip("jax")
    x, w = np.ones((64, 32), np.float32), np.ones((32, 16), np.float32)
    lowered = jax.jit(lambda x, w: jax.numpy.tanh(x @ w)).lower(x, w).compile().cost_analysis()
    lowered = lowered[0] if isinstance(lowered, list) else lowered
    found = compile(nd.tanh(X @ W)).lower(x=x, w=w).cost_analysis()
    assert found.transcendentals == lowered["transcendentals"] == 64 * 16
    assert found.flops == 2 * 64 * 32 * 16 == lowered["flops"]


def test_memory_answers_to_jaxs_names():
    found = program().memory_analysis()
    assert found.argument_size_in_bytes == 4 * (64 * 32 + 32 * 16 + 16) and found.output_size_in_bytes == 4 * 64 * 16


def test_a_training_step_shows_its_stages():
    w = Parameter("w", np.zeros((32, 1), np.float32))
    loss = nn.mse_loss(X @ w, Variable("y"))
    step = compile(loss, updates={w: w - 0.1 * loss.grad(w)}).lower(x=Spec((8, 32)), y=Spec((8, 1)))
    assert "diff.gradient" in step.as_text() and "diff." not in step.as_text("differentiated")
    assert "state.write" in step.as_text("fused") and step.cost_analysis().flops > 2 * 2 * 8 * 32
