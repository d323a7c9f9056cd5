"""A second opinion on a packing, straight from the definition: it shares no code with the packer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlir.passes.memory.packing import Lifetime, Packing


def conflicts(items: Sequence[Lifetime], packing: Packing) -> list[tuple[int, int]]:
    """Pairs of buffers that are live at the same time and share a byte; also (i, i) for one that is out of place.

    Compares all pairs: O(n^2) in time and memory.
    """
    size = np.array([item.size for item in items], dtype=np.int64)
    first = np.array([item.first for item in items], dtype=np.int64)
    last = np.array([item.last for item in items], dtype=np.int64)
    host = np.array([-1 if h is None else h for h in packing.hosts], dtype=np.int64)
    begin = np.where(host < 0, np.array(packing.offsets, dtype=np.int64), 0)
    end = begin + size
    bad: list[tuple[int, int]] = []
    for i, item in enumerate(items):
        together = (first <= last[i]) & (last >= first[i])
        touching = (host == host[i]) & (begin < end[i]) & (end > begin[i]) & (size > 0) & (size[i] > 0)
        bad += [(i, int(j)) for j in np.flatnonzero(together & touching) if j > i]
        outside = end[i] > packing.height if host[i] < 0 else int(host[i]) not in item.hosts
        if outside or begin[i] < 0:
            bad.append((i, i))
    return bad
