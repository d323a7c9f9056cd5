"""Recycled result memory: when it comes back, and that nobody else can be looking at it."""

import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dlir.backends.cpu.buffers import MAX_IDLE_ARENAS, ArenaPool, ResultPool

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")

F32 = np.dtype(np.float32)
LARGE = (256, 1024)  # 1 MiB


@pytest.fixture
def pool():
    return ResultPool()


def address(array):
    return array.__array_interface__["data"][0]


def test_result_is_an_ordinary_writable_array(pool):
    result = pool.empty(LARGE, F32)
    assert type(result) is np.ndarray
    assert result.shape == LARGE
    assert result.dtype == F32
    assert result.flags.c_contiguous
    assert result.flags.writeable
    result[:] = 1
    assert result.sum() == 256 * 1024


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (10,), (16384,), (16383,), (100_001,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.bool_])
def test_any_shape(pool, shape, dtype):
    result = pool.empty(shape, np.dtype(dtype))
    assert (result.shape, result.dtype) == (shape, dtype)
    if result.nbytes >= 64 << 10:
        assert address(result) % 64 == 0


def test_memory_comes_back_with_the_last_array(pool):
    first = pool.empty(LARGE, F32)
    place = address(first)
    assert address(pool.empty(LARGE, F32)) != place
    del first
    assert pool.idle_bytes > 0
    again = pool.empty(LARGE, F32)
    assert address(again) == place or pool.idle_bytes > 0
    second = pool.empty(LARGE, F32)
    assert place in (address(again), address(second))


HOLDERS = {
    "slice": lambda a: a[3:5],
    "slice of a slice": lambda a: a[3:5][:, ::2],
    "reshape": lambda a: a.reshape(-1),
    "transpose": lambda a: a.T,
    "other dtype": lambda a: a.view(np.int32),
    "memoryview": memoryview,
    "subclass": lambda a: a.view(np.ma.MaskedArray),
    "DLPack capsule": lambda a: a.__dlpack__(),
    "DLPack array": np.from_dlpack,
    "ctypes": lambda a: a.ctypes,
    "array interface": np.asarray,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
def test_memory_stays_out_while_anything_refers_to_it(pool, hold):
    result = pool.empty(LARGE, F32)
    place = address(result)
    holder = hold(result)
    del result
    gc.collect()
    assert pool.idle_bytes == 0
    assert address(pool.empty(LARGE, F32)) != place
    pool.clear()
    del holder
    gc.collect()
    assert pool.idle_bytes > 0


def test_torch_tensor_keeps_the_memory(pool):
    torch = pytest.importorskip("torch")
    result = pool.empty(LARGE, F32)
    tensor = torch.from_numpy(result)
    del result
    assert pool.idle_bytes == 0
    del tensor
    assert pool.idle_bytes > 0


def test_idle_memory_is_bounded_and_the_newest_is_kept():
    pool = ResultPool(max_idle_bytes=3 << 20)
    results = [pool.empty(LARGE, F32) for _ in range(8)]
    places = [address(result) for result in results]
    while results:
        del results[0]
    assert pool.idle_bytes <= 3 << 20
    kept = [pool.empty(LARGE, F32) for _ in range(2)]
    assert {address(result) for result in kept} <= set(places[-3:])


def test_different_sizes_do_not_share_memory(pool):
    small, large = pool.empty((20_000,), F32), pool.empty((40_000,), F32)
    small[:], large[:] = 1, 2
    del small
    larger = pool.empty((41_000,), F32)
    larger[:] = 3
    assert (large == 2).all()


def test_poisoned_results_are_nan(pool):
    poisoned = ResultPool(poison=True)
    for shape in ((), (5,), LARGE):
        for dtype in (np.float16, np.float32, np.float64):
            assert np.isnan(poisoned.empty(shape, np.dtype(dtype))).all()
    again = poisoned.empty(LARGE, F32)
    again[:] = 0
    del again
    assert np.isnan(poisoned.empty(LARGE, F32)).all()


def test_memory_that_does_not_exist_is_a_memory_error(pool):
    with pytest.raises(MemoryError, match="result"):
        pool.empty((1 << 50,), F32)


def test_threads_never_share_a_result(pool):
    wrong = []

    def work(number):
        for turn in range(300):
            result = pool.empty((20_000 + 4_000 * (turn % 3),), F32)
            result[:] = number
            view = result[::7]
            del result
            if not (view == number).all():
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_idle_memory_is_bounded_with_threads():
    pool = ResultPool(max_idle_bytes=1 << 20)

    def work(number):
        for turn in range(300):
            results = [pool.empty((20_000 * (1 + (number + turn + k) % 5),), F32) for k in range(3)]
            assert len({address(result) for result in results}) == 3
            del results

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(4)))
    assert 0 < pool.idle_bytes <= 1 << 20


def test_views_of_the_base_are_views(pool):
    result = pool.empty(LARGE, F32)
    place, part = address(result), result.base[1:]
    del result
    assert pool.idle_bytes == 0
    del part
    assert address(pool.empty(LARGE, F32)) == place


@needs_fork
def test_forked_child_never_waits_for_threads_that_it_lacks(run_script):
    script = """
import signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)
sys.setswitchinterval(1e-6)
pool = ResultPool()
def work():
    while True:
        pool.empty((1 << 15,), F32)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        pool.empty((1 << 15,), F32)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        os._exit(1)
os._exit(0)
"""
    assert run_script(script, "test_buffers").returncode == 0


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_writes_into_its_own_copy(pool):
    result = pool.empty(LARGE, F32)
    result[:] = 1
    child = os.fork()
    if child == 0:
        result[:] = 2
        os._exit(0)
    os.waitpid(child, 0)
    assert (result == 1).all()


def test_arenas_are_aligned_and_one_per_call_in_flight():
    arenas = ArenaPool(1000)
    first, second = arenas.take(), arenas.take()
    assert address(first) % 64 == address(second) % 64 == 0
    assert not np.shares_memory(first, second)
    assert first.nbytes == 1000
    arenas.give(first)
    assert arenas.take() is first


def test_arenas_beyond_the_bound_are_freed():
    arenas = ArenaPool(64)
    taken = [arenas.take() for _ in range(MAX_IDLE_ARENAS + 3)]
    for arena in taken:
        arenas.give(arena)
    again = [arenas.take() for _ in taken]
    assert sum(any(new is old for old in taken) for new in again) == MAX_IDLE_ARENAS


def test_poisoned_arena():
    arenas = ArenaPool(256, poison=True)
    arena = arenas.take()
    assert np.isnan(arena.view(np.float32)).all()
    arena[:] = 0
    arenas.give(arena)
    assert np.isnan(arenas.take().view(np.float32)).all()
