"""Control flow, calls and parallel loops as machine code, against plain Python."""

import numpy as np
import pytest

from dlir.backends.cpu.emit import emit_module
from dlir.ir.attributes import UNIT
from dlir.ir.builder import at_end, insert
from dlir.ir.core import Block, Region, UnregisteredOp
from dlir.ir.dialects.arith.constant import Constant
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.regions import values_of
from dlir.ir.dialects.scf import If, for_loop, if_else, parallel_loop, while_loop
from dlir.ir.errors import DlirError
from dlir.ir.location import FileLoc
from dlir.ir.ops import arith, func, memref, scf
from dlir.ir.types import F32, I1, I64, INDEX, MemRefType, TensorType

ARRAY = MemRefType((100,), I64)
SCALAR = MemRefType((), I64)


def number(value):
    return arith.constant(value, I64)


def as_integer(index):
    return arith.index_cast(index, I64)


@pytest.mark.parametrize(("lower", "upper", "step"), [(0, 100, 1), (3, 90, 7), (5, 5, 1), (9, 3, 2), (0, 1, 50)])
def test_for_carries_values_and_counts_as_range(compile_main, lower, upper, step):
    def body(out):
        def add(i, count, total):
            return arith.addi(count, number(1)), arith.addi(total, as_integer(i))

        count, total = for_loop(lower, upper, step, [number(0), number(1000)], add)
        memref.store(count, out, [0])
        memref.store(total, out, [1])

    out = np.zeros(100, np.int64)
    compile_main([ARRAY], body)(out)
    assert out[:2].tolist() == [len(range(lower, upper, step)), 1000 + sum(range(lower, upper, step))]


def test_carried_values_may_swap(compile_main):
    def body(out):
        one, two = for_loop(0, 3, 1, [number(1), number(2)], lambda i, a, b: (b, a))
        memref.store(one, out, [0])
        memref.store(two, out, [1])

    out = np.zeros(100, np.int64)
    compile_main([ARRAY], body)(out)
    assert out[:2].tolist() == [2, 1]


def test_if_inside_for_gives_values_and_effects(compile_main):
    def body(out):
        def step(i):
            odd = arith.cmpi("eq", arith.remui(i, 2), 1)
            (chosen,) = if_else(odd, lambda: number(7), lambda: arith.muli(as_integer(i), number(10)))
            if_else(arith.cmpi("ult", i, 50), lambda: memref.store(chosen, out, [i]))

        for_loop(0, 100, 1, [], step)

    out = np.full(100, -1)
    compile_main([ARRAY], body)(out)
    assert out.tolist() == [(7 if i % 2 else 10 * i) if i < 50 else -1 for i in range(100)]


def test_nested_if_yields_from_its_inner_blocks(compile_main):
    def body(x, out):
        def point(i):
            value = memref.load(x, [i])

            def positive():
                return if_else(arith.cmpi("sgt", value, number(10)), lambda: number(2), lambda: number(1))

            (kind,) = if_else(arith.cmpi("sgt", value, number(0)), positive, lambda: number(0))
            memref.store(kind, out, [i])

        for_loop(0, 100, 1, [], point)

    x, out = np.arange(100) - 50, np.zeros(100, np.int64)
    compile_main([ARRAY, ARRAY], body)(x, out)
    assert out.tolist() == [(2 if v > 10 else 1) if v > 0 else 0 for v in x.tolist()]


