"""CUDA C from GPU functions: control flow, memory and types, and errors for what has none."""

import re

import numpy as np
import pytest

from dlir.backends.cuda import nvrtc
from dlir.backends.cuda.emit import emit_kernels
from dlir.backends.cuda.sim.module import SimModule
from dlir.ir.attributes import IntegerAttr, OpaqueAttr
from dlir.ir.builder import at_end
from dlir.ir.core import Block, Region
from dlir.ir.dialects.builtin import Module, UnrealizedConversionCast
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.gpu import PRIVATE, GPUFunc, GPUModule, launch, workgroup
from dlir.ir.dialects.scf import If, for_loop, if_else, while_loop
from dlir.ir.errors import DlirError
from dlir.ir.ops import arith, func, gpu, memref, scf
from dlir.ir.types import F32, I8, I32, INDEX, UI8, FloatType, MemRefType
from dlir.ir.verifier import verified

pytestmark = pytest.mark.usefixtures("needs_sim", "needs_nvrtc")


def kernel_module(body, *types, shared=(), private=()):
    """A module with the kernel that `body` makes from its arguments and the thread's number."""
    module, kernels = Module.empty(), GPUModule.make("kernels")
    module.body.append(kernels)
    kernel = GPUFunc.make("k", types, shared, private, block_size=(32, 1, 1))
    kernels.body.append(kernel)
    with at_end(kernel.body):
        body(*kernel.body.args, gpu.thread_id("x"))
        gpu.return_()
    return verified(module)


def run(module, *arrays):
    """Run the only kernel with one warp; the last array."""
    source = emit_kernels(module)
    nvrtc.compile_cubin(source.text)
    SimModule(source.text).kernel("kernel_0")((1,), (32,), arrays)
    return arrays[-1]


def floats(*shape):
    return MemRefType(shape, F32)


def test_carried_values_are_assigned_at_once():
    def body(y, t):
        one, zero = arith.constant(1.0, F32), arith.constant(0.0, F32)
        swapped = for_loop(0, t, 1, [zero, one], lambda i, a, b: (b, a))
        rotated = for_loop(0, t, 1, [zero, one, arith.constant(2.0, F32)], lambda i, a, b, c: (b, c, a))
        numbers = for_loop(0, t, 1, [zero, one], lambda i, a, b: (b, arith.addf(a, b)))
        for column, value in enumerate([*swapped, *rotated, numbers[0]]):
            memref.store(value, y, [t, column])

    y = run(kernel_module(body, floats(32, 6)), np.zeros((32, 6), np.float32))
    fibonacci = [0, 1]
    while len(fibonacci) < 32:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    for t in range(32):
        np.testing.assert_array_equal(y[t, :5], [t % 2, 1 - t % 2, t % 3, (t + 1) % 3, (t + 2) % 3])
        assert y[t, 5] == np.float32(fibonacci[t])


def test_branches_with_and_without_results():
    def body(y, t):
        is_even = arith.cmpi("eq", arith.remui(t, 2), 0)
        (found,) = if_else(is_even, lambda: arith.constant(1.0, F32), lambda: arith.constant(-1.0, F32))
        memref.store(found, y, [t])
        if_else(arith.cmpi("slt", t, 4), lambda: memref.store(arith.constant(7.0, F32), y, [t]) and None)
        if_else(
            arith.cmpi("sge", t, 30),
            lambda: None,
            lambda: (
                if_else(arith.cmpi("eq", t, 29), lambda: memref.store(arith.constant(9.0, F32), y, [t]) and None)
                and None
            ),
        )

    t = np.arange(32)
    want = np.where(t < 4, 7, np.where(t == 29, 9, np.where(t % 2 == 0, 1, -1)))
    np.testing.assert_array_equal(run(kernel_module(body, floats(32)), np.zeros(32, np.float32)), want)


def test_every_kind_of_memory():
    def body(x, y, shared, private, t):
        flat = memref.reinterpret_cast(x, floats(64))
        memref.store(memref.load(flat, [t]), shared, [t])
        gpu.barrier()
        own = memref.alloca((), (), floats(2, 2))
        for row in range(2):
            for column in range(2):
                memref.store(
                    memref.load(shared, [arith.remui(arith.addi(t, 2 * row + column), 32)]), own, [row, column]
                )
        memref.store(memref.load(own, [1, 0]), private, [0])
        memref.store(arith.addf(memref.load(private, [0]), memref.load(own, [0, 1])), y, [t])

    space = MemRefType((1,), F32, None, PRIVATE)
    module = kernel_module(body, floats(2, 32), floats(32), shared=[workgroup((32,), F32)], private=[space])
    x = np.arange(64, dtype=np.float32).reshape(2, 32)
    y = run(module, x, np.zeros(32, np.float32))
    np.testing.assert_array_equal(y, np.roll(x[0], -2) + np.roll(x[0], -1))


