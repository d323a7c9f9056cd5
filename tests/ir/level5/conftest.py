"""A module that uses every op of the level-5 dialects, built with their builders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlir.ir.attributes import UNIT, DenseElementsAttr
from dlir.ir.builder import at_end
from dlir.ir.dialects.arith import FLOAT_PREDICATES, INTEGER_PREDICATES, fastmath
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.gpu import PRIVATE, GPUFunc, GPUModule, launch, workgroup
from dlir.ir.dialects.gpu_mma import mma_matrix
from dlir.ir.dialects.scf import for_loop, if_else, parallel_loop, while_loop
from dlir.ir.ops import arith, func, gpu, math, memref, tensor, vector
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I16, I32, I64, INDEX, MemRefType, TensorType, VectorType

V8 = VectorType((8,), F32)


def function(module: Module, name: str, inputs: list[Any]) -> Func:
    """A function without results and without a body, at the end of `module`."""
    made = Func.make(name, inputs)
    module.body.append(made)
    return made


def add_integers(module: Module) -> None:
    for dtype in (I1, I8, I32, INDEX, VectorType((4,), I64)):
        made = function(module, f"integers_{str(dtype).strip('>').replace('<', '')}", [dtype, dtype])
        with at_end(made.body):
            a, b = made.body.args
            for name in (
                "addi subi muli divsi divui remsi remui floordivsi ceildivsi ceildivui andi ori xori shli shrsi shrui "
                "maxsi minsi maxui minui"
            ).split():
                getattr(arith, name)(a, b)
            for predicate in INTEGER_PREDICATES:
                arith.cmpi(predicate, a, b)
            math.absi(a)
            func.return_()
    made = function(module, "integer_flags", [I32, I32])
    with at_end(made.body):
        a, b = made.body.args
        arith.addi(a, b, overflowFlags="nsw,nuw")
        arith.divui(a, 3, isExact=True)
        func.return_()


def add_floats(module: Module) -> None:
    unary = "exp log log1p expm1 sqrt rsqrt tanh erf sin cos absf floor ceil roundeven trunc".split()
    for dtype in (F16, BF16, F32, F64, V8):
        made = function(module, f"floats_{str(dtype).strip('>').replace('<', '')}", [dtype, dtype])
        with at_end(made.body):
            a, b = made.body.args
            for name in "addf subf mulf divf remf maximumf minimumf maxnumf minnumf".split():
                getattr(arith, name)(a, b)
            arith.negf(a)
            arith.addf(a, b, fastmath=fastmath("reassoc", "nsz"))
            for name in unary:
                getattr(math, name)(a)
            math.powf(a, 2.0)
            math.copysign(a, b)
            math.fma(a, b, 1.0, fastmath="fast")
            for predicate in FLOAT_PREDICATES:
                arith.select(arith.cmpf(predicate, a, b), a, b)
            func.return_()


def add_casts(module: Module) -> None:
    made = function(module, "casts", [F32, I32, I1, INDEX, V8])
    with at_end(made.body):
        f, i, p, n, v = made.body.args
        arith.extf(f, F64)
        arith.truncf(f, BF16)
        arith.truncf(v, VectorType((8,), F16))
        arith.extsi(i, I64)
        arith.extui(p, I8)
        arith.trunci(i, I16)
        arith.sitofp(i, F32)
        arith.uitofp(p, F32)
        arith.fptosi(f, I32)
        arith.fptoui(f, I8)
        arith.bitcast(f, I32)
        arith.index_cast(n, I32)
        arith.index_castui(i, INDEX)
        arith.constant(0.5, V8)
        arith.constant(np.arange(8), VectorType((8,), I32))
        arith.constant(float("-inf"), F16)
        arith.constant(True)
        arith.select(p, v, v)
        func.return_()


def add_control(module: Module) -> None:
    made = function(module, "control", [F32, INDEX, I32, MemRefType((8,), F32)])
    with at_end(made.body):
        x, n, k, buffer = made.body.args
        for_loop(0, n, 1, [x, n], lambda i, sum, at: (arith.addf(sum, memref.load(buffer, [i])), i))
        for_loop(arith.constant(0, I32), k, arith.constant(2, I32), [], lambda i: None)
        parallel_loop([0, 0], [n, 8], [1, 4], lambda i, j: memref.store(x, buffer, [j]))
        parallel_loop([0], [n], [1], lambda i: (memref.load(buffer, [i]), x), [(x, arith.addf), (x, arith.maximumf)])
        positive = arith.cmpf("ogt", x, 0.0)
        if_else(positive, lambda: memref.store(0.0, buffer, [0]))
        if_else(positive, lambda: (x, n), lambda: (arith.negf(x), n))
        while_loop([x, k], lambda a, b: (arith.cmpf("olt", a, 10.0), a), lambda a: (arith.mulf(a, 2.0), k))
        func.return_()


def add_buffers(module: Module) -> None:
    weights = MemRefType((2, 3), F32)
    with at_end(module.body):
        init = DenseElementsAttr(np.ones((2, 3), np.float32), TensorType((2, 3), F32))
        memref.global_(sym_name="w", type=weights, initial_value=init, constant=True, sym_visibility="private")
        memref.global_(sym_name="u", type=weights, initial_value=UNIT, alignment=64)
    made = function(module, "buffers", [INDEX, MemRefType((256,), I8), weights])
    with at_end(made.body):
        n, arena, m = made.body.args
        heap = memref.alloc(MemRefType((4, None), F32), dynamicSizes=[n], alignment=64)
        memref.alloca(MemRefType((4,), F32))
        memref.dealloc(heap)
        memref.copy(m, memref.get_global(weights, name="u"))
        memref.view(arena, n, MemRefType((2, 2), F32))
        memref.view(arena, 64, n, MemRefType((None,), F32))
        memref.dim(memref.cast(m, MemRefType((None, 3), F32)), 0)
        memref.store(memref.load(m, [n, 0]), m, [0, n])
        memref.reinterpret_cast(m, MemRefType((6,), F32))
        func.return_()


def add_elements(module: Module) -> None:
    made = function(module, "elements", [TensorType((2, 3), F32), INDEX])
    with at_end(made.body):
        x, i = made.body.args
        found = tensor.extract(x, i, 2)
        tensor.from_elements(found, found, result_types=[TensorType((1, 2), F32)])
        func.return_()


def add_vectors(module: Module) -> None:
    made = function(module, "vectors", [INDEX, MemRefType((4, 64), F32), F32])
    with at_end(made.body):
        i, m, x = made.body.args
        v = vector.load(m, [i, 8], V8)
        w = vector.fma(v, v, vector.broadcast(x, V8))
        vector.store(w, m, [i, 0])
        vector.insert(vector.extract(w, 3), vector.insert(x, w, i), 0)
        vector.extract(w, [i])
        vector.extract(vector.broadcast(w, VectorType((2, 8), F32)), 1)
        vector.reduction(w, kind="add", fastmath="reassoc")
        vector.reduction(w, x, kind="maximumf")
        vector.reduction(arith.constant(np.arange(8), VectorType((8,), I32)), kind="minsi")
        func.return_()


def add_gpu(module: Module) -> None:
    module.attributes["gpu.container_module"] = UNIT
    buffer = MemRefType((4, 64), F32)
    kernels = GPUModule.make("kernels")
    module.body.append(kernels)
    kernel = GPUFunc.make(
        "kernel",
        [buffer, INDEX],
        [workgroup((32,), F32)],
        [MemRefType((4,), F32, None, PRIVATE)],
        block_size=(64, 1, 1),
    )
    kernels.body.append(kernel)
    with at_end(kernel.body):
        (m, n), (shared,), (private,) = kernel.inputs, kernel.shared, kernel.private
        at = arith.addi(arith.muli(gpu.block_id("x"), gpu.block_dim("y")), gpu.thread_id(dimension="z"))
        memref.store(memref.load(m, [at, gpu.grid_dim("x")]), shared, [gpu.lane_id()])
        gpu.barrier()
        value, valid = gpu.shuffle(memref.load(shared, [at]), 1, 32, mode="down")
        memref.store(arith.select(valid, value, 0.0), private, [0])
        gpu.return_()
    add_products(kernels)
    made = function(module, "launch", [buffer, INDEX])
    with at_end(made.body):
        m, n = made.body.args
        launch("kernels::kernel", [n, 2], [64], [m, n])
        func.return_()


def add_products(kernels: GPUModule) -> None:
    """Products of small matrices by a warp."""
    kernel = GPUFunc.make("products", [MemRefType((64, 40), F16), MemRefType((64, 64), F32)])
    kernels.body.append(kernel)
    with at_end(kernel.body):
        halves, floats = kernel.inputs
        at = gpu.block_id("x")
        left = gpu.subgroup_mma_load_matrix(
            halves, at, 0, leadDimension=40, transpose=True, result_types=[mma_matrix(16, 16, F16, "AOp")]
        )
        right = gpu.subgroup_mma_load_matrix(
            halves, 0, at, leadDimension=40, result_types=[mma_matrix(16, 16, F16, "BOp")]
        )
        zeros = gpu.subgroup_mma_constant_matrix(
            arith.constant(0.0, F32), result_types=[mma_matrix(16, 16, F32, "COp")]
        )
        sums = gpu.subgroup_mma_compute(left, right, zeros, a_transpose=True)
        gpu.subgroup_mma_store_matrix(sums, floats, 0, at, leadDimension=64)
        gpu.return_()


@pytest.fixture
def every_op() -> Module:
    """A module that uses every op of arith, math, scf, tensor, memref, vector and gpu."""
    module = Module.empty()
    for add in (add_integers, add_floats, add_casts, add_control, add_elements, add_buffers, add_vectors, add_gpu):
        add(module)
    return module
