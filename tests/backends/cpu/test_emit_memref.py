"""Buffers and vectors as machine code: addressing, views, globals, scratch memory, lanes."""

import numpy as np
import pytest

from dlir.backends.cpu.emit import EMBEDDED_BYTES
from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.memref import Global
from dlir.ir.dialects.scf import for_loop, parallel_loop
from dlir.ir.errors import DlirError
from dlir.ir.ops import arith, memref, vector
from dlir.ir.types import BF16, F16, F32, F64, I1, I8, I32, I64, UI8, MemRefType, TensorType, VectorType


def copy_all(source, target):
    """Loops that copy a buffer element by element."""

    def point(*index):
        memref.store(memref.load(source, index), target, index)

    def nest(index, extents):
        if not extents:
            point(*index)
        else:
            for_loop(0, extents[0], 1, [], lambda i: nest([*index, i], extents[1:]))

    nest([], list(source.shape))


@pytest.mark.parametrize("dtype", [I1, I8, UI8, I32, I64, F16, BF16, F32, F64], ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4), (3, 0, 2)])
def test_load_and_store_of_every_type_and_rank(compile_main, dtype, shape):
    type_ = MemRefType(shape, dtype)
    x = np.random.default_rng(0).integers(0, 2 if dtype is I1 else 100, shape).astype(dtype.numpy)
    y = np.full_like(x, 1)
    compile_main([type_, type_], copy_all)(x, y)
    np.testing.assert_array_equal(x, y)


def test_bool_in_memory_is_a_byte_of_0_or_1(compile_main):
    def body(x, y):
        for_loop(0, 4, 1, [], lambda i: memref.store(arith.cmpf("ogt", memref.load(x, [i]), 0.0), y, [i]))

    x, y = np.array([1, -1, np.nan, 5], np.float32), np.full(4, 0xFF, np.uint8)
    compile_main([MemRefType((4,), F32), MemRefType((4,), I1)], body)(x, y)
    assert y.tolist() == [1, 0, 0, 1]


def test_views_of_an_arena_overlap_as_their_offsets_say(compile_main):
    def body(arena, out):
        first = memref.view(arena, 64, MemRefType((4,), F32))
        second = memref.view(arena, 72, MemRefType((2,), F32))
        for_loop(0, 4, 1, [], lambda i: memref.store(arith.sitofp(arith.index_cast(i, I32), F32), first, [i]))
        memref.copy(second, out)

    arena, out = np.zeros(128, np.uint8), np.zeros(2, np.float32)
    compile_main([MemRefType((128,), I8), MemRefType((2,), F32)], body)(arena, out)
    assert out.tolist() == [2, 3]
    assert arena[64:80].view(np.float32).tolist() == [0, 1, 2, 3]


def test_other_shapes_of_the_same_elements(compile_main):
    def body(x, y):
        flat = memref.reinterpret_cast(x, MemRefType((24,), F32))
        copy_all(flat, y)

    x, y = np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.zeros(24, np.float32)
    compile_main([MemRefType((2, 3, 4), F32), MemRefType((24,), F32)], body)(x, y)
    np.testing.assert_array_equal(x.ravel(), y)


def test_copy_moves_all_bytes(compile_main):
    type_ = MemRefType((3, 5), F64)
    x, y = np.arange(15.0).reshape(3, 5), np.zeros((3, 5))
    compile_main([type_, type_], lambda x, y: memref.copy(x, y))(x, y)
    np.testing.assert_array_equal(x, y)


def test_unplanned_allocations_get_scratch_memory_each(compile_main):
    def body(x, y):
        buffers = [memref.alloc(MemRefType((5,), F32), alignment=64) for _ in range(3)]
        for buffer in buffers:
            copy_all(x, buffer)
        memref.store(arith.constant(100.0, F32), buffers[0], [0])
        copy_all(buffers[2], y)
        memref.dealloc(buffers[1])

    type_ = MemRefType((5,), F32)
    main = compile_main([type_, type_], body)
    assert main.emitted.scratch_bytes == 3 * 64
    x, y = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
    main(x, y)
    np.testing.assert_array_equal(x, y)


