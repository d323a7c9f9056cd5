"""Train LeNet-5 (LeCun et al., 1998) on handwritten digits: MNIST's, or scikit-learn's drawn larger.

python examples/training/lenet.py                       scikit-learn's 1,797 digits, 448 of them held out
python examples/training/lenet.py --mnist FOLDER        the 10,000 of t10k-*-ubyte.gz, 2,000 of them held out
"""

from __future__ import annotations

import argparse
import gzip
import time
import zlib
from pathlib import Path

import numpy as np
from report import at_least_one, fit, sklearn_digits, write_loss_plot

from dlir.frontends.initializers import he_normal
from dlir.frontends.optimizers import AdamW, cosine
from dlir.frontends.symbolic import Node, Parameter, Variable, compile, nd, nn

BATCH = 64
#: The most that one array of a file may hold: the headers are not trusted.
MAX_BYTES = 1 << 30


def lenet(x: Node) -> Node:
    """Logits [n, 10] of images [n, 1, 28, 28]: two convolutions with max pooling, then three dense layers."""

    def bias(name: str, count: int) -> Parameter:
        return Parameter(name, np.zeros(count, np.float32))

    def convolution(x: Node, number: int, inputs: int, outputs: int, padding: tuple[int, ...]) -> Node:
        w = Parameter(f"conv{number}.w", he_normal(number, (outputs, inputs, 5, 5), in_axis=1, out_axis=0))
        x = nn.conv2d(x, w, bias(f"conv{number}.b", outputs), padding=padding, activation="relu")
        return nn.max_pool2d(x, kernel=(2, 2))

    def dense(x: Node, number: int, inputs: int, outputs: int, activation: str) -> Node:
        w = Parameter(f"dense{number}.w", he_normal(10 + number, (inputs, outputs)))
        return nn.dense(x, w, bias(f"dense{number}.b", outputs), activation=activation)

    x = convolution(x, 1, 1, 6, (2, 2))
    x = convolution(x, 2, 6, 16, (0, 0))
    x = dense(nn.flatten(x), 1, 400, 120, "relu")
    x = dense(x, 2, 120, 84, "relu")
    return dense(x, 3, 84, 10, "none")


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes in MNIST's format, whose header gives the rank and the extents as big-endian numbers."""
    try:
        return _read_idx(path)
    except (OSError, EOFError, zlib.error) as error:
        raise SystemExit(f"cannot read {path}: {error}") from None


def _read_idx(path: Path) -> np.ndarray:
    with gzip.open(path) as file:
        header = file.read(4)
        if len(header) != 4 or header[:3] != b"\0\0\x08":
            raise SystemExit(f"{path}: not a file of bytes in IDX format")
        shape = tuple(int(extent) for extent in np.frombuffer(file.read(4 * header[3]), ">u4"))
        count = int(np.prod(shape, dtype=object))
        if not 0 < count <= MAX_BYTES:
            raise SystemExit(f"{path}: says that it holds {count:,} bytes")
        data = file.read(count)
    if len(data) != count:
        raise SystemExit(f"{path}: ends after {len(data):,} of {count:,} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)


def load(mnist: Path | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Images [n, 1, 28, 28] between 0 and 1, their digits [n], and how many at the end are held out."""
    if mnist is not None:
        images = read_idx(mnist / "t10k-images-idx3-ubyte.gz")
        labels = read_idx(mnist / "t10k-labels-idx1-ubyte.gz")
        scale, held_out = 255, 2000
    else:
        small, labels = sklearn_digits()
        # Each pixel becomes 3 x 3 of them, with a margin of 2: 8 x 8 -> 28 x 28.
        large = np.repeat(np.repeat(small.reshape(-1, 8, 8), 3, axis=1), 3, axis=2)
        images, scale, held_out = np.pad(large, ((0, 0), (2, 2), (2, 2))), 16, 448
    order = np.random.default_rng(7).permutation(len(images))
    return (images[order, None] / np.float32(scale)).astype(np.float32), labels[order].astype(np.int64), held_out


def train(images: np.ndarray, labels: np.ndarray, held_out: int, epochs: int) -> tuple[list[float], float]:
    """The loss of each step, and the accuracy on the images held out."""
    training = len(images) - held_out
    steps = epochs * (training // BATCH)
    x, y = Variable("x"), Variable("y")
    logits = lenet(x)
    loss = nn.cross_entropy(logits, y)
    step = compile(loss, updates=AdamW(cosine(3e-3, steps), weight_decay=0.05).updates(loss))
    predict = compile(nd.argmax(logits, axis=1))

    losses = fit(step, images[:training], labels[:training], BATCH, epochs, "LeNet-5")
    right = predict(x=images[training:]) == labels[training:]
    return losses, float(right.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mnist", type=Path, metavar="FOLDER", help="where t10k-images-idx3-ubyte.gz and its labels are"
    )
    parser.add_argument("--epochs", type=at_least_one, default=10)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the loss of each step")
    args = parser.parse_args()
    images, labels, held_out = load(args.mnist)
    start = time.perf_counter()
    losses, accuracy = train(images, labels, held_out, args.epochs)
    print(f"{len(losses)} steps in {time.perf_counter() - start:.1f} s, loss {losses[0]:.3f} -> {losses[-1]:.4f}")
    print(f"accuracy on {held_out} held-out images: {accuracy:.2%}")
    if args.plot:
        write_loss_plot(args.plot, losses, "LeNet-5: cross-entropy of each step")


if __name__ == "__main__":
    main()
