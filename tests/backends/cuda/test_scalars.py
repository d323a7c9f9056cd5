"""Every scalar op in CUDA C: what cuda-sim computes is what the op's ``eval`` computes."""

import itertools

import numpy as np
import pytest

from dlir.backends.cuda import nvrtc, scalars
from dlir.backends.cuda.emit import emit_kernels
from dlir.backends.cuda.sim.module import SimModule
from dlir.ir.builder import at_end
from dlir.ir.core import UnregisteredOp
from dlir.ir.dialects.arith.compare import FLOAT_PREDICATES, INTEGER_PREDICATES
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.gpu import GPUFunc, GPUModule
from dlir.ir.dialects.scf import for_loop
from dlir.ir.errors import DlirError
from dlir.ir.ops import arith, gpu, math, memref
from dlir.ir.registry import find_op
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I16, I32, I64, INDEX, MemRefType
from dlir.ir.verifier import verify

INTEGERS = (I1, I8, I16, I32, I64)
FLOATS = (F16, BF16, F32, F64)
#: Functions that the device's library and NumPy round differently: units in the last place.
ULPS = {"exp": 2, "expm1": 2, "log": 2, "log1p": 2, "rsqrt": 2, "tanh": 2, "erf": 2, "sin": 2, "cos": 2, "powf": 2}


def samples(dtype):
    """Ordinary and extreme values of an element type."""
    if dtype is I1:
        return np.array([False, True])
    if dtype in FLOATS:
        big = {F16: 6e4, BF16: 3e38, F32: 3e38, F64: 1e300}[dtype]
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.5, -3.5, 127.9, -128.5, big, -big, 1e-7]
        drawn = np.random.default_rng(0).standard_normal(16) * 10
        return np.r_[special, drawn].astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    drawn = np.random.default_rng(0).integers(limits.min, limits.max, 8)
    return np.array([0, 1, -1, 2, -2, 3, -7, 8, 31, 64, limits.min, limits.max, *drawn], dtype.numpy)


def pairs(dtype, count):
    """All combinations of `count` samples, as that many arrays."""
    values = samples(dtype)[: 12 if count == 3 else None]
    grid = np.array(list(itertools.product(range(len(values)), repeat=count)))
    return [values[grid[:, i]] for i in range(count)]


def kernel_of(compute, types, results, size):
    """A module with one kernel that maps `compute` over arrays of `size` elements."""
    module, kernels = Module.empty(), GPUModule.make("kernels")
    module.body.append(kernels)
    arrays = [MemRefType((size,), dtype) for dtype in (*types, *results)]
    kernel = GPUFunc.make("k", arrays, block_size=(64, 1, 1))
    kernels.body.append(kernel)
    with at_end(kernel.body):

        def body(i):
            found = compute(*(memref.load(array, [i]) for array in kernel.body.args[: len(types)]))
            for value, array in zip(found, kernel.body.args[len(types) :]):
                memref.store(value, array, [i])

        for_loop(gpu.thread_id("x"), size, 64, [], body)
        gpu.return_()
    assert not verify(module)
    return module


def run(compute, operands, types, results):
    """Run `compute` on arrays in cuda-sim."""
    module = kernel_of(compute, types, results, operands[0].size)
    source = emit_kernels(module)
    nvrtc.compile_cubin(source.text)
    outs = [np.zeros(operands[0].size, dtype.numpy) for dtype in results]
    SimModule(source.text).kernel(source.names["kernels::k"])((1,), (64,), [*operands, *outs])
    return outs


def check(found, want, ulps=0):
    """Equal bit for bit (any NaN for NaN), or within `ulps` units in the last place."""
    want = np.asarray(want)
    if want.dtype.kind in "biu" or not ulps:
        nan = want != want
        np.testing.assert_array_equal(found != found, nan)
        bits = f"u{want.dtype.itemsize}"
        np.testing.assert_array_equal(found.view(bits)[~nan], want.view(bits)[~nan])
        return
    wide, exact = found.astype(np.float64), want.astype(np.float64)
    with np.errstate(invalid="ignore"):
        step = np.maximum(np.spacing(np.abs(want)).astype(np.float64), np.finfo(np.float32).tiny)
        close = (np.abs(wide - exact) <= ulps * step) | (wide == exact) | (np.isnan(wide) & np.isnan(exact))
    assert close.all(), (found[~close], want[~close])


def evaluated(ops, operands):
    """The operands through the ops' own meaning."""
    with np.errstate(all="ignore"):
        return [type(op).eval(*operands, **op.keywords) for op in ops]