def test_local_memory_larger_than_any_stack(compile_main):
    """32 MiB in each of four iterations, which threads run, and as much in the function itself."""
    size = 8 << 20
    type_ = MemRefType((size,), F32)

    def fill(buffer, value):
        for_loop(0, size, 1, [], lambda i: memref.store(value, buffer, [i]))

    def body(out):
        outer = memref.alloca(type_)
        fill(outer, arith.constant(2.0, F32))

        def iteration(t):
            inner = memref.alloca(type_)
            fill(inner, arith.sitofp(arith.index_cast(t, I32), F32))
            memref.store(arith.addf(memref.load(inner, [size - 1]), memref.load(outer, [size - 1])), out, [t])

        parallel_loop([0], [4], [1], iteration)

    out = np.zeros(4, np.float32)
    compile_main([MemRefType((4,), F32)], body)(out)
    assert out.tolist() == [2, 3, 4, 5]


def test_allocation_inside_a_parallel_loop_is_refused(compile_main):
    def body(x):
        parallel_loop([0], [4], [1], lambda i: memref.alloc(MemRefType((5,), F32)) and None)

    with pytest.raises(DlirError, match="allocates only in '@main'"):
        compile_main([MemRefType((5,), F32)], body)


def test_globals_come_out_of_the_table_or_the_code(compile_main):
    """Small constants are embedded; variables, large arrays and resources are pointers."""
    module = Module.empty()
    small = np.arange(4, dtype=np.float32)
    large = np.zeros(EMBEDDED_BYTES, np.float32)
    large[:4] = 10 * small
    variable = np.full(4, 100, np.float32)
    weights = np.full(4, 1000, np.float32)
    with at_end(module.body):
        for name, value, constant in (
            ("small", DenseElementsAttr(small.copy()), True),
            ("large", DenseElementsAttr(large.copy()), True),
            ("variable", DenseElementsAttr(variable.copy(), TensorType((4,), F32)), False),
            ("weights", DenseResourceAttr("w", TensorType((4,), F32)), True),
        ):
            type_ = MemRefType(value.type.shape, F32)
            memref.global_(sym_name=name, type=type_, initial_value=value, constant=constant)

    def body(out):
        buffers = [
            memref.get_global(op["type"], name=op["sym_name"]) for op in module.body.ops if isinstance(op, Global)
        ]

        def point(i):
            parts = [memref.load(buffer, [i]) for buffer in buffers]
            memref.store(arith.addf(arith.addf(parts[0], parts[1]), arith.addf(parts[2], parts[3])), out, [i])
            memref.store(parts[0], buffers[2], [i])

        for_loop(0, 4, 1, [], point)

    main = compile_main([MemRefType((4,), F32)], body, module)
    assert [op["sym_name"] for op in main.emitted.globals] == ["large", "variable", "weights"]
    out = np.zeros(4, np.float32)
    main(out, large, variable, weights)
    assert out.tolist() == [1100, 1111, 1122, 1133]
    assert variable.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [I1, I8, I32, F16, BF16, F32, F64], ids=str)
def test_embedded_constants_of_every_type(compile_main, dtype):
    values = np.array([1, 0, 1, 1, 0]).astype(dtype.numpy)
    module = Module.empty()
    type_ = MemRefType((5,), dtype)
    with at_end(module.body):
        memref.global_(sym_name="c", type=type_, initial_value=DenseElementsAttr(values.copy()), constant=True)
    out = np.full(5, 1).astype(dtype.numpy)
    main = compile_main([type_], lambda out: copy_all(memref.get_global(type_, name="c"), out), module)
    assert not main.emitted.globals
    main(out)
    np.testing.assert_array_equal(out, values)


# ---------------------------------------------------------------- vectors


V4 = VectorType((4,), F32)
V23 = VectorType((2, 3), F32)


