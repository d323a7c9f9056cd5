"""Every op of `arith` and `math` against its own `eval`, on edge cases and at random, as scalars and as vectors."""

import itertools

import numpy as np
import pytest

from dlir.backends.cpu.emit_arith import HANDLERS, MATH_FUNCTIONS
from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.dialects.arith.compare import FLOAT_PREDICATES, INTEGER_PREDICATES
from dlir.ir.dialects.scf import for_loop
from dlir.ir.ops import arith, math, memref, vector
from dlir.ir.registry import dialect_ops
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I16, I32, I64, INDEX, MemRefType, VectorType

LANES = 4
INTEGERS = (I1, I8, I32, I64, INDEX)
FLOATS = (F16, BF16, F32, F64)
CASTS = {
    "extf": [(F16, F32), (BF16, F32), (F16, F64), (BF16, F64), (F32, F64)],
    "truncf": [(F32, F16), (F32, BF16), (F64, F16), (F64, BF16), (F64, F32)],
    "extsi": [(I1, I8), (I8, I32), (I32, I64)],
    "extui": [(I1, I8), (I8, I32), (I32, I64)],
    "trunci": [(I64, I32), (I32, I8), (I8, I1)],
    "sitofp": [*itertools.product((I1, I8, I32, I64), FLOATS)],
    "uitofp": [*itertools.product((I1, I8, I32, I64), FLOATS)],
    "fptosi": [*itertools.product(FLOATS, (I8, I32, I64))],
    "fptoui": [*itertools.product(FLOATS, (I8, I32, I64))],
    "index_cast": [(INDEX, I32), (I32, INDEX), (INDEX, I64), (I1, INDEX)],
    "index_castui": [(INDEX, I32), (I32, INDEX), (INDEX, I64), (I1, INDEX)],
    "bitcast": [(F32, I32), (I64, F64), (BF16, I16), (I16, F16), (I32, I32)],
}
INTEGER_OPS = (
    "addi subi muli divsi divui remsi remui floordivsi ceildivsi ceildivui andi ori xori shli shrsi shrui "
    "maxsi maxui minsi minui"
).split()
FLOAT_OPS = "addf subf mulf divf remf maximumf minimumf maxnumf minnumf".split()
UNARY_MATH = "absf ceil floor roundeven trunc sqrt rsqrt exp expm1 log log1p tanh erf sin cos".split()