pytestmark = pytest.mark.usefixtures("needs_sim", "needs_nvrtc")

INTEGER_BINARY = (
    *("addi", "subi", "muli", "divsi", "divui", "remsi", "remui", "floordivsi", "ceildivsi", "ceildivui"),
    *("andi", "ori", "xori", "shli", "shrsi", "shrui", "maxsi", "minsi", "maxui", "minui"),
)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_ops(dtype):
    names = [name for name in INTEGER_BINARY if dtype is not I1 or name in ("addi", "muli", "andi", "ori", "xori")]
    operands, made = pairs(dtype, 2), []

    def compute(a, b):
        made[:] = [getattr(arith, name)(a, b) for name in names]
        return made

    found = run(compute, operands, [dtype] * 2, [dtype] * len(names))
    for name, value, want in zip(names, found, evaluated([v.owner for v in made], operands), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=name)


@pytest.mark.parametrize("dtype", (I8, I32, I64), ids=str)
def test_division_by_a_constant(dtype):
    names, divisors = ("divsi", "divui", "remsi", "remui", "floordivsi"), (0, 1, -1, 3, -7)
    values = samples(dtype)

    def compute(a):
        constants = [arith.constant(divisor, dtype) for divisor in divisors]
        return [getattr(arith, name)(a, constant) for name in names for constant in constants]

    found = run(compute, [values], [dtype], [dtype] * len(names) * len(divisors))
    for (name, divisor), value in zip(itertools.product(names, divisors), found, strict=True):
        with np.errstate(all="ignore"):
            want = find_op(f"arith.{name}").eval(values, np.full_like(values, divisor))
        np.testing.assert_array_equal(value, want, err_msg=f"{name} by {divisor}")


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_comparisons(dtype):
    operands, made = pairs(dtype, 2), []

    def compute(a, b):
        made[:] = [arith.cmpi(word, a, b) for word in INTEGER_PREDICATES]
        return made

    found = run(compute, operands, [dtype] * 2, [I1] * len(INTEGER_PREDICATES))
    for word, value, want in zip(INTEGER_PREDICATES, found, evaluated([v.owner for v in made], operands), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=word)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_arithmetic_is_exact(dtype):
    names = ("addf", "subf", "mulf", "divf", "maximumf", "minimumf", "maxnumf", "minnumf", "remf")
    operands, made = pairs(dtype, 2), []

    def compute(a, b):
        made[:] = [getattr(arith, name)(a, b) for name in names]
        made.append(math.copysign(a, b))
        return made

    found = run(compute, operands, [dtype] * 2, [dtype] * (len(names) + 1))
    for op, value, want in zip(made, found, evaluated([v.owner for v in made], operands), strict=True):
        if "num" in op.owner.name:
            value, want = value + 0, want + 0  # which zero fmax gives is not specified
        check(value, want.astype(dtype.numpy))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_comparisons(dtype):
    operands, made = pairs(dtype, 2), []

    def compute(a, b):
        made[:] = [arith.cmpf(word, a, b) for word in FLOAT_PREDICATES]
        return made

    found = run(compute, operands, [dtype] * 2, [I1] * len(FLOAT_PREDICATES))
    for word, value, want in zip(FLOAT_PREDICATES, found, evaluated([v.owner for v in made], operands), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=word)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_functions(dtype):
    names = [name.removeprefix("math.") for name in scalars._TABLE if name.startswith("math.")]
    names = [name for name in names if name not in ("absi", "powf", "copysign", "fma")]
    values, made = samples(dtype), []

    def compute(a):
        made[:] = [getattr(math, name)(a) for name in names] + [arith.negf(a), math.powf(a, a)]
        return made

    found = run(compute, [values], [dtype], [dtype] * (len(names) + 2))
    for value, got in zip(made, found, strict=True):
        op = value.owner
        with np.errstate(all="ignore"):
            want = type(op).eval(*[values] * len(op.operands), **op.keywords)
        check(got, np.asarray(want).astype(dtype.numpy), ULPS.get(op.name.removeprefix("math."), 0))


@pytest.mark.parametrize("dtype", (F32, F64), ids=str)
def test_fused_multiply_add_rounds_once(dtype):
    operands = pairs(dtype, 3)
    (found,) = run(lambda a, b, c: [math.fma(a, b, c)], operands, [dtype] * 3, [dtype])
    with np.errstate(all="ignore"):
        check(found, find_op("math.fma").eval(*operands))


