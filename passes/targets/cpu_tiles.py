"""CPUs: register tiles for contractions whose weights are packed in panels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.nd.contraction import Conv, Matmul
from dlir.ir.types import ScalarType, is_float
from dlir.passes.kernels.clip import tile_rows
from dlir.passes.kernels.direct_roles import DirectRoles, direct_roles
from dlir.passes.kernels.emit import accumulated_dtype
from dlir.passes.kernels.plan import Plan, Unfit

#: Vector registers, by the bytes of one.
REGISTERS = {16: 32, 32: 16, 64: 32}
#: Rows up to which a contraction is bound by reading its right operand, and vectors of that to read at a stretch.
FEW_ROWS = 4
LONGEST = 8
#: Vectors of a panel at most, where several rows share what is read of it.
WIDEST = 4
#: Multiplications from which on packing for register tiles pays.
SMALL_CONTRACTION = 4096


def panel_columns(op: Conv | Matmul, vector_bytes: int) -> int | None:
    """How wide the panels should be in which the second operand of a contraction, its weights, is packed.

    None where packing does not pay: plain loops are as good.  Few rows are bound by reading the weights, which is fastest in
    the order of memory, and take panels as wide as hide the latency of the sums.
    """
    weights, result = op.operands[1], op.results[0]
    dtype = accumulated_dtype(op)
    assert isinstance(dtype, ScalarType)
    if weights.dtype is not dtype or not is_float(dtype):
        return None
    if isinstance(op, Conv):
        width, rows = result.shape[1], (result.shape[0], *result.shape[2:])
        if op["groups"] != 1:
            return None
    else:
        width, rows = result.shape[-1], result.shape[:-1]
        if weights.rank != 2:
            return None
    height = math.prod(rows)
    if height * weights.type.size < SMALL_CONTRACTION or width < 4:
        return None
    lanes = max(1, vector_bytes // dtype.bytes)
    while lanes > 4 and lanes // 2 >= width:
        lanes //= 2
    costs = {}
    for vectors in range(1, (LONGEST if height <= FEW_ROWS else 4) + 1):
        columns = vectors * lanes
        _, cost = _best_rows(rows, REGISTERS[vector_bytes], vectors)
        costs[columns] = cost * -(-width // columns)
    return min(costs, key=lambda columns: costs[columns])


def direct_tile(plan: Plan, vector_bytes: int) -> tuple[int, int, int] | None:
    """The tile for a contraction with a packed operand; None if none is packed."""
    assert plan.anchor is not None
    dtype = accumulated_dtype(plan.anchor)
    assert isinstance(dtype, ScalarType)
    lanes = max(1, vector_bytes // dtype.bytes)
    try:
        roles = [direct_roles(plan)]
        if plan.form == "contraction" and roles[0].width > WIDEST * lanes:
            # Channels that lie side by side can be cut into panels of any width.
            roles += [direct_roles(plan, width) for width in range(lanes, WIDEST * lanes + 1, lanes)]
    except Unfit:
        return None
    found = [tile for one in roles if (tile := _tile_of(plan.anchor, one, vector_bytes, lanes)) is not None]
    return min(found)[1] if found else None


def _tile_of(
    op: Primitive, roles: DirectRoles, vector_bytes: int, lanes: int
) -> tuple[float, tuple[int, int, int]] | None:
    """The tile for these roles, and about how many cycles a step of the sum takes with it; None if panels do not suit."""
    while roles.width % lanes:
        lanes //= 2
    if lanes < min(4, roles.width) or roles.width // lanes > LONGEST:
        return None
    rows, cost = _best_rows(tile_rows(op, roles), REGISTERS[vector_bytes], roles.width // lanes)
    return cost * roles.size(roles.panels), (rows, roles.width, lanes)


def _best_rows(sizes: Sequence[int], registers: int, vectors: int) -> tuple[int, float]:
    """How many rows of `vectors` a tile should have for rows of these extents, and about how many cycles all tiles take.

    Tiles are parts of a line, the last dimension, or several whole lines.
    """
    # Besides the sums, a register for each vector of the line and one for the scalar.
    most = max(1, (registers - 1 - vectors) // vectors)
    sizes = [size for size in sizes if size != 1] or [1]
    line, total = sizes[-1], math.prod(sizes)
    best: tuple[float, int] | None = None
    for rows in range(1, most + 1):
        length = total if rows % line == 0 else line
        whole, rest = divmod(length, rows)
        cost = whole * step_cost(rows, vectors) + (step_cost(rest, vectors) if rest else 0)
        cost *= total / length
        if best is None or cost < best[0]:
            best = cost, rows
    assert best is not None
    return best[1], best[0]


def step_cost(rows: int, vectors: int) -> float:
    # A chain of additions has a latency of four steps: smaller tiles wait for it.
    return max(rows * vectors, 4.0) + 0.5 * (rows + vectors) + 2.0
