"""Train the weights of digits.dlir: a perceptron for 8x8 hand-written digits, with scikit-learn.

    python examples/train_digits.py

Writes, beside this file,
  digits.safetensors       w1 [64, 64], b1 [64], w2 [64, 32], b2 [32], w3 [32, 10], b3 [10], all float32
  digits_test.safetensors  x [448, 64] float32, labels [448] int64, expected [448] int64

`expected` is what scikit-learn itself predicts for `x`. The 448 images (7 batches of 64) are held out of training.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent
SEED = 7
HELD_OUT = 448


def train(x: np.ndarray, labels: np.ndarray) -> MLPClassifier:
    """Fit a 64-64-32-10 ReLU network to `x` [n, 64]."""
    model = MLPClassifier(hidden_layer_sizes=(64, 32), activation="relu", alpha=1e-3, max_iter=400, random_state=SEED)
    return model.fit(x, labels)


def weights_of(model: MLPClassifier) -> dict[str, np.ndarray]:
    """The fitted arrays as float32; a weight is [in, out], as scikit-learn stores it."""
    arrays: dict[str, np.ndarray] = {}
    for number, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        arrays[f"w{number}"] = np.ascontiguousarray(weight, dtype=np.float32)
        arrays[f"b{number}"] = np.ascontiguousarray(bias, dtype=np.float32)
    return arrays


def forward(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """The logits [n, 10] in float32 NumPy, by which the saved weights are checked."""
    hidden = np.maximum(x @ w["w1"] + w["b1"], np.float32(0))
    hidden = np.maximum(hidden @ w["w2"] + w["b2"], np.float32(0))
    return hidden @ w["w3"] + w["b3"]


def main() -> None:
    """Train, check, and write both files."""
    images, labels = load_digits(return_X_y=True)
    x = (images / 16.0).astype(np.float32)
    x_train, x_test, labels_train, labels_test = train_test_split(
        x, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    model = train(x_train, labels_train)
    weights = weights_of(model)
    expected = model.predict(x_test).astype(np.int64)

    logits = forward(x_test, weights)
    if not np.array_equal(logits.argmax(axis=1), expected):
        raise SystemExit("the float32 weights do not reproduce scikit-learn's predictions")
    top = np.sort(logits, axis=1)
    print(f"accuracy on {HELD_OUT} held-out images: {np.mean(expected == labels_test):.4f}")
    print(f"smallest margin between the two best logits: {np.min(top[:, -1] - top[:, -2]):.4f}")

    save_file(weights, HERE / "digits.safetensors")
    data = {"x": x_test, "labels": labels_test.astype(np.int64), "expected": expected}
    save_file({name: np.ascontiguousarray(array) for name, array in data.items()}, HERE / "digits_test.safetensors")


if __name__ == "__main__":
    main()
