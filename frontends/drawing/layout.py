"""Where boxes stand: layers from top to bottom, few crossings, arrows past boxes and not through them.

After Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures" (1981): boxes are put
on layers, arrows that skip layers get a bend in each, neighbours pull one another's order (barycentres), and then x is
relaxed toward the neighbours with the order kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Space between neighbours and between layers, in pixels.
GAP, LAYER_GAP = 18.0, 34.0
_SWEEPS = 8


@dataclass
class Layout:
    """The centre of each box, for each arrow the points on its way, and the size of the whole."""

    centres: list[tuple[float, float]]
    paths: list[list[tuple[float, float]]]
    width: float
    height: float


def lay_out(sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]]) -> Layout:
    """Places for boxes of `sizes` (width, height); each arrow leads from a box to one with a higher number."""
    layer = _layers(len(sizes), arrows)
    widths = [width for width, _ in sizes]
    ways: list[list[int]] = []
    for source, target in arrows:
        way = [source]
        for step in range(layer[source] + 1, layer[target]):
            way.append(len(layer))
            layer.append(step)
            widths.append(0.0)
        ways.append([*way, target])
    edges = [pair for way in ways for pair in pairwise(way)]
    rows = _order(layer, edges)
    xs = _columns(rows, widths, edges)
    ys, height = _heights(rows, sizes)
    points = [(x, ys[row]) for x, row in zip(xs, layer)]
    paths = [_path(way, points, sizes) for way in ways]
    width = max((xs[n] + sizes[n][0] / 2 for n in range(len(sizes))), default=0.0)
    return Layout(points[: len(sizes)], paths, width, height)


def _layers(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: below all that lead to it, and boxes that nothing leads to just above their users."""
    layer = [0] * count
    has_source = [False] * count
    for source, target in sorted(arrows, key=lambda arrow: arrow[1]):
        layer[target] = max(layer[target], layer[source] + 1)
        has_source[target] = True
    for box in range(count):
        users = [layer[target] for source, target in arrows if source == box] if not has_source[box] else []
        if users:
            layer[box] = min(users) - 1
    return layer


def _order(layer: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The boxes and bends of each layer from left to right."""
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for item, number in enumerate(layer):
        rows[number].append(item)
    above, below = _neighbours(len(layer), edges)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            neighbours = above if sweep % 2 == 0 else below
            place = {item: position for other in rows for position, item in enumerate(other)}
            mean = {n: sum(place[m] for m in neighbours[n]) / len(neighbours[n]) for n in row if neighbours[n]}
            row.sort(key=lambda item: mean.get(item, place[item]))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _neighbours(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        below[source].append(target)
        above[target].append(source)
    return above, below


def _crossings(rows: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> int:
    """How many pairs of edges cross."""
    total = 0
    for row, under in pairwise(rows):
        place = {item: position for position, item in enumerate(under)}
        ends = [end for item in row for end in sorted(place[target] for target in below[item])]
        counts = [0] * (len(under) + 1)  # a Fenwick tree of the ends met so far
        for seen, end in enumerate(ends):
            at, before = end + 1, 0
            while at:
                before += counts[at]
                at &= at - 1
            total += seen - before
            at = end + 1
            while at <= len(under):
                counts[at] += 1
                at += at & -at
    return total


def _columns(rows: Sequence[Sequence[int]], widths: Sequence[float], edges: Sequence[tuple[int, int]]) -> list[float]:
    """The x of each item: near the middle of its neighbours, with the order of its row."""
    xs = [0.0] * len(widths)
    for row in rows:
        edge = 0.0
        for item in row:
            xs[item] = edge + widths[item] / 2
            edge += widths[item] + GAP
    above, below = _neighbours(len(widths), edges)
    for sweep in range(2 * _SWEEPS):
        ordered, neighbours = (rows, above) if sweep % 2 == 0 else (rows[::-1], below)
        for row in ordered:
            wanted = [sum(xs[m] for m in neighbours[n]) / len(neighbours[n]) if neighbours[n] else xs[n] for n in row]
            for item, x in zip(row, _apart(wanted, [widths[n] for n in row])):
                xs[item] = x
    left = min((x - width / 2 for x, width in zip(xs, widths)), default=0.0)
    return [x - left for x in xs]


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Places in the given order, without overlaps, with the least sum of squared distances from `wanted`.

    Boxes that would overlap are merged into blocks that stand at the mean of what their boxes want (pool adjacent violators).
    """
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + left / 2 + GAP + right / 2)
    blocks: list[tuple[float, int]] = []
    for x, offset in zip(wanted, offsets):
        mean, size = x - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    starts = [mean for mean, size in blocks for _ in range(size)]
    return [start + offset for start, offset in zip(starts, offsets)]


def _heights(rows: Sequence[Sequence[int]], sizes: Sequence[tuple[float, float]]) -> tuple[list[float], float]:
    """The y of the middle of each layer, and of the lower end of the last."""
    ys: list[float] = []
    top = 0.0
    for row in rows:
        tall = max((sizes[item][1] for item in row if item < len(sizes)), default=0.0)
        ys.append(top + tall / 2)
        top += tall + LAYER_GAP
    return ys, top - LAYER_GAP if rows else 0.0


def _path(
    way: Sequence[int], points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The points of an arrow, from the lower edge of its source to the upper edge of its target."""
    source, *bends, target = way
    first = (points[source][0], points[source][1] + sizes[source][1] / 2)
    last = (points[target][0], points[target][1] - sizes[target][1] / 2)
    return [first, *(points[bend] for bend in bends), last]