@pytest.mark.parametrize("source", (*INTEGERS, *FLOATS), ids=str)
def test_conversions(source):
    values = samples(source)
    wanted = []
    for target in (*INTEGERS, *FLOATS):
        if source is target:
            continue
        if source in FLOATS and target in FLOATS:
            if source.bytes != target.bytes:
                wanted.append(("extf" if target.bytes > source.bytes else "truncf", target))
        elif source in FLOATS:
            wanted += [("fptosi", target), ("fptoui", target)]
        elif target in FLOATS:
            wanted += [("sitofp", target), ("uitofp", target)]
        elif target.width > source.width:
            wanted += [("extsi", target), ("extui", target)]
        else:
            wanted.append(("trunci", target))

    def compute(a):
        return [getattr(arith, name)(a, result_types=[target]) for name, target in wanted]

    found = run(compute, [values], [source], [target for _, target in wanted])
    for (name, target), value in zip(wanted, found, strict=True):
        with np.errstate(all="ignore"):
            want = find_op(f"arith.{name}").eval(values, result_types=(target,))
        if source is I64 and target in (F16, BF16):
            continue  # by way of f32, as nd.cast does
        check(value, want)


def test_bit_casts_and_selection():
    values = samples(F32)[np.r_[0:4, 5:32]]  # a NaN may change its bits

    def compute(a):
        bits = arith.bitcast(a, result_types=[I32])
        return [bits, arith.bitcast(bits, result_types=[F32]), arith.select(arith.cmpf("ogt", a, 0.0), a, 7.0)]

    bits, back, chosen = run(compute, [values], [F32], [I32, F32, F32])
    np.testing.assert_array_equal(bits, values.view(np.int32))
    np.testing.assert_array_equal(back.view(np.int32), values.view(np.int32))
    np.testing.assert_array_equal(chosen, np.where(values > 0, values, 7))


def test_index_arithmetic():
    values = np.array([0, 1, 7, 63, 64, 1000, 12345], np.int64)

    def compute(a):
        i = arith.index_cast(a, result_types=[INDEX])
        found = [arith.divui(i, 7), arith.remui(i, 7), arith.muli(i, 3), arith.subi(i, 5), arith.floordivsi(i, 4)]
        return [arith.index_cast(value, result_types=[I64]) for value in found]

    found = run(compute, [values], [I64], [I64] * 5)
    for got, want in zip(found, (values // 7, values % 7, values * 3, values - 5, values // 4), strict=True):
        np.testing.assert_array_equal(got, want)


def test_constants_are_exact():
    constants = [
        *((value, F64) for value in (0.1, -0.0, 1e-310, np.inf, -np.inf, np.nan)),
        *((value, F32) for value in (0.1, -0.0, 1e-40, np.inf, -np.inf, np.nan, 3.4028235e38)),
        *((value, F16) for value in (0.1, -0.0, np.inf)),
        *((value, BF16) for value in (0.1, -np.inf)),
        *((value, I64) for value in (-(2**63), 2**63 - 1, -1, 2**31)),
        *((value, I32) for value in (-(2**31), 2**31 - 1, -1)),
        *((value, I16) for value in (-(2**15), 2**15 - 1)),
        *((value, I8) for value in (-128, 127, 255)),
        *((value, I1) for value in (True, False)),
    ]
    types = [dtype for _, dtype in constants]
    found = run(lambda a: [arith.constant(v, d) for v, d in constants], [np.zeros(1, np.float32)], [F32], types)
    for (value, dtype), got in zip(constants, found, strict=True):
        check(got, np.array([arith_constant(value, dtype)]))


def arith_constant(value, dtype):
    """The element that an ``arith.constant`` holds in memory."""
    return np.asarray(value).astype(dtype.numpy) if dtype in (*FLOATS, I1) else np.int64(value).astype(dtype.numpy)


def test_an_op_outside_the_vocabulary_is_an_error():
    module = kernel_of(lambda a: [a], [F32], [F32], 4)
    loop = next(op for op in module.walk() if op.name == "scf.for")
    loop.body.insert_before(loop.body.terminator, UnregisteredOp("evil.asm", [], [F32]))
    with pytest.raises(DlirError, match=r"no code for 'evil.asm'"):
        emit_kernels(module)


def test_user_text_never_reaches_the_source():
    module = kernel_of(lambda a: [a], [F32], [F32], 4)
    for op in module.walk():
        if isinstance(op, GPUFunc):
            op.set("sym_name", "k(){} asm")
            for arg in op.body.args:
                arg.name = "x; system"
    text = emit_kernels(module).text
    assert "asm" not in text and "system" not in text
