"""Train a perceptron on scikit-learn's 1,797 handwritten digits (8x8): some seconds.

python examples/training/digits.py [--epochs 40] [--plot loss.svg] [--save digits.safetensors]
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from report import at_least_one, fit, sklearn_digits, write_loss_plot

from dlir.frontends.initializers import he_normal
from dlir.frontends.optimizers import AdamW
from dlir.frontends.symbolic import Node, Parameter, Variable, compile, nd, nn
from dlir.ir.errors import DlirError

HELD_OUT = 448
BATCH = 64


def classifier(x: Node, widths: tuple[int, ...] = (64, 128, 64, 10)) -> Node:
    """Logits [n, 10] of images [n, 64]: dense layers with ReLU between them."""
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        w = Parameter(f"w{number}", he_normal(number, (inputs, outputs)))
        b = Parameter(f"b{number}", np.zeros(outputs, np.float32))
        x = nn.dense(x, w, b, activation="none" if outputs == widths[-1] else "relu")
    return x


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 64] between 0 and 1, and their digits [n], in a random order that is always the same."""
    images, labels = sklearn_digits()
    order = np.random.default_rng(7).permutation(len(images))
    return (images[order] / 16).astype(np.float32), labels[order].astype(np.int64)


def train(epochs: int) -> tuple[list[float], float, Node]:
    """The loss of each step, the accuracy on held-out images, and the trained network."""
    images, labels = load()
    x, y = Variable("x"), Variable("y")
    logits = classifier(x)
    loss = nn.cross_entropy(logits, y)
    step = compile(loss, updates=AdamW(3e-3, weight_decay=0.1).updates(loss))
    predict = compile(nd.argmax(logits, axis=1))

    training = len(images) - HELD_OUT
    losses = fit(step, images[:training], labels[:training], BATCH, epochs, "digits")
    right = predict(x=images[training:]) == labels[training:]
    return losses, float(right.mean()), logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=at_least_one, default=40)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the loss of each step")
    parser.add_argument("--save", type=Path, metavar="FILE.safetensors", help="write structure and weights")
    args = parser.parse_args()
    start = time.perf_counter()
    losses, accuracy, logits = train(args.epochs)
    print(f"{len(losses)} steps in {time.perf_counter() - start:.1f} s, loss {losses[0]:.3f} -> {losses[-1]:.4f}")
    print(f"accuracy on {HELD_OUT} held-out images: {accuracy:.2%}")
    if args.save:
        try:
            logits.save(args.save)
        except DlirError as error:
            raise SystemExit(str(error)) from None
        print(f"structure and weights are in {args.save}")
    if args.plot:
        write_loss_plot(args.plot, losses, "digits: cross-entropy of each step")


if __name__ == "__main__":
    main()
