"""S18: what is saved comes back in a fresh process without the user's code: structure, weights and the optimiser's state."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from dlir.frontends.optimizers import Adam
from dlir.frontends.symbolic import Parameter, Variable, compile, load, load_function, nn
from dlir.ir.errors import DlirError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 5)), RNG.standard_normal((8, 1))

#: All that the other process is told: what the file is called, and the data.
ELSEWHERE = """
import json, sys
import numpy as np
from dlir.frontends.symbolic import compile, load_function

step = load_function(sys.argv[1])
x, y = np.asarray(json.loads(sys.argv[2])), np.asarray(json.loads(sys.argv[3]))
losses = [float(step(x=x, y=y)) for _ in range(5)]
print(json.dumps({"losses": losses, "weights": {item.name: item.value.tolist() for item in step.parameters}}))
"""


@pytest.fixture
def training():
    """A network that has been trained for ten steps, and its loss."""
    w1, w2 = Parameter("w1", RNG.standard_normal((5, 7))), Parameter("w2", RNG.standard_normal((7, 1)))
    prediction = (nn.tanh(Variable("x") @ w1) @ w2).named("prediction")
    loss = nn.mse_loss(prediction, Variable("y"))
    step = compile(loss, updates=Adam(0.05).updates(loss))
    for _ in range(10):
        step(x=X, y=Y)
    return step, prediction


def test_training_goes_on_in_a_fresh_process(training, tmp_path, measured):
    step, _ = training
    path = tmp_path / "training.safetensors"
    step.save(path)
    data = [json.dumps(array.tolist()) for array in (X, Y)]
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, path, *data], capture_output=True, text=True, check=True)
    there = json.loads(done.stdout)
    here = [float(step(x=X, y=Y)) for _ in range(5)]
    assert there["losses"] == here and len(set(here)) == 5
    assert there["weights"] == {item.name: item.value.tolist() for item in step.parameters}
    measured(f"5 more steps in a fresh process: the same losses and {len(step.parameters)} equal variables")


def test_the_text_comes_back_and_so_do_the_bytes(training, tmp_path, measured):
    _, prediction = training
    prediction.save(tmp_path / "net.safetensors")
    found = load(tmp_path / "net.safetensors")
    assert str(found) == str(prediction)
    found.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()
    assert np.array_equal(compile(found)(x=X), compile(prediction)(x=X))
    measured("text equal, bytes equal, results equal")


def test_damage_is_told(training, tmp_path, measured):
    step, _ = training
    path = tmp_path / "training.safetensors"
    step.save(path)
    whole = path.read_bytes()
    for name, data, message in [
        ("cut off", whole[: len(whole) - 9], "not a valid safetensors file"),
        ("a header that is no header", whole[:8] + b"\xff" * 8 + whole[16:], "not a valid safetensors file"),
        (
            "a newer version",
            whole.replace(b'"dlir.version":"1"', b'"dlir.version":"9"'),
            "is a checkpoint of version 9",
        ),
        (
            "an op that is not there",
            whole.replace(b"nn.mse_loss", b"nn.mse_lost"),
            "op 'nn.mse_lost', which is not known",
        ),
        ("empty", b"", "not a valid safetensors file"),
    ]:
        assert data != whole, name
        path.write_bytes(data)
        with pytest.raises(DlirError) as caught:
            load_function(path)
        assert message in str(caught.value), name
    measured("cut off, overwritten, newer, empty: each is told apart")
