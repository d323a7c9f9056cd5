"""Train a tiny GPT on the characters of a text file, and let it write.

python examples/training/gpt.py [FILE.txt] [--steps 300]        without a file: the words of this project's own pages
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from report import at_least_one, progress, write_loss_plot

from dlir.frontends.optimizers import AdamW, by_global_norm, cosine
from dlir.frontends.symbolic import Node, Parameter, Variable, compile, nd, nn

PAGES = Path(__file__).resolve().parent.parent.parent / "docs"


@dataclass(frozen=True)
class Shape:
    """The sizes of the model."""

    vocabulary: int
    context: int = 64
    width: int = 64
    heads: int = 4
    layers: int = 2


class Weights:
    """Makes the parameters, whose names are those of GPT-2's weights."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, name: str, *shape: int, scale: float = 0.02) -> Parameter:
        return Parameter(name, (scale * self.rng.standard_normal(shape)).astype(np.float32))

    def dense(
        self, name: str, x: Node, inputs: int, outputs: int, scale: float = 0.02, activation: str = "none"
    ) -> Node:
        bias = Parameter(f"{name}.bias", np.zeros(outputs, np.float32))
        return nn.dense(x, self.normal(f"{name}.weight", inputs, outputs, scale=scale), bias, activation=activation)

    def norm(self, name: str, x: Node, width: int) -> Node:
        ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
        return nn.layer_norm(x, Parameter(f"{name}.weight", ones), Parameter(f"{name}.bias", zeros))


def gpt(tokens: Node, shape: Shape, weights: Weights) -> Node:
    """Logits [n, context, vocabulary] of the character after each of `tokens` [n, context]."""
    width = shape.width
    table = weights.normal("wte.weight", shape.vocabulary, width)
    x = nn.embedding(tokens, table) + weights.normal("wpe.weight", shape.context, width)
    # What the blocks add up grows with their number; their last layers start smaller by its root (Radford et al., 2019).
    scale = 0.02 / math.sqrt(2 * shape.layers)
    for number in range(shape.layers):
        name = f"h.{number}"
        mixed = weights.dense(f"{name}.attn.c_attn", weights.norm(f"{name}.ln_1", x, width), width, 3 * width)
        q, k, v = (_heads(mixed, part, shape) for part in range(3))
        heads = nd.transpose(nn.attention(q, k, v, causal=True), perm=(0, 2, 1, 3))
        joined = nd.reshape(heads, shape=(-1, shape.context, width))
        x = x + weights.dense(f"{name}.attn.c_proj", joined, width, width, scale)
        hidden = weights.norm(f"{name}.ln_2", x, width)
        hidden = weights.dense(f"{name}.mlp.c_fc", hidden, width, 4 * width, activation="gelu")
        x = x + weights.dense(f"{name}.mlp.c_proj", hidden, 4 * width, width, scale)
    return nd.matmul(weights.norm("ln_f", x, width), table, transpose_b=True)


def _heads(mixed: Node, part: int, shape: Shape) -> Node:
    """The queries, keys or values [n, heads, context, width / heads] of what one layer computes together."""
    features = shape.width // shape.heads
    start, stop = part * shape.width, (part + 1) * shape.width
    one = nd.slice(mixed, start=(0, 0, start), stop=(2**62, 2**62, stop))
    return nd.transpose(nd.reshape(one, shape=(-1, shape.context, shape.heads, features)), perm=(0, 2, 1, 3))


def loss_of(logits: Node, targets: Node) -> Node:
    """The mean cross-entropy of the characters that came, in nats."""
    return nn.cross_entropy(logits, targets, axis=2)


class Text:
    """A text as numbers, one for each different character."""

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))
        numbers = {character: number for number, character in enumerate(self.characters)}
        self.tokens = np.array([numbers[character] for character in text], np.int32)

    def batch(self, rng: np.random.Generator, rows: int, context: int) -> tuple[np.ndarray, np.ndarray]:
        """Pieces of the text [rows, context], and the same pieces one character on."""
        starts = rng.integers(0, len(self.tokens) - context, rows)[:, None] + np.arange(context)
        return self.tokens[starts], self.tokens[starts + 1]


def read(path: Path | None) -> Text:
    """The text of a file, or that of all pages under docs/."""
    paths = [path] if path is not None else sorted(PAGES.glob("*.md"))
    try:
        text = "".join(item.read_text(encoding="utf-8") for item in paths)
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"cannot read {path}: {error}") from None
    if len(text) < 1000:
        raise SystemExit(f"a text of {len(text)} characters is too short: at least 1000 are needed")
    return Text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="a text in UTF-8")
    parser.add_argument("--steps", type=at_least_one, default=300)
    parser.add_argument("--batch", type=at_least_one, default=16)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the loss of each step")
    args = parser.parse_args()
    text = read(args.file)
    shape = Shape(len(text.characters))
    tokens, targets = Variable("tokens"), Variable("targets")
    logits = gpt(tokens, shape, Weights())
    loss = loss_of(logits, targets)
    optimizer = AdamW(cosine(3e-3, args.steps), weight_decay=0.1, clip=by_global_norm(1.0))
    step = compile(loss, updates=optimizer.updates(loss))

    rng = np.random.default_rng(0)
    losses: list[float] = []
    start = time.perf_counter()
    with progress(args.steps, "GPT") as bar:
        for _ in range(args.steps):
            inputs, wanted = text.batch(rng, args.batch, shape.context)
            losses.append(float(step(tokens=inputs, targets=wanted)))
            bar(losses[-1])
    print(f"{args.steps} steps in {time.perf_counter() - start:.1f} s, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    print(write_text(logits, text, shape, rng))
    if args.plot:
        write_loss_plot(args.plot, losses, "GPT: cross-entropy of each step, in nats a character")


def write_text(logits: Node, text: Text, shape: Shape, rng: np.random.Generator, count: int = 200) -> str:
    """So many characters that the model thinks likely, one drawn after the other."""
    predict = compile(nd.softmax(logits, axis=2))
    written = list(text.tokens[: shape.context])
    for _ in range(count):
        last = np.array([written[-shape.context :]], np.int32)
        odds = predict(tokens=last)[0, -1].astype(np.float64)
        written.append(rng.choice(len(odds), p=odds / odds.sum()))
    return "".join(text.characters[number] for number in written[shape.context :])


if __name__ == "__main__":
    main()
