"""CPUs: how kernels iterate on them."""

from __future__ import annotations

import functools
import math
import platform
from pathlib import Path

from dlir.ir.core import Value
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.dialects.nd.scalars import accumulator
from dlir.ir.types import BF16, ScalarType, is_float
from dlir.passes.kernels.buffers import first_step, stride_of
from dlir.passes.kernels.classify import FusionClass, facts
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.emit import accumulated_dtype
from dlir.passes.kernels.grid import crossing, merge_dims
from dlir.passes.kernels.parts import SEPARATOR
from dlir.passes.kernels.plan import Loop, Plan, Unfit
from dlir.passes.kernels.roles import Roles, reads_vectors, roles_of
from dlir.passes.kernels.rows import kept_in_results
from dlir.passes.kernels.scan import runs_of, width_of
from dlir.passes.kernels.scatter import tile_on_cpu
from dlir.passes.targets.cpu_tiles import FEW_ROWS, LONGEST, SMALL_CONTRACTION, direct_tile, step_cost

#: Elements of a long run of neighbours that make a work item of their own, where there are few runs to share.
POINTWISE_BLOCK = 16384
#: The same in kernels of several parts.
PART_BLOCK = 4096
#: Sides of a block where operand and result lie in different orders, and elements that need no blocks.
TRANSPOSED_BLOCK = (32, 32)
CACHED = 4096

#: Rows side by side in memory that are computed together: enough vectors to hide the latency of adding.
ROWS_TOGETHER = 256
#: Running totals side by side from which on they are computed together.
LEAST_LANES = 4
#: Cost of an element, in additions, from which on it is not computed between the additions of running totals.
COSTLY = 6
#: Running totals elsewhere that take turns in one loop.
TOTALS_TOGETHER = 8

#: By bytes of a vector register: vectors that one register tile of a contraction may hold.  The machines with 64-byte (and
#: 16-byte, Arm) registers have 32 of them, those with 32-byte ones 16.
TILE_VECTORS = {16: 24, 32: 12, 64: 24}
#: How many fewer where results are rounded to bf16 by their bits: the constants for that keep registers through the sum.
ROUNDING_VECTORS = {16: 4, 32: 2, 64: 4}
#: Vectors of queries of an attention that share what is read of keys and values, and keys whose scores are kept.
ATTENTION_VECTORS = 4
ATTENTION_KEYS = 48
#: What a block costs whatever it holds, for reading keys and values, in vectors of queries.
ATTENTION_BLOCK = 0.3
#: Bytes that queries and sums of a block may take.
ATTENTION_BYTES = 128 << 10


def check(plan: Plan) -> None:
    """Unfit for a kernel that is slower than several would be."""
    points = math.prod(plan.rows) * max((math.prod(loop.extents) for loop in plan.loops), default=1)
    if plan.after is not None and points > CACHED and _is_across(plan):
        raise Unfit("with a reduction over all rows they would be taken one by one, and lie side by side in memory")
    if plan.form == "row" and {True, False} <= {_goes_across(plan, loop) for loop in plan.loops}:
        raise Unfit(
            "some of it goes along rows that lie together in memory, and some across rows that lie side by side"
        )
    if plan.form in ("flat", "row") and _writes_across(plan):
        raise Unfit(
            "a large result would be written in another order than the rest, a line of the cache for each element"
        )
    if plan.form == "scan" and _is_costly_in_order(plan):
        raise Unfit("costly ops would be done one by one, in the order of the running totals, and not in vectors")


def choose(plan: Plan, vector_bytes: int = 0) -> tuple[str, tuple[int, ...]]:
    """The schedule and tile for a kernel, on a machine with vector registers of this size; 0: on this one."""
    if plan.form == "parts":
        return _choose_parts(plan, vector_bytes)
    if plan.form == "row":
        if plan.after is None and _is_across(plan):
            return "rows", (ROWS_TOGETHER,)
        return "row-in-result" if kept_in_results(plan) else "row", ()
    if plan.form == "scan":
        return "scan", _totals_together(plan)
    if plan.form == "scatter":
        return "scatter", tile_on_cpu(plan)
    if plan.form == "attention":
        return "attention", _attention_tile(plan, vector_bytes or host_vector_bytes())
    if plan.form in ("contraction", "pooled"):
        found = direct_tile(plan, vector_bytes or host_vector_bytes())
        if found is not None:
            return "direct" if plan.form == "contraction" else "pooled", found
    if plan.form == "contraction":
        roles = roles_of(plan, lambda op: True)
        tile = None if roles is None else _tile(plan, roles, vector_bytes or host_vector_bytes())
        if tile is not None:
            return "contraction", tile
    if plan.form == "flat" and _is_crossed(plan):
        return "blocks", TRANSPOSED_BLOCK
    return "nest", (POINTWISE_BLOCK,)


