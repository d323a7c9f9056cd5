"""The training scripts of ``examples/training``: they reach what they say, and follow torch step by step."""

from __future__ import annotations

import importlib
import math
import sys

import numpy as np
import pytest

from dlir.frontends.optimizers import AdamW
from dlir.frontends.symbolic import Variable, compile


@pytest.fixture
def script(monkeypatch, examples_dir):
    """Imports a script by name."""
    monkeypatch.syspath_prepend(str(examples_dir / "training"))
    return importlib.import_module


def test_digits_are_learnt(script):
    pytest.importorskip("sklearn")
    losses, accuracy, _ = script("digits").train(epochs=20)
    assert losses[0] > 2 and accuracy >= 0.97


def test_lenet_learns_digits(script):
    pytest.importorskip("sklearn")
    lenet = script("lenet")
    images, labels, held_out = lenet.load(None)
    assert images.shape == (1797, 1, 28, 28)
    losses, accuracy = lenet.train(images, labels, held_out, epochs=4)
    assert losses[0] > 2 and accuracy >= 0.95


def test_a_file_that_is_no_images_is_refused(script, tmp_path):
    import gzip

    lenet = script("lenet")
    path = tmp_path / "images.gz"
    for content, message in [
        (b"hello", "not a file of bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "says that it holds"),
        (b"\0\0\x08\x01" + b"\0\0\0\x09" + b"1234", "ends after 4 of 9"),
    ]:
        path.write_bytes(gzip.compress(content))
        with pytest.raises(SystemExit, match=message):
            lenet.read_idx(path)


def test_the_loss_is_drawn(script, tmp_path):
    from xml.etree import ElementTree

    path = tmp_path / "loss.svg"
    script("report").write_loss_plot(path, [3.0, 2.0, 1.5], "a title")
    root = ElementTree.parse(path).getroot()
    curves = [item for item in root if item.tag.endswith("polyline")]
    assert len(curves) == 2 and all(len(item.get("points").split()) == 3 for item in curves)
    assert "a title" in "".join(root.itertext())


def test_a_loss_that_is_no_number_is_left_out_of_the_drawing(script, tmp_path):
    path = tmp_path / "loss.svg"
    script("report").write_loss_plot(path, [3.0, math.nan, 1.5, math.inf], "a title")
    assert "nan" not in path.read_text() and "inf" not in path.read_text()
    for losses, place, message in [
        ([math.nan], path, "nothing to draw"),
        ([1.0], tmp_path / "no" / "f.svg", "cannot write"),
    ]:
        with pytest.raises(SystemExit, match=message):
            script("report").write_loss_plot(place, losses, "a title")


@pytest.mark.parametrize("steps", [3, 10, 64])
def test_without_rich_or_a_terminal_some_lines_tell_how_it_goes(script, steps, monkeypatch, capsys):
    for missing in (False, True):
        if missing:
            monkeypatch.setitem(sys.modules, "rich.progress", None)
        with script("report").progress(steps, "name") as bar:
            for step in range(steps):
                bar(1.0 / (step + 1))
        told = capsys.readouterr().err.splitlines()
        assert len(told) == min(steps, 10)
        assert told[-1] == f"name  {steps} of {steps} steps  loss {1 / steps:.4f}"


def test_what_a_script_needs_and_cannot_have_is_said(script, monkeypatch, tmp_path):
    lenet = script("lenet")
    with pytest.raises(SystemExit, match="cannot read .*t10k-images"):
        lenet.load(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"no gzip at all")
    with pytest.raises(SystemExit, match="cannot read .*t10k-images"):
        lenet.load(tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    for load in (script("digits").load, lambda: lenet.load(None)):
        with pytest.raises(SystemExit, match="pip install scikit-learn"):
            load()


@pytest.mark.parametrize("name, option", [("digits", "--epochs"), ("lenet", "--epochs"), ("gpt", "--steps")])
def test_counts_are_checked(script, name, option, monkeypatch, capsys):
    for wrong in ("0", "-3", "x"):
        monkeypatch.setattr(sys, "argv", [name, f"{option}={wrong}"])
        with pytest.raises(SystemExit):
            script(name).main()
        assert f"a number from 1 on is needed, not '{wrong}'" in capsys.readouterr().err


TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer. " * 20


def torch_gpt(torch, tokens, weights, shape):
    """The same model in torch: logits from tokens, by the weights' names."""
    functional = torch.nn.functional

    def dense(name, x):
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def norm(name, x):
        return functional.layer_norm(x, (shape.width,), weights[f"{name}.weight"], weights[f"{name}.bias"])

    n, t = tokens.shape
    x = weights["wte.weight"][tokens] + weights["wpe.weight"]
    for number in range(shape.layers):
        h = f"h.{number}"
        parts = dense(f"{h}.attn.c_attn", norm(f"{h}.ln_1", x)).split(shape.width, dim=2)
        q, k, v = (part.view(n, t, shape.heads, -1).transpose(1, 2) for part in parts)
        odds = (q @ k.transpose(2, 3)) / math.sqrt(q.shape[-1])
        odds = odds.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf).softmax(-1)
        x = x + dense(f"{h}.attn.c_proj", (odds @ v).transpose(1, 2).reshape(n, t, shape.width))
        x = x + dense(f"{h}.mlp.c_proj", functional.gelu(dense(f"{h}.mlp.c_fc", norm(f"{h}.ln_2", x))))
    return norm("ln_f", x) @ weights["wte.weight"].T


def test_gpt_follows_torch_for_50_steps(script):
    torch = pytest.importorskip("torch")
    gpt = script("gpt")
    text = gpt.Text(TEXT)
    shape = gpt.Shape(len(text.characters), context=16, width=32, heads=4, layers=2)
    tokens, targets = Variable("tokens"), Variable("targets")
    loss = gpt.loss_of(gpt.gpt(tokens, shape, gpt.Weights(seed=1)), targets)
    step = compile(loss, updates=AdamW(1e-3, weight_decay=0.1).updates(loss))

    weights = {item.name: torch.tensor(item.value, requires_grad=True) for item in step.parameters if item.trainable}
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-3, weight_decay=0.1)
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for _ in range(50):
        inputs, wanted = text.batch(rng, 8, shape.context)
        ours.append(float(step(tokens=inputs, targets=wanted)))
        optimizer.zero_grad()
        logits = torch_gpt(torch, torch.tensor(inputs), weights, shape)
        error = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(wanted).long().flatten())
        error.backward()
        optimizer.step()
        theirs.append(error.item())
    assert theirs[-1] < 0.8 * theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
