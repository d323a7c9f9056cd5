"""The gradients of convolutions, which are convolutions again.

With a stride of s, a place of the input is seen by every s-th element of the kernel only, and by which ones is the same for
all places with one remainder by s.  So the gradient of the input is one convolution without a stride that gives the places of
each remainder as channels of their own, which are then put side by side; what it multiplies in vain are the zeros that make
all parts of the kernel equally large.  (Spreading out the cotangent with s - 1 zeros after each element, which is simpler,
multiplies s times as much in each dimension.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.core import Value
from dlir.ir.dialects.nd.gradients import END, along, static_shape
from dlir.ir.dialects.nd.windows import Windows
from dlir.ir.op import Op
from dlir.ir.ops import nd


def gradient_of_input(op: Op, g: Value, windows: Windows) -> Value:
    """The gradient of the first operand of the convolution `op` over these windows, for the cotangent `g` of its result."""
    x, w = op.operands
    extents, rank = static_shape(op, x)[2:], w.rank - 2
    gaps = (0, 0, *(step - 1 for step in windows.stride))
    if any(gaps) and windows.kernel == (1,) * rank and not any((*windows.low, *windows.high)):
        # Each element of the input is used once or not at all.
        found = nd.conv(g, turned_kernel(w, op["groups"], (1,) * rank, (0,) * rank), groups=op["groups"])
        spans = [(n - 1) * step + 1 for n, step in zip(g.shape[2:], windows.stride)]
        rest = (0, 0, *(n - span for n, span in zip(extents, spans)))
        return nd.pad(found, low=(0,) * g.rank, high=rest, interior=gaps)
    parts = windows.stride
    if any(step > 1 and dilation > 1 for step, dilation in zip(windows.stride, windows.dilation)):
        # The elements of a kernel that see one place are not evenly spaced.
        g = nd.pad(g, low=(0,) * g.rank, high=(0,) * g.rank, interior=gaps)
        parts = (1,) * rank
    # The place s * t + u is seen by the elements o = t + m of `g` for which u + padding - s * m is a place of the kernel.
    most = [-(-low // step) for low, step in zip(windows.low, parts)]
    kernel = turned_kernel(w, op["groups"], parts, [m * step - low for m, step, low in zip(most, parts, windows.low)])
    counts = [-(-n // step) for n, step in zip(extents, parts)]
    padding = []
    for axis, (m, dilation) in enumerate(zip(most, windows.dilation)):
        before = dilation * (kernel.shape[2 + axis] - 1) - m
        after = counts[axis] - g.shape[2 + axis] + m
        # What was read from beyond the input has no gradient.
        g = along(g, 2 + axis, max(0, -before), min(0, after) or END) if before < 0 or after < 0 else g
        padding.append((max(0, before), max(0, after)))
    sides = tuple(low for low, _ in padding) + tuple(high for _, high in padding)
    found = nd.conv(g, kernel, padding=sides, dilation=windows.dilation, groups=op["groups"])
    return found if max(parts) == 1 else _side_by_side(found, x.shape[1], op["groups"], parts, extents)


def turned_kernel(w: Value, groups: int, parts: Sequence[int], low: Sequence[int]) -> Value:
    """The kernel backwards in space, with the channels of input and output swapped.

    Each spatial dimension is cut up in as many parts as `parts` says, of every so manieth element, after `low` zeros; the parts
    are channels of their own.
    """
    outputs, channels, *kernel = w.shape
    rank, count = len(kernel), math.prod(parts)
    lengths = [-(-(first + n) // step) for first, n, step in zip(low, kernel, parts)]
    high = [length * step - first - n for length, step, first, n in zip(lengths, parts, low, kernel)]
    if any((*low, *high)):
        w = nd.pad(w, low=(0, 0, *low), high=(0, 0, *high))
    if groups > 1 or count > 1:
        pairs = [n for pair in zip(lengths, parts) for n in pair]
        w = nd.reshape(w, shape=(groups, outputs // groups, channels, *pairs))
        places = range(3, 3 + 2 * rank, 2)
        w = nd.transpose(w, perm=(0, *(axis + 1 for axis in places), 2, 1, *places))
        w = nd.reshape(w, shape=(groups * count * channels, outputs // groups, *lengths))
    else:
        w = nd.transpose(w, perm=(1, 0, *range(2, w.rank)))
    if max(lengths) > 1:
        first = (0, 0, *[END] * rank)
        w = nd.slice(w, start=first, stop=(END, END, *[-END] * rank), step=(1, 1, *[-1] * rank))
    return w


def _side_by_side(found: Value, channels: int, groups: int, parts: Sequence[int], extents: Sequence[int]) -> Value:
    """Put what is in channels for each remainder where it belongs."""
    batch, _, *counts = found.shape
    rank, depth = len(parts), channels // groups
    size = -1 if batch is None else batch
    found = nd.reshape(found, shape=(size, groups, *parts, depth, *counts))
    pairs = [axis for n in range(rank) for axis in (3 + rank + n, 2 + n)]
    found = nd.transpose(found, perm=(0, 1, 2 + rank, *pairs))
    whole = [count * step for count, step in zip(counts, parts)]
    found = nd.reshape(found, shape=(size, channels, *whole))
    for axis, (have, extent) in enumerate(zip(whole, extents)):
        if have != extent:
            found = along(found, 2 + axis, 0, extent)
    return found


def gradient_of_kernel(op: Op, g: Value, windows: Windows) -> Value:
    """The gradient of the second operand of the convolution `op` over these windows, for the cotangent `g` of its result.

    Channels stand for the batch and the batch for channels: strides become dilations, and the reverse.
    """
    (x, w), groups = op.operands, op["groups"]
    batch, channels, *extents = static_shape(op, x)
    high = []
    for axis, extent in enumerate(extents):
        reached = (g.shape[2 + axis] - 1) * windows.stride[axis] + windows.spans[axis]
        high.append(reached - windows.low[axis] - extent)
        if high[axis] < 0:
            x = along(x, 2 + axis, 0, high[axis])
    x = nd.reshape(x, shape=(batch, groups, channels // groups, *x.shape[2:])) if groups > 1 else x
    x = nd.transpose(x, perm=(2, 1, 0, *range(3, x.rank)) if groups > 1 else _swapped(x.rank))
    x = nd.reshape(x, shape=(channels // groups, groups * batch, *x.shape[3:])) if groups > 1 else x
    padding = (*windows.low, *(max(0, n) for n in high))
    g = nd.transpose(g, perm=_swapped(g.rank))
    found = nd.conv(x, g, stride=windows.dilation, dilation=windows.stride, padding=padding, groups=groups)
    return nd.transpose(found, perm=_swapped(w.rank))


def _swapped(rank: int) -> tuple[int, ...]:
    """The order of axes in which the first two are swapped."""
    return (1, 0, *range(2, rank))