def test_unsigned_elements_are_seen_as_signless():
    def body(x, y, t):
        value = UnrealizedConversionCast.build(memref.load(x, [t]), result_types=[I8])
        wide = arith.extui(value, result_types=[I32])
        memref.store(wide, y, [t])

    x = np.arange(200, 232, dtype=np.uint8)
    y = run(kernel_module(body, MemRefType((32,), UI8), MemRefType((32,), I32)), x, np.zeros(32, np.int32))
    np.testing.assert_array_equal(y, x)


def test_buffers_of_rank_zero():
    def body(x, y, t):
        if_else(arith.cmpi("eq", t, 3), lambda: memref.store(memref.load(x, []), y, []) and None)

    assert run(kernel_module(body, floats(), floats()), np.array(5.0, np.float32), np.array(0.0, np.float32)) == 5


def test_indices_are_as_wide_as_the_buffers_need():
    def body(x, y, t):
        memref.store(memref.load(x, [t, 0]), y, [t])

    small = emit_kernels(kernel_module(body, floats(32, 8), floats(32))).text
    large = emit_kernels(kernel_module(body, floats(32, 1 << 28), floats(32))).text
    assert "typedef int index_t;" in small and "typedef long long index_t;" in large
    nvrtc.compile_cubin(large)


def with_launches(module, *argument_lists):
    """Add a `main` with an arena of 1,024 bytes that launches the kernel on views at these offsets."""
    main = Func.make("main", [MemRefType((1024,), I8)])
    module.body.append(main)
    with at_end(main.body):
        for offsets in argument_lists:
            views = [memref.view(main.body.args[0], arith.constant(offset, INDEX), floats(32)) for offset in offsets]
            launch("kernels::k", [1], [32], views)
        func.return_()
    return verified(module)


def test_pointers_are_restricted_where_no_launch_lets_them_overlap():
    def body(x, y, z, t):
        memref.store(arith.addf(memref.load(x, [t]), memref.load(y, [t])), z, [t])

    def parameters(*launches):
        text = emit_kernels(with_launches(kernel_module(body, *[floats(32)] * 3), *launches)).text
        return re.findall(r"((?:const )?float\*(?: __restrict__)?) a", text)

    apart = ["const float* __restrict__", "const float* __restrict__", "float* __restrict__"]
    assert parameters((0, 128, 256)) == apart
    assert parameters((0, 128, 0)) == ["const float*", "const float* __restrict__", "float*"]
    assert parameters((0, 128, 256), (0, 128, 192)) == ["const float* __restrict__", "const float*", "float*"]


# ---------------------------------------------------------------- what has no CUDA C


def broken(kind):
    """A kernel that the backend refuses."""
    match kind:
        case "while":

            def body(y, t):
                while_loop([t], lambda i: (arith.cmpi("slt", i, 5), i), lambda i: arith.addi(i, 1))

            return kernel_module(body, floats(32))
        case "layout":
            strided = MemRefType((4, 4), F32, OpaqueAttr("strided<[8, 1]>"))
            return kernel_module(lambda y, t: memref.load(y, [t, t]), strided)
        case "dynamic":
            return kernel_module(lambda y, t: memref.load(y, [t]), MemRefType((None,), F32))
        case "type":
            return kernel_module(lambda y, t: memref.load(y, [t]), MemRefType((4,), FloatType("f8E4M3FN")))
        case "shuffle":

            def narrow(y, t):
                value = arith.constant(1, I8)
                gpu.shuffle(value, arith.constant(1, I32), arith.constant(32, I32), mode="xor")

            return kernel_module(narrow, floats(4))
    raise KeyError(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("while", "no code for 'scf.while'"),
        ("layout", "needs contiguous memrefs of static shape, not memref<4x4xf32, strided"),
        ("dynamic", "needs contiguous memrefs of static shape"),
        ("type", "has no type for f8E4M3FN"),
        ("shuffle", "no code for this shuffle of i8"),
    ],
)
def test_what_has_no_cuda_c_is_an_error(kind, message):
    with pytest.raises(DlirError, match=message):
        emit_kernels(broken(kind))


def test_deep_nesting_does_not_exhaust_the_stack():
    def body(y, t):
        if_else(arith.cmpi("sge", t, 0), lambda: memref.store(arith.constant(1.0, F32), y, [t]) and None)

    module = kernel_module(body, floats(32))
    # From the inside out: Python's own stack would not hold a builder that deep.
    inner = next(op for op in module.walk() if op.name == "memref.store")
    condition = next(op for op in module.walk() if op.name == "arith.cmpi").results[0]
    for _ in range(2000):
        outer = If.create(condition, regions=[Region([Block()]), Region()], result_types=())
        inner.parent.insert_before(inner, outer)
        inner.detach()
        outer.body.append(inner)
        with at_end(outer.body):
            scf.yield_()
        inner = outer
    assert emit_kernels(module).text.count("if (") == 2001


def test_attributes_without_meaning_for_the_text_are_ignored():
    module = kernel_module(lambda y, t: memref.store(arith.constant(1.0, F32), y, [t]) and None, floats(32))
    before = emit_kernels(module).text
    for op in module.walk():
        op.attributes["dlir.note"] = IntegerAttr(1)
    assert emit_kernels(module).text == before
