"""The built-in function that checks arrays by their C structs, and its ctypes stand-in: they must agree."""

import gc
import threading

import ml_dtypes
import numpy as np
import pytest

from dlir.backends.cpu import jit
from dlir.backends.cpu.native_call import Argument, EntryPoint, PlainCall, can_call_fast, make_call

# Adds table[1][0] and the pointer in table[2] (an i64 each) into table[0][0].
CODE = """
define void @entry(ptr %table) {
  %p0 = load ptr, ptr %table
  %t1 = getelementptr ptr, ptr %table, i64 1
  %p1 = load ptr, ptr %t1
  %t2 = getelementptr ptr, ptr %table, i64 2
  %p2 = load ptr, ptr %t2
  %x = load i64, ptr %p1
  %y = load i64, ptr %p2
  %z = add i64 %x, %y
  store i64 %z, ptr %p0
  ret void
}
define void @nothing(ptr %table) {
  ret void
}
"""
I64 = np.dtype(np.int64)


@pytest.fixture(scope="module")
def library():
    return jit.compile_ir(CODE, ["entry", "nothing"])


@pytest.fixture(params=["built-in", "ctypes"])
def maker(request):
    if request.param == "ctypes":
        return PlainCall
    if not can_call_fast():
        pytest.skip("objects are laid out in another way here")
    return make_call


def test_the_built_in_call_is_used_on_cpython():
    assert can_call_fast()


@pytest.mark.parametrize("releases_gil", [False, True])
def test_arrays_and_constants_reach_their_places(library, maker, releases_gil):
    constant = np.array([100])
    arguments = (Argument(1, I64, (2,)), Argument(0, I64, (), is_written=True))
    call = maker(EntryPoint(library, "entry", arguments, ((2, constant.ctypes.data),), releases_gil))
    out = np.array(0)
    assert call(np.array([5, 6]), out) is None
    assert out == 105


def strided(array):
    return np.repeat(array, 2)[::2]


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    raw[:] = array.view(np.uint8)
    return raw.view(array.dtype)


def read_only(array):
    array.flags.writeable = False
    return array


GOOD = np.arange(6.0)
MISFITS = {
    "rank": GOOD.reshape(2, 3),
    "extent": np.arange(5.0),
    "dtype": GOOD.astype(np.float32),
    "same size, other dtype": GOOD.view(np.int64),
    "byte order": GOOD.astype(">f8"),
    "strided": strided(GOOD),
    "misaligned": misaligned(GOOD),
    "reversed": GOOD[::-1],
    "subclass": np.ma.masked_array(GOOD),
    "memmap-like": GOOD.view(np.recarray),
    "list": GOOD.tolist(),
    "number": 1.0,
    "None": None,
    "NumPy scalar": np.float64(3.0),
}


@pytest.mark.parametrize("misfit", MISFITS.values(), ids=MISFITS.keys())
@pytest.mark.parametrize("position", [0, 1])
def test_what_does_not_fit_is_named_by_position(library, maker, misfit, position):
    argument = Argument(0, np.dtype(np.float64), (6,))
    call = maker(EntryPoint(library, "nothing", (argument, argument)))
    arrays = [GOOD, GOOD]
    arrays[position] = misfit
    assert call(GOOD, GOOD) is None
    assert call(*arrays) == position


def test_written_arrays_must_be_writeable(library, maker):
    read, written = Argument(0, I64, (2,)), Argument(0, I64, (2,), is_written=True)
    locked = read_only(np.zeros(2, np.int64))
    assert maker(EntryPoint(library, "nothing", (read,)))(locked) is None
    assert maker(EntryPoint(library, "nothing", (written,)))(locked) == 0


def test_exclusive_arrays_share_memory_with_no_other_one(library, maker):
    free, exclusive = Argument(0, I64, (4,)), Argument(0, I64, (4,), True, is_exclusive=True)
    empty = Argument(0, I64, (0,), True, is_exclusive=True)
    call = maker(EntryPoint(library, "nothing", (free, exclusive, free, empty)))
    memory = np.zeros(20, np.int64)
    one, two, three, none = memory[:4], memory[4:8], memory[8:12], memory[5:5]
    assert call(one, two, three, none) is None
    assert call(one, two, one, none) is None
    for other in (two, memory[1:5], memory[7:11]):
        assert call(other, two, three, none) == 1
        assert call(one, two, other, none) == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_wrong_number_of_arrays(library, maker, count):
    argument = Argument(0, I64, (1,))
    call = maker(EntryPoint(library, "nothing", (argument, argument)))
    assert call(*[np.zeros(1, np.int64)] * count) == -1


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,) * 32])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.float16, np.complex64, ml_dtypes.bfloat16])
def test_any_rank_and_dtype(library, maker, shape, dtype):
    call = maker(EntryPoint(library, "nothing", (Argument(0, np.dtype(dtype), shape),)))
    assert call(np.zeros(shape, dtype)) is None
    assert call(np.zeros((*shape[:31], 2), dtype)) == 0


def test_the_function_keeps_its_code_alive(maker):
    entry = EntryPoint(jit.compile_ir(CODE, ["nothing"]), "nothing", (Argument(0, I64, (1,)),))
    call = maker(entry)
    del entry
    gc.collect()
    for _ in range(100):
        assert call(np.zeros(1, np.int64)) is None


def test_calls_do_not_leak_references(library, maker):
    import sys

    call = maker(EntryPoint(library, "nothing", (Argument(0, I64, (1,)),)))
    array = np.zeros(1, np.int64)
    before = sys.getrefcount(array), sys.getrefcount(None)
    for _ in range(1000):
        call(array)
        call(None)
    after = sys.getrefcount(array), sys.getrefcount(None)
    assert after[0] == before[0]
    assert abs(after[1] - before[1]) < 500


SPIN = """
define void @wait(ptr %table) {
entry:
  %flag = load ptr, ptr %table
  br label %poll
poll:
  %value = load atomic i64, ptr %flag acquire, align 8
  %set = icmp ne i64 %value, 0
  br i1 %set, label %exit, label %poll
exit:
  ret void
}
"""


def test_other_threads_run_during_a_call_that_releases_the_gil(maker):
    library = jit.compile_ir(SPIN, ["wait"])
    call = maker(EntryPoint(library, "wait", (Argument(0, I64, (1,), True),), (), releases_gil=True))
    flag = np.zeros(1, np.int64)
    timer = threading.Timer(0.05, lambda: flag.fill(1))
    timer.start()
    assert call(flag) is None
    timer.join()
