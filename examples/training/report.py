"""What the training scripts share: a bar that moves, the curve of the loss as a drawing, and scikit-learn's digits."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

WIDTH, HEIGHT, MARGIN = 640, 320, 48
#: Lines that tell of a training where no bar can be shown.
LINES = 10


class Bar(Protocol):
    """Told about each step."""

    def __call__(self, loss: float) -> None: ...


@contextmanager
def progress(steps: int, title: str) -> Iterator[Bar]:
    """A progress bar where somebody watches and rich is installed; else ten lines, one after each tenth of the steps."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield lines(steps, title)
        return
    if not sys.stderr.isatty():
        yield lines(steps, title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("loss {task.fields[loss]:.4f}"), console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=steps, loss=float("nan"))
        yield lambda loss: bars.update(task, advance=1, loss=loss)


def lines(steps: int, title: str) -> Bar:
    """Writes a line after each tenth of the steps."""
    width = len(str(steps))
    done = 0

    def bar(loss: float) -> None:
        nonlocal done
        done += 1
        if done * LINES // steps > (done - 1) * LINES // steps:
            print(f"{title}  {done:{width}} of {steps} steps  loss {loss:.4f}", file=sys.stderr, flush=True)

    return bar


def fit(
    step: Callable[..., Any], images: np.ndarray, labels: np.ndarray, batch: int, epochs: int, title: str
) -> list[float]:
    """The loss of each step over batches in an order of their own for each epoch."""
    rng = np.random.default_rng(0)
    losses: list[float] = []
    with progress(epochs * (len(images) // batch), title) as bar:
        for _ in range(epochs):
            order = rng.permutation(len(images))
            for first in range(0, len(images) - batch + 1, batch):
                chosen = order[first : first + batch]
                losses.append(float(step(x=images[chosen], y=labels[chosen])))
                bar(losses[-1])
    return losses


def at_least_one(text: str) -> int:
    """A count on the command line."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 on is needed, not {text!r}")
    return number


def sklearn_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 images [n, 64] of digits, with elements from 0 to 16, and which digits they are [n]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("the digits come with scikit-learn: python -m pip install scikit-learn") from None
    images, labels = load_digits(return_X_y=True)
    return images, labels


def write_loss_plot(path: Path, losses: Sequence[float], title: str) -> None:
    """Draw the loss of each step, and its running mean, as an SVG file."""
    losses = [loss for loss in losses if math.isfinite(loss)]
    if not losses:
        raise SystemExit("no loss is a finite number, so there is nothing to draw")
    smooth, mean = [], losses[0]
    for loss in losses:
        mean += 0.05 * (loss - mean)
        smooth.append(mean)
    top, bottom = max(losses), min(losses)
    across = (WIDTH - 2 * MARGIN) / max(len(losses) - 1, 1)
    scale = (HEIGHT - 2 * MARGIN) / ((top - bottom) or 1.0)

    def line(values: Sequence[float], color: str, width: float) -> str:
        points = " ".join(
            f"{MARGIN + n * across:.1f},{HEIGHT - MARGIN - (v - bottom) * scale:.1f}" for n, v in enumerate(values)
        )
        return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{width}"/>'

    def label(x: float, y: float, text: str, anchor: str = "middle") -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'

    axes = f"M{MARGIN} {MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="{axes}" fill="none" stroke="#444"/>',
        line(losses, "#8ecae6", 1),
        line(smooth, "#023047", 2),
        label(WIDTH / 2, MARGIN / 2, title),
        label(WIDTH / 2, HEIGHT - MARGIN / 3, f"{len(losses)} steps"),
        label(MARGIN - 6, MARGIN + 4, f"{top:.3g}", "end"),
        label(MARGIN - 6, HEIGHT - MARGIN + 4, f"{bottom:.3g}", "end"),
        "</svg>",
    ]
    try:
        path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"cannot write {path}: {error.strerror}") from None
    print(f"the loss of each step is drawn in {path}")