def _choose_parts(plan: Plan, vector_bytes: int) -> tuple[str, tuple[int, ...]]:
    """The schedules of the parts of a kernel; items should be few, because each is told apart from those of other parts."""
    names: list[str] = []
    tiles: tuple[int, ...] = ()
    for _, part in plan.parts:
        name, tile = choose(part, vector_bytes)
        if name == "nest":
            name, tile = "runs", (PART_BLOCK,)
        names.append(name)
        tiles += tile
    return SEPARATOR.join(names), tiles


def _attention_tile(plan: Plan, vector_bytes: int) -> tuple[int, ...]:
    """Queries, keys, rows and lanes of the tile of an attention."""
    (result,) = plan.anchor.results
    queries = result.shape[-2]
    lanes = max(1, vector_bytes // accumulator(result.dtype).bytes)
    while lanes > 4 and lanes // 2 >= queries:
        lanes //= 2
    # Lanes beyond the last query compute as much as others do.
    needed = max(1, -(-queries // lanes))
    vectors = min(range(ATTENTION_VECTORS, 0, -1), key=lambda n: -(-needed // n) * (n + ATTENTION_BLOCK))
    # Queries and sums take a row of each vector for every feature.
    features = plan.anchor.operands[0].shape[-1] + result.shape[-1]
    while vectors > 1 and features * vectors * vector_bytes > ATTENTION_BYTES:
        vectors -= 1
    rows = TILE_VECTORS[vector_bytes] // vectors
    return vectors * lanes, rows * max(1, ATTENTION_KEYS // rows), rows, lanes


def _totals_together(plan: Plan) -> tuple[int, ...]:
    """How many running totals to compute together: many where they lie side by side, else enough to hide latency."""
    width = width_of(plan)
    if width >= LEAST_LANES:
        return (ROWS_TOGETHER,)
    return (math.gcd(TOTALS_TOGETHER, runs_of(plan)),) if width == 1 else ()


def _is_crossed(plan: Plan) -> bool:
    """Whether an operand lies in another order than the results, and is too large to stay in the cache."""
    (loop,) = plan.loops
    return math.prod(loop.extents) > CACHED and crossing(plan, loop, merge_dims(plan, loop)) is not None


def _columns(plan: Plan, loop: Loop) -> list[int]:
    """The dimensions that a loop over the columns of a row goes over, by their number in its indices."""
    return [len(plan.rows) + i for i, extent in enumerate(loop.extents) if extent != 1]


def _writes_across(plan: Plan) -> bool:
    """Whether the elements of a large result lie apart along a loop that something else is read or written along."""
    found: set[bool] = set()
    for loop in plan.loops:
        columns = _columns(plan, loop)
        if not columns:
            continue
        for number, index in loop.outputs:
            shape = plan.shapes[number]
            if math.prod(shape) <= CACHED:
                continue
            steps = [first_step(*place, columns[-1]) for place in ((index, shape), *_seen(plan.values[number], index))]
            found |= {step != 1 for step in steps if step}
        if plan.form == "row":
            found |= {False for value, index in loop.demand.leaves if stride_of(index, value.shape, columns[-1]) == 1}
    return found == {True, False}


def _seen(value: Value, index: Index) -> list[tuple[Index, tuple[int, ...]]]:
    """What `value` shows at an index if it is a view: its index, and the shape of what is viewed."""
    op = value.defining_op
    if not isinstance(op, Primitive) or facts(op).fusion_class is not FusionClass.VIEW:
        return []
    return [(where, source.shape) for source, where in facts(op).operand_elements(op, index)]


def _is_costly_in_order(plan: Plan) -> bool:
    """Whether a large scan of totals that lie one after another holds ops that are better done for many elements at once."""
    (loop,) = plan.loops
    if math.prod(loop.extents) <= CACHED or width_of(plan) >= LEAST_LANES:
        return False
    inside = loop.demand.inside
    ops = {value.defining_op for value, _ in loop.demand.elements} - {None, plan.anchor}
    return sum(facts(op).cost for op in ops if isinstance(op, Primitive) and inside(op)) >= COSTLY


def _goes_across(plan: Plan, loop: Loop) -> bool | None:
    """Whether all that a large loop of a row reads and writes lies side by side with that of other rows (True), or
    together (False); None where it is some of both, or little."""
    rank, columns = len(plan.rows), _columns(plan, loop)
    if not columns or not rank or math.prod(plan.rows) * math.prod(loop.extents) <= CACHED:
        return None
    accesses = [(index, value.shape) for value, index in loop.demand.leaves]
    accesses += [(index, plan.shapes[number]) for number, index in loop.outputs]
    strides = [(stride_of(*access, columns[-1]), stride_of(*access, rank - 1)) for access in accesses]
    found = {row == 1 for column, row in strides if column and 1 in (column, row)}
    return found.pop() if len(found) == 1 else None


def _is_across(plan: Plan) -> bool:
    """Whether more is read along neighbouring rows than along the columns of a row."""
    rank = len(plan.rows)
    along = across = 0
    for loop in plan.loops:
        columns = _columns(plan, loop)
        if not columns or not rank:
            continue
        for value, index in loop.demand.leaves:
            along += stride_of(index, value.shape, columns[-1]) == 1
            across += stride_of(index, value.shape, rank - 1) == 1
    return across > along


def _tile(plan: Plan, roles: Roles, vector_bytes: int) -> tuple[int, ...] | None:
    """Rows, columns and lanes of the register tile; None where plain loops are as good."""
    op = plan.anchor
    assert op is not None
    dtype = accumulated_dtype(op)
    assert isinstance(dtype, ScalarType)
    height, width = roles.size(roles.rows), roles.size(roles.columns) * roles.size(roles.bands)
    if math.prod(roles.shape) * roles.depth < SMALL_CONTRACTION or width < 4:
        return None
    lanes = max(1, vector_bytes // dtype.bytes)
    while lanes > 4 and lanes // 2 >= width:
        lanes //= 2
    budget = TILE_VECTORS[vector_bytes] if is_float(dtype) else TILE_VECTORS[vector_bytes] // 2
    if op.results[0].dtype is BF16:
        budget -= ROUNDING_VECTORS[vector_bytes]
    if height <= FEW_ROWS:
        # Packing does not pay: vectors are read where they are, or each element is a sum of its own.
        found = _whole_vectors(width, lanes, budget // height)
        return (height, *found) if found and reads_vectors(op, roles, dtype) else None
    best: tuple[float, tuple[int, ...]] | None = None
    for vectors in range(1, 5):
        rows = min(budget // vectors, height)
        cost = _cost(roles, rows, vectors, vectors * lanes)
        if best is None or cost < best[0]:
            best = cost, (rows, vectors * lanes, lanes)
    assert best is not None
    return best[1]


def _whole_vectors(width: int, lanes: int, most: int) -> tuple[int, int] | None:
    """The widest tile of at most `most` vectors, and their lanes, that divides `width`."""
    while lanes >= 4 and width % lanes:
        lanes //= 2
    if lanes < 4:
        return None
    vectors = max(n for n in range(1, min(most, LONGEST) + 1) if width // lanes % n == 0)
    return vectors * lanes, lanes


def _cost(roles: Roles, rows: int, vectors: int, columns: int) -> float:
    """About how many cycles a step of the sum takes for the whole result: multiplications, and loads at half a cycle."""
    width, bands = roles.size(roles.columns), roles.size(roles.bands)
    in_one = max(1, min(bands, columns // width))
    panels = -(-width // columns) * -(-bands // in_one)
    whole, rest = divmod(roles.size(roles.rows), rows)
    per_panel = whole * step_cost(rows, vectors) + (step_cost(rest, vectors) if rest else 0)
    return panels * per_panel


@functools.cache
def host_vector_bytes() -> int:
    """Bytes of this machine's vector registers, as far as the operating system tells."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return 16
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return 32
    return 64 if "avx512f" in words else 32 if "avx2" in words or not words else 16