def samples(dtype, count=40):
    """Values of an element type: the edges and some at random."""
    rng = np.random.default_rng(1)
    numpy = dtype.numpy
    if dtype is I1:
        return np.array([False, True])
    if dtype in FLOATS:
        edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, -0.5, 1.5, 2.5, 1.0, -1.0, 3.0, 127.5, 255.9, -129.0, 65504.0]
        limits = [1e-40, 6e-8, 1e-45, 3.4e38, 1e300, 2.0**31, -(2.0**31), 2.0**63, 2.0**64, 1e-310]
        with np.errstate(over="ignore"):
            wide = np.concatenate([edges, limits, rng.normal(0, 10, count), rng.normal(0, 1e5, 8)])
            return wide.astype(numpy)
    limits = np.iinfo(numpy)
    edges = [0, 1, -1, 2, 3, -7, 5, 8, 31, 33, 64, limits.min, limits.max, limits.min + 1, limits.max // 2]
    drawn = rng.integers(limits.min, limits.max, count, dtype=np.int64, endpoint=True)
    return np.concatenate([np.array(edges, np.int64), drawn, rng.integers(-9, 9, 8)]).astype(numpy)


def pairs(one, two):
    return [grid.ravel().copy() for grid in np.meshgrid(one, two)]


class Batch:
    """Many ops on shared input columns, compiled together: `add(make, *columns)` queues `make(*elements)`."""

    def __init__(self, compile_main, columns):
        """`columns`: pairs of an element type and an array, of one length."""
        self.compile_main = compile_main
        size = -(-len(columns[0][1]) // LANES) * LANES
        self.dtypes = [dtype for dtype, _ in columns]
        self.arrays = [np.resize(array, size) for _, array in columns]
        self.size = size
        self.queue = []

    def add(self, make):
        self.queue.append(make)

    def _results(self, make, vector_of):
        block = Block([vector_of(dtype) for dtype in self.dtypes])
        with at_end(block):
            return make(*block.args)

    def run(self, vectors):
        """(op, result of the machine code, result of eval) for all that is queued."""

        def wrap(dtype):
            return VectorType((LANES,), dtype) if vectors else dtype

        ops = [self._results(make, wrap).defining_op for make in self.queue]
        out_types = [getattr(op.result.type, "dtype", op.result.type) if vectors else op.result.type for op in ops]
        types = [MemRefType((self.size,), dtype) for dtype in (*self.dtypes, *out_types)]
        inputs = len(self.dtypes)

        def body(*buffers):
            def point(i):
                if vectors:
                    loaded = [vector.load(b, [i], wrap(d)) for b, d in zip(buffers, self.dtypes)]
                    for make, out in zip(self.queue, buffers[inputs:]):
                        vector.store(make(*loaded), out, [i])
                else:
                    loaded = [memref.load(b, [i]) for b in buffers[:inputs]]
                    for make, out in zip(self.queue, buffers[inputs:]):
                        memref.store(make(*loaded), out, [i])

            for_loop(0, self.size, LANES if vectors else 1, [], point)

        outs = [np.zeros(self.size, dtype.numpy) for dtype in out_types]
        self.compile_main(types, body)(*self.arrays, *outs)
        return [(op, out, self._evaluate(op.result)) for op, out in zip(ops, outs)]

    def _evaluate(self, value):
        op = value.defining_op
        if op is None:
            return self.arrays[value.index]
        return op.evaluate([self._evaluate(operand) for operand in op.operands])[0]


def assert_same(op, got, want, inputs, relative=0.0):
    """Equal bits, but for the sign and payload of NaN; or within `relative` if that is given."""
    want = np.asarray(want)
    assert got.dtype == want.dtype, op
    if got.dtype.kind in "iub":
        wrong = got != want
    else:
        wide_got, wide_want = got.astype(np.float64), want.astype(np.float64)
        # maxnum and minnum of zeros may give either one.
        same = (got == want) & ((np.signbit(wide_got) == np.signbit(wide_want)) | ("num" in op.name))
        with np.errstate(all="ignore"):
            close = abs(wide_got - wide_want) <= relative * abs(wide_want)
        wrong = ~(same | (np.isnan(wide_got) & np.isnan(wide_want)) | (close if relative else False))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        operands = [array[at] for array in inputs]
        pytest.fail(f"{op.name} {op.operand_types} of {operands}: {got[at]!r}, eval gives {want[at]!r}")


@pytest.mark.parametrize("vectors", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_ops(compile_main, dtype, vectors):
    left, right = pairs(samples(dtype), samples(dtype))
    batch = Batch(compile_main, [(dtype, left), (dtype, right)])
    for name in INTEGER_OPS:
        if dtype is I1 and ("div" in name or "rem" in name or "sh" in name):
            continue
        batch.add(lambda a, b, name=name: getattr(arith, name)(a, b))
    for predicate in INTEGER_PREDICATES:
        batch.add(lambda a, b, predicate=predicate: arith.cmpi(predicate, a, b))
    batch.add(lambda a, b: math.absi(a))
    for op, got, want in batch.run(vectors):
        assert_same(op, got, want, batch.arrays)


@pytest.mark.parametrize("vectors", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_ops(compile_main, dtype, vectors):
    left, right = pairs(samples(dtype), samples(dtype))
    batch = Batch(compile_main, [(dtype, left), (dtype, right)])
    for name in FLOAT_OPS:
        batch.add(lambda a, b, name=name: getattr(arith, name)(a, b))
    for predicate in FLOAT_PREDICATES:
        batch.add(lambda a, b, predicate=predicate: arith.cmpf(predicate, a, b))
    batch.add(lambda a, b: arith.negf(a))
    batch.add(lambda a, b: math.copysign(a, b))
    for op, got, want in batch.run(vectors):
        assert_same(op, got, want, batch.arrays)


@pytest.mark.parametrize("vectors", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_math_functions(compile_main, dtype, vectors):
    batch = Batch(compile_main, [(dtype, samples(dtype, 2000))])
    for name in UNARY_MATH:
        batch.add(lambda a, name=name: getattr(math, name)(a))
    exact = {"math.absf", "math.ceil", "math.floor", "math.roundeven", "math.trunc", "math.sqrt"}
    for op, got, want in batch.run(vectors):
        tolerance = 0.0 if op.name in exact else 4.0 * float(np.spacing(dtype.numpy.type(1.0)))
        assert_same(op, got, want, batch.arrays, tolerance)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_power_and_fused_multiply_add(compile_main, dtype):
    left, right = pairs(samples(dtype, 10), samples(dtype, 10))
    batch = Batch(compile_main, [(dtype, left), (dtype, right), (dtype, np.roll(left, 7))])
    batch.add(lambda a, b, c: math.fma(a, b, c))
    batch.add(lambda a, b, c: math.powf(a, b))
    batch.add(lambda a, b, c: arith.select(arith.cmpf("olt", a, b), a, c))
    fma, power, chosen = batch.run(vectors=False)
    assert_same(*fma, batch.arrays)
    assert_same(*chosen, batch.arrays)
    assert_same(*power, batch.arrays, 4.0 * float(np.spacing(dtype.numpy.type(1.0))))


@pytest.mark.parametrize("vectors", [False, True], ids=["scalar", "vector"])
@pytest.mark.parametrize(("name", "source", "target"), [(n, s, t) for n, ts in CASTS.items() for s, t in ts])
def test_casts(compile_main, name, source, target, vectors):
    array = samples(source, 200)
    batch = Batch(compile_main, [(source, array)])
    like = (lambda dtype: VectorType((LANES,), dtype)) if vectors else (lambda dtype: dtype)
    batch.add(lambda a: getattr(arith, name)(a, like(target)))
    for op, got, want in batch.run(vectors):
        assert_same(op, got, want, batch.arrays)


def test_every_op_is_emitted():
    ops = {*dialect_ops("arith"), *dialect_ops("math")}
    assert not ops - set(HANDLERS)
    assert not set(MATH_FUNCTIONS) - ops
