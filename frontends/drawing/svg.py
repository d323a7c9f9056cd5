"""Pictures as SVG documents: no scripts, no fonts, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from itertools import pairwise

from dlir.frontends.drawing.layout import lay_out
from dlir.frontends.drawing.picture import COLOURS, Box, Picture

_LETTER, _LINE, _PADDING, _MARGIN = 7.2, 15.0, 8.0, 12.0

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
    'height="{height:.0f}" font-family="monospace" font-size="12">\n'
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>\n'
    '<rect width="100%" height="100%" fill="white"/>\n'
    '<g transform="translate({margin:.0f},{margin:.0f})">'
)


def to_svg(picture: Picture) -> str:
    """The drawing as an SVG document."""
    sizes = [_size(box) for box in picture.boxes]
    layout = lay_out(sizes, picture.arrows)
    # Arrows may bend outside of the boxes.
    right = max([layout.width, *(x for path in layout.paths for x, _ in path)])
    head = _HEAD.format(width=right + 2 * _MARGIN, height=layout.height + 2 * _MARGIN, margin=_MARGIN)
    lines = [head]
    lines += [f'<path d="{_curve(path)}" fill="none" stroke="#555" marker-end="url(#tip)"/>' for path in layout.paths]
    for box, size, centre in zip(picture.boxes, sizes, layout.centres):
        lines += _drawn(box, size, centre)
    return "\n".join([*lines, "</g>", "</svg>"]) + "\n"


def _size(box: Box) -> tuple[float, float]:
    longest = max(map(len, box.lines), default=0)
    return longest * _LETTER + 2 * _PADDING, len(box.lines) * _LINE + _PADDING


def _drawn(box: Box, size: tuple[float, float], centre: tuple[float, float]) -> list[str]:
    (width, height), (x, y) = size, centre
    radius = height / 2 if box.kind in ("input", "output") and len(box.lines) == 1 else 5
    colour = COLOURS[box.kind]
    corner = f'x="{x - width / 2:.1f}" y="{y - height / 2:.1f}"'
    lines = [
        f'<rect {corner} width="{width:.1f}" height="{height:.1f}" rx="{radius:.0f}" fill="{colour}" stroke="#888"/>'
    ]
    top = y - (len(box.lines) - 1) * _LINE / 2
    for number, text in enumerate(box.lines):
        place = f'x="{x:.1f}" y="{top + number * _LINE:.1f}"'
        lines.append(f'<text {place} text-anchor="middle" dominant-baseline="central">{escape(text)}</text>')
    return lines


def _curve(path: list[tuple[float, float]]) -> str:
    """A smooth line through points that go downward: it leaves and meets each of them vertically."""
    parts = [f"M{path[0][0]:.1f},{path[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(path):
        middle = (y0 + y1) / 2
        parts.append(f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
    return " ".join(parts)
