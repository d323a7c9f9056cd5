"""The examples run, agree with whoever trained them, and can be cut after any pass."""

from __future__ import annotations

import numpy as np
import pytest
from support.cli import run

from dlir.textir.weights import read_tensors

PIPELINE = "lower-nn,canonicalize,cse,fuse,schedule,bufferize,plan-memory,lower-kernels,map"
CUTS = [",".join(PIPELINE.split(",")[:count]) for count in range(len(PIPELINE.split(",")) + 1)]


@pytest.mark.parametrize("name", ["digits", "digits_cnn"])
@pytest.mark.parametrize("level", ["0", "1", "2"])
def test_an_example_predicts_what_its_trainer_predicted(examples_dir, name, level):
    done = run("dlir-run", examples_dir / f"{name}.dlir", f"-O{level}", "--bench", "1")
    assert done.code == 0, done.out + done.err
    assert "predictions equal the trainer's: 448 of 448" in done.out
    assert "outputs match ref" in done.out


@pytest.mark.parametrize("name", ["digits", "digits_cnn"])
@pytest.mark.parametrize("cut", CUTS, ids=lambda text: text.split(",")[-1] or "nothing")
def test_cut_after_any_pass_the_text_gives_the_same_numbers(examples_dir, tmp_path, name, cut):
    source = examples_dir / f"{name}.dlir"
    text = tmp_path / "cut.dlir"
    done = run("dlir-opt", source, "-p", cut, "-o", text, "--verify-roundtrip")
    assert done.code == 0, done.err
    outputs = []
    for number, file in enumerate((source, text)):
        saved = tmp_path / f"{number}.npz"
        flags = ["--save-outputs", saved, "--bench", "0", "--compare", "none"]
        done = run("dlir-run", file, *flags)
        assert done.code == 0, done.out + done.err
        outputs.append(np.load(saved)["result0"])
    assert np.array_equal(outputs[0].argmax(1), outputs[1].argmax(1))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


def test_the_digits_data_are_scikit_learns_and_so_are_the_expected_classes(examples_dir):
    datasets = pytest.importorskip("sklearn.datasets")
    neural = pytest.importorskip("sklearn.neural_network")
    data = read_tensors(examples_dir / "digits_test.safetensors")
    images, labels = datasets.load_digits(return_X_y=True)
    known = {tuple(image): label for image, label in zip(images.astype(int), labels, strict=True)}
    for row, label in zip((data["x"] * 16).round().astype(int), data["labels"], strict=True):
        assert known[tuple(row)] == label
    # scikit-learn's own forward pass on the stored weights, in its own code, gives the stored classes.
    weights = read_tensors(examples_dir / "digits.safetensors")
    model = neural.MLPClassifier(hidden_layer_sizes=(64, 32), max_iter=1)
    with pytest.warns():
        model.fit(np.eye(10, 64), np.arange(10))
    model.coefs_ = [weights[name].astype(np.float64) for name in ("w1", "w2", "w3")]
    model.intercepts_ = [weights[name].astype(np.float64) for name in ("b1", "b2", "b3")]
    assert np.array_equal(model.predict(data["x"].astype(np.float64)), data["expected"])


def test_the_report_names_what_matters(examples_dir):
    done = run("dlir-run", examples_dir / "digits.dlir", "--bench", "3")
    for subject in ("digits.dlir", "backend", "kernels", "memory", "planned", "naive", "time", "accuracy", "checked"):
        assert subject in done.out, subject
