"""What the training scripts show: a bar that moves, a line per epoch, and the curve of the loss as a drawing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

WIDTH, HEIGHT, MARGIN = 640, 320, 48


class Bar(Protocol):
    """Told about each step."""

    def __call__(self, loss: float) -> None: ...


@contextmanager
def progress(steps: int, title: str) -> Iterator[Bar]:
    """A progress bar where somebody watches and rich is installed; else nothing is shown."""
    if not sys.stderr.isatty():
        yield lambda loss: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield lambda loss: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("loss {task.fields[loss]:.4f}"), console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=steps, loss=float("nan"))
        yield lambda loss: bars.update(task, advance=1, loss=loss)


def write_loss_plot(path: Path, losses: Sequence[float], title: str) -> None:
    """Draw the loss of each step, and its running mean, as an SVG file."""
    if not losses:
        raise SystemExit("no step was made, so there is no loss to draw")
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
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
