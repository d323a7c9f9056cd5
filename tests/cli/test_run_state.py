"""``dlir-run`` on programs that change variables: batch by batch, timed, compared, checked."""

from __future__ import annotations

import numpy as np
import pytest
from support.cli import run

from dlir.textir.safetensors_file import write_tensors

STEP = """
module attributes {dlir.data = "data.safetensors"} {
  state.variable @w {init = dense<0.5> : tensor<4x2xf32>, type = tensor<4x2xf32>}
  func.func @main(%x: tensor<3x4xf32>) -> tensor<f32> {
    %w = state.read @w
    %y = nd.matmul %x, %w
    %xt = nd.transpose %x {perm = [1, 0]}
    %g = nd.matmul %xt, %y
    %r = nd.constant {value = dense<0.05> : tensor<4x2xf32>}
    %d = nd.mul %g, %r
    %n = nd.sub %w, %d
    state.write @w, %n
    %q = nd.mul %y, %y
    %loss = nd.sum %q
    return %loss
  }
}
"""


@pytest.fixture
def step(tmp_path):
    rng = np.random.default_rng(0)
    write_tensors(tmp_path / "data.safetensors", {"x": rng.standard_normal((12, 4), dtype=np.float32)})
    path = tmp_path / "step.dlir"
    path.write_text(STEP)
    return path


def losses(rows):
    w = np.full((4, 2), 0.5)
    for x in np.split(rows, 4):
        y = x @ w
        w = w - 0.05 * x.T @ y
        yield (y * y).sum()


@pytest.mark.parametrize("level", ["0", "2"])
def test_batches_go_on_from_one_another_and_both_sides_begin_alike(step, level):
    saved = step.with_name("out.npz")
    done = run("dlir-run", step, "-O", level, "--bench", "5", "--save-outputs", saved)
    assert done.code == 0, done.err
    assert "1 variable (32 B) that calls change" in done.out
    assert "outputs match ref" in done.out and "variables match ref" in done.out
    rows = np.random.default_rng(0).standard_normal((12, 4), dtype=np.float32)
    np.testing.assert_allclose(np.load(saved)["result0"], list(losses(rows)), rtol=1e-4)


def test_variables_that_differ_are_named(step, monkeypatch):
    from dlir.frontends.cli.report import Report

    compare = Report.compare
    monkeypatch.setattr(Report, "compare", lambda self, o, other, p, v: compare(self, o, other, p, {"w": v["w"] + 1}))
    done = run("dlir-run", step, "--bench", "0")
    assert done.code == 1
    assert "MISMATCH   variables differ from ref: @w, element (0, 0)" in done.out


def test_numerics_are_checked_when_asked_for(tmp_path):
    path = tmp_path / "log.dlir"
    path.write_text("func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n  %l = nd.log %x\n  return %l\n}\n")
    assert run("dlir-run", path, "--input", "zeros", "--bench", "1").code == 0
    done = run("dlir-run", path, "--input", "zeros", "--check-numerics")
    assert done.code == 1
    assert "log.dlir:2:3: error: 'nd.log' (%l) is the first op that makes a NaN or an infinity" in done.err
    assert "    2 |   %l = nd.log %x\n      |   ^" in done.err
