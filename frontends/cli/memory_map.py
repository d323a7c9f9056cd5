"""``--memory-map FILE.svg``: a drawing of a memory plan, time from left to right, addresses from bottom to top."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from dlir.ir.byte_counts import human_bytes

if TYPE_CHECKING:
    from dlir.ir.dialects.builtin import Module
    from dlir.passes.memory.placement import Placement

HELP = "draw where each value lies in memory, and when"
#: Neighbours in the list, and mostly in the drawing, differ clearly; text on them is black.
_COLORS = {
    "arena": ("#8ecae6", "#ffb703", "#b7e4c7", "#f4a6b7", "#cdb4db", "#e9c46a", "#a3b18a", "#f2cc8f"),
    "alloc": ("#8ecae6", "#ffb703", "#b7e4c7", "#f4a6b7"),
    "result": ("#d8f3dc",),
    "input": ("#e5e5e5",),
}
_LEFT, _TOP, _WIDTH, _HEIGHT, _BOTTOM, _RIGHT = 90, 46, 900, 480, 44, 20
#: Pixels of what has memory of its own, if there is room.
_BAND = 18
#: Pixels of a character of the labels, and the least height of a box with one.
_CHARACTER, _LINE = 6.6, 11
#: What is cut off earlier says nothing: it can be read in the tip.
_LEAST = 5


def add_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The flag for the commands that lower a module."""
    parser.add_argument("--memory-map", metavar="FILE.svg", help=HELP)


def write_memory_map(path: str, module: Module, entry: str) -> None:
    """Draw the plan of function `entry`, lowered at least to buffers, into a file; DlirError if it is not."""
    from dlir.frontends.cli.common import writing
    from dlir.textir.atomic import atomic_write

    drawing = memory_map(module, entry)
    with writing(path):
        atomic_write(path, drawing.encode())


def memory_map(module: Module, entry: str) -> str:
    """The drawing as SVG."""
    from dlir.ir.dialects.func import find_function
    from dlir.ir.errors import DlirError
    from dlir.ir.types import MemRefType
    from dlir.passes.memory.placement import placements
    from dlir.passes.memory.report import needed_bytes, state_bytes

    function = find_function(module, entry)
    args = function.body.args
    if not any(isinstance(arg.type, MemRefType) for arg in args):
        message = f"'@{entry}' has no memory plan yet"
        raise DlirError(message, function.location, hint="lower it with -O2, or by bufferize,plan-memory")
    arena = next((arg.type.nbytes for arg in args if "dlir.arena" in function.arg_attributes(arg.index)), 0)
    needed, least = needed_bytes(function)
    title = f"@{entry}: {human_bytes(needed)} planned, {human_bytes(least)} at least; arena {human_bytes(arena)}"
    if state := state_bytes(function):
        title += f", variables (not shown) {human_bytes(state)}"
    found = placements(function)
    return _draw(_stack(found, arena), 1 + max((item.last for item in found), default=0), title)


@dataclass(frozen=True, slots=True)
class _Box:
    """A placement and its pixels from bottom to top."""

    placed: Placement
    low: float
    tall: float
    number: int


def _stack(found: list[Placement], arena: int) -> list[_Box]:
    """The boxes of what lies in memory.

    What has memory of its own has a band each above the arena, all of one height: its address says nothing.
    """
    own = [(n, item) for kind in ("alloc", "result", "input") for n, item in enumerate(_of(kind, found))]
    band = min(_BAND, _HEIGHT * (0.5 if arena else 1) / max(len(own), 1))
    scale = (_HEIGHT - band * len(own)) / max(arena, 1)
    boxes = [_Box(item, item.offset * scale, item.size * scale, n) for n, item in enumerate(_of("arena", found))]
    base = arena * scale
    boxes += [_Box(item, base + (row + 0.2) * band, 0.8 * band, n) for row, (n, item) in enumerate(own)]
    return boxes


def _of(kind: str, found: list[Placement]) -> list[Placement]:
    return [item for item in found if item.kind == kind and item.size]


def _draw(boxes: list[_Box], steps: int, title: str) -> str:
    step = _WIDTH / max(steps, 1)
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM
    floor = _TOP + _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="monospace" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="26" font-size="14">{escape(title)}</text>',
        *_time_axis(steps, step, floor),
    ]
    for box in boxes:
        parts += _box(box, step, floor)
    parts += _byte_axis(boxes, floor)
    return "\n".join([*parts, "</svg>", ""])


def _box(box: _Box, step: float, floor: float) -> list[str]:
    placed = box.placed
    wide = (placed.last - placed.first + 1) * step
    x, y = _LEFT + placed.first * step, floor - box.low - box.tall
    colors = _COLORS[placed.kind]
    where = f"at {placed.offset:,} of the arena" if placed.kind == "arena" else f"memory of its own ({placed.kind})"
    tip = f"%{placed.name}: {placed.size:,} bytes {where}, steps {placed.first} to {placed.last}"
    rect = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{box.tall:.1f}" '
        f'fill="{colors[box.number % len(colors)]}" stroke="#444" stroke-width="0.5">'
        f"<title>{escape(tip)}</title></rect>"
    )
    label = placed.name if placed.kind == "arena" else f"{placed.kind} {placed.name}"
    room = int((wide - 4) / _CHARACTER)
    if box.tall < _LINE or room < min(len(label), _LEAST):
        return [rect]
    shown = label if len(label) <= room else label[: max(room - 1, 1)] + "\u2026"
    text = (
        f'<text x="{x + wide / 2:.1f}" y="{y + box.tall / 2 + 4:.1f}" text-anchor="middle" pointer-events="none">'
        f"{escape(shown)}</text>"
    )
    return [rect, text]


def _time_axis(steps: int, step: float, floor: float) -> list[str]:
    stride = max(1, -(-steps // 20))
    parts = [f'<text x="{_LEFT + _WIDTH / 2}" y="{floor + 34}" text-anchor="middle">time (kernels and copies)</text>']
    for time in range(0, steps, stride):
        x = _LEFT + (time + 0.5) * step
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{time}</text>')
    return parts


def _byte_axis(boxes: list[_Box], floor: float) -> list[str]:
    """Addresses in the arena and sizes outside of it, as many as there is room for."""
    marks: dict[float, str] = {}
    for box in boxes:
        if box.placed.kind == "arena":
            marks[box.low] = human_bytes(box.placed.offset)
        else:
            marks[box.low + box.tall / 2] = human_bytes(box.placed.size)
    parts = [f'<line x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{floor}" stroke="#444"/>']
    previous = -float(_LINE)
    for at in sorted(marks):
        if at - previous >= _LINE:
            parts.append(f'<text x="{_LEFT - 6}" y="{floor - at + 4:.1f}" text-anchor="end">{marks[at]}</text>')
            previous = at
    return parts