def test_while_hands_values_round(compile_main):
    """Collatz steps: the count and the last value come out."""

    def body(x, out):
        def point(i):
            def before(n, steps):
                return arith.cmpi("ne", n, number(1)), n, steps

            def after(n, steps):
                odd = arith.trunci(n, I1)
                halved = arith.shrui(n, number(1))
                tripled = arith.addi(arith.muli(n, number(3)), number(1))
                return arith.select(odd, tripled, halved), arith.addi(steps, number(1))

            _, steps = while_loop([memref.load(x, [i]), number(0)], before, after)
            memref.store(steps, out, [i])

        for_loop(0, 100, 1, [], point)

    def collatz(n):
        steps = 0
        while n != 1:
            n, steps = (3 * n + 1 if n % 2 else n // 2), steps + 1
        return steps

    x, out = np.arange(1, 101), np.zeros(100, np.int64)
    compile_main([ARRAY, ARRAY], body)(x, out)
    assert out.tolist() == [collatz(n) for n in x.tolist()]


def test_parallel_reduces_over_a_box(compile_main):
    def body(out):
        def point(i, j):
            product = arith.muli(as_integer(i), as_integer(j))
            return product, product

        reductions = [(number(5), arith.addi), (number(-1), arith.maxsi)]
        total, largest = parallel_loop([1, 0], [8, 20], [2, 3], point, reductions)
        memref.store(total, out, [0])
        memref.store(largest, out, [1])

    points = [i * j for i in range(1, 8, 2) for j in range(0, 20, 3)]
    out = np.zeros(100, np.int64)
    compile_main([ARRAY], body)(out)
    assert out[:2].tolist() == [5 + sum(points), max(points)]


@pytest.mark.parametrize(("lowers", "uppers", "steps"), [([0], [100], [1]), ([2, 1], [9, 10], [3, 2]), ([5], [5], [1])])
def test_parallel_without_results_runs_by_threads(compile_main, lowers, uppers, steps):
    def body(x, out):
        seven = memref.load(x, [7])

        def point(*at):
            place = at[0] if len(at) == 1 else arith.addi(arith.muli(at[0], 10), at[1])
            memref.store(arith.addi(memref.load(x, [place]), seven), out, [place])

        parallel_loop(lowers, uppers, steps, point)

    main = compile_main([ARRAY, ARRAY], body)
    assert main.emitted.is_parallel
    x, out = np.arange(100) * 3, np.zeros(100, np.int64)
    main(x, out)
    ranges = [range(*bounds) for bounds in zip(lowers, uppers, steps)]
    want = np.zeros(100, np.int64)
    for place in ranges[0] if len(ranges) == 1 else [10 * i + j for i in ranges[0] for j in ranges[1]]:
        want[place] = x[place] + 21
    np.testing.assert_array_equal(out, want)


def test_parallel_inside_parallel_is_a_loop_in_its_thread(compile_main):
    def body(out):
        def row(i):
            def point(j):
                memref.store(as_integer(j), out, [arith.addi(arith.muli(i, 10), j)])

            parallel_loop([0], [10], [1], point)

        parallel_loop([0], [10], [1], row)

    out = np.full(100, -1)
    compile_main([ARRAY], body)(out)
    assert out.tolist() == list(range(10)) * 10


def test_parallel_with_stack_memory_of_its_own(compile_main):
    def body(out):
        def row(i):
            scratch = memref.alloca(MemRefType((10,), I64))
            for_loop(0, 10, 1, [], lambda j: memref.store(arith.muli(as_integer(i), as_integer(j)), scratch, [j]))

            def copy(j):
                memref.store(memref.load(scratch, [j]), out, [arith.addi(arith.muli(i, 10), j)])

            for_loop(0, 10, 1, [], copy)

        parallel_loop([0], [10], [1], row)

    out = np.full(100, -1)
    compile_main([ARRAY], body)(out)
    assert out.tolist() == [i * j for i in range(10) for j in range(10)]


def function(module, name, inputs, results, body, **attributes):
    """Add a private function to `module`."""
    found = Func.make(name, inputs, results, private=True)
    found.attributes.update(attributes)
    module.body.append(found)
    with at_end(found.body):
        func.return_(*values_of(body(*found.body.args)))
    return found


def test_calls_with_any_number_of_results(compile_main):
    module = Module.empty()
    function(module, "none", [ARRAY], [], lambda m: memref.store(number(1), m, [0]))
    function(module, "one", [I64], [I64], lambda a: [arith.addi(a, a)])
    function(module, 'two words @"\n', [I64, I64], [I64, F32], lambda a, b: [arith.subi(a, b), arith.sitofp(b, F32)])

    def body(out):
        func.call(out, callee="none", result_types=[])
        doubled = func.call(memref.load(out, [0]), callee="one", result_types=[I64])
        difference, as_float = func.call(number(40), doubled, callee='two words @"\n', result_types=[I64, F32])
        memref.store(difference, out, [1])
        memref.store(arith.fptosi(as_float, I64), out, [2])

    out = np.zeros(100, np.int64)
    main = compile_main([ARRAY], body, module)
    main(out)
    assert out[:3].tolist() == [1, 38, 2]
    assert "two words" not in main.emitted.ir


def store_first(x, y):
    memref.store(memref.load(x, [0]), y, [1])


@pytest.mark.parametrize("inplace", [False, True])
def test_kernel_arguments_alias_only_if_some_call_makes_them(compile_main, inplace):
    module = Module.empty()
    function(module, "k", [ARRAY, ARRAY], [], store_first, **{"dlir.kernel": UNIT})

    def body(x, y):
        func.call(x, y, callee="k", result_types=[])
        if inplace:
            func.call(x, x, callee="k", result_types=[])

    main = compile_main([ARRAY, ARRAY], body, module)
    (head,) = [line for line in main.emitted.ir.splitlines() if line.startswith("define internal void @kernel")]
    assert head.count("noalias") == (0 if inplace else 2)


def test_deep_nests_do_not_exhaust_the_stack():
    """Built from the inside out, without the helpers, which nest Python calls."""
    depth = 4000
    module, main = Module.empty(), Func.make("main", [SCALAR])
    module.body.append(main)
    condition = main.body.append(Constant.create(True)).result
    inner = Block()
    with at_end(inner):
        memref.store(number(1), main.body.args[0], [])
        scf.yield_()
    for _ in range(depth - 1):
        outer = Block()
        with at_end(outer):
            insert(If.create(condition, regions=[Region([inner]), Region()], result_types=[]))
            scf.yield_()
        inner = outer
    with at_end(main.body):
        insert(If.create(condition, regions=[Region([inner]), Region()], result_types=[]))
        func.return_()
    assert emit_module(module, main).ir.count("br i1") == depth


def test_op_of_a_higher_level_is_refused_with_its_name_and_place():
    place = FileLoc("model.dlir", 3, 5)
    module, main = Module.empty(), Func.make("main", [])
    module.body.append(main)
    with at_end(main.body, place):
        insert(UnregisteredOp("nd.exp", location=place))
        func.return_()
    with pytest.raises(DlirError, match=r"model\.dlir:3:5: .*cannot run 'nd\.exp'"):
        emit_module(module, main)


@pytest.mark.parametrize("type_", [TensorType((2,), F32), MemRefType((None,), F32), INDEX], ids=str)
def test_entry_must_take_static_buffers(type_):
    main = Func.make("main", [type_])
    module = Module.empty()
    module.body.append(main)
    with at_end(main.body):
        func.return_()
    with pytest.raises(DlirError, match="buffers of static shape"):
        emit_module(module, main)