def test_vector_load_and_store_anywhere_in_a_row(compile_main):
    type_ = MemRefType((5, 16), F32)

    def body(x, y):
        def row(i):
            for_loop(0, 13, 4, [], lambda j: vector.store(vector.load(x, [i, arith.addi(j, 3)], V4), y, [i, j]))

        for_loop(0, 5, 1, [], row)

    x, y = np.arange(80, dtype=np.float32).reshape(5, 16), np.zeros((5, 16), np.float32)
    compile_main([type_, type_], body)(x, y)
    np.testing.assert_array_equal(y[:, :12], x[:, 3:15])


def test_broadcast_insert_extract_and_fma(compile_main):
    def body(x, y):
        loaded = vector.load(x, [0], V4)
        spread = vector.broadcast(vector.extract(loaded, 2), V4)
        moved = vector.insert(vector.extract(loaded, arith.constant(3)), loaded, arith.constant(0))
        vector.store(vector.fma(spread, loaded, moved), y, [0])

    x, y = np.array([1, 2, 3, 4], np.float32), np.zeros(4, np.float32)
    compile_main([MemRefType((4,), F32)] * 2, body)(x, y)
    assert y.tolist() == [3 * 1 + 4, 3 * 2 + 2, 3 * 3 + 3, 3 * 4 + 4]


def test_parts_of_vectors_of_rank_2(compile_main):
    row = VectorType((3,), F32)

    def body(x, y):
        first, second = (vector.load(x, [i, 0], row) for i in (0, 1))
        both = vector.broadcast(first, V23)
        both = vector.insert(second, both, 1)
        both = vector.insert(vector.extract(both, 1, 2), both, 0, 0)
        both = arith.addf(both, both)
        for i in (0, 1):
            vector.store(vector.extract(both, i), y, [i, 0])

    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((2, 3), np.float32)
    compile_main([MemRefType((2, 3), F32)] * 2, body)(x, y)
    assert y.tolist() == [[10, 2, 4], [6, 8, 10]]


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("dtype", [F32, F64, F16, BF16], ids=str)
@pytest.mark.parametrize("kind", "add mul minnumf maxnumf minimumf maximumf".split())
def test_float_reductions(compile_main, kind, dtype, accumulate):
    check_reduction(compile_main, kind, dtype, np.array([1.5, -2.0, 3.25, 0.1, -7, 2, 1e-3, 4]), accumulate)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("dtype", [I8, I32, I64], ids=str)
@pytest.mark.parametrize("kind", "add mul minui minsi maxui maxsi and or xor".split())
def test_integer_reductions(compile_main, kind, dtype, accumulate):
    check_reduction(compile_main, kind, dtype, np.array([3, -5, 7, 100, -1, 12, 6, 2]), accumulate)


def check_reduction(compile_main, kind, dtype, values, accumulate):
    ops = []

    def body(x, start, y):
        loaded = vector.load(x, [0], VectorType((8,), dtype))
        operands = [loaded, memref.load(start, [])] if accumulate else [loaded]
        found = vector.reduction(*operands, kind=kind)
        ops.append(found.defining_op)
        memref.store(found, y, [])

    scalar = MemRefType((), dtype)
    x, start, y = (np.asarray(v).astype(dtype.numpy) for v in (values, 3, 0))
    compile_main([MemRefType((8,), dtype), scalar, scalar], body)(x, start, y)
    (want,) = ops[0].evaluate([x, start[()]] if accumulate else [x])
    assert y == want


def test_sum_of_negative_zeros_keeps_its_sign(compile_main):
    x, y = np.full(8, -0.0, np.float32), np.zeros((), np.float32)

    def body(x, y):
        memref.store(vector.reduction(vector.load(x, [0], VectorType((8,), F32)), kind="add"), y, [])

    compile_main([MemRefType((8,), F32), MemRefType((), F32)], body)(x, y)
    assert np.signbit(y)


def test_vectors_of_bools_are_bytes_in_memory(compile_main):
    bools = VectorType((4,), I1)

    def body(x, y):
        vector.store(arith.xori(vector.load(x, [0], bools), arith.constant(True, bools)), y, [0])

    x, y = np.array([True, False, False, True]), np.zeros(4, bool)
    compile_main([MemRefType((4,), I1)] * 2, body)(x, y)
    np.testing.assert_array_equal(y, ~x)
