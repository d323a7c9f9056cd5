"""The parallel loop that machine code calls: complete, also nested, concurrent, after fork and at exit."""

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dlir.backends.cpu import jit, threads
from dlir.ir.errors import DlirError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="loops run in their caller elsewhere")

# The context is a pointer to an i64 array: counts, then (for `note`) the id of the thread that ran the iteration.
LOOPS = """
declare void @dlir.parallel_for(ptr, ptr, i64)
declare i64 @pthread_self()
declare i32 @usleep(i32)

define internal void @count(ptr %counts, i64 %t) {
  %slot = getelementptr i64, ptr %counts, i64 %t
  %old = atomicrmw add ptr %slot, i64 1 monotonic
  ret void
}
define internal void @note(ptr %ids, i64 %t) {
  %slot = getelementptr i64, ptr %ids, i64 %t
  %id = call i64 @pthread_self()
  store i64 %id, ptr %slot
  %1 = call i32 @usleep(i32 1000)
  ret void
}
define internal void @count_row(ptr %counts, i64 %t) {
  %start = mul i64 %t, 10
  %row = getelementptr i64, ptr %counts, i64 %start
  call void @dlir.parallel_for(ptr @count, ptr %row, i64 10)
  ret void
}
define void @count_all(ptr %counts, i64 %n) {
  call void @dlir.parallel_for(ptr @count, ptr %counts, i64 %n)
  ret void
}
define void @note_all(ptr %ids, i64 %n) {
  call void @dlir.parallel_for(ptr @note, ptr %ids, i64 %n)
  ret void
}
define void @count_rows(ptr %counts, i64 %n) {
  call void @dlir.parallel_for(ptr @count_row, ptr %counts, i64 %n)
  ret void
}
"""


def loop(name):
    """A function that runs the loop `name` of LOOPS with n iterations over an i64 array."""
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    names = ("count_all", "note_all", "count_rows")
    function = jit.compile_ir(LOOPS, names, threads.symbols()).function(name, prototype)
    return lambda array, n: function(array.ctypes.data, n)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 10_000])
def test_each_iteration_runs_once(n):
    count_all = loop("count_all")
    for _ in range(50):
        counts = np.zeros(n + 1, np.int64)
        count_all(counts, n)
        assert (counts[:n] == 1).all()
        assert counts[n] == 0


def test_nested_loops_run_in_the_thread_they_are_in():
    counts = np.zeros(1000, np.int64)
    loop("count_rows")(counts, 100)
    assert (counts == 1).all()


def test_concurrent_callers_each_get_all_iterations():
    count_all = loop("count_all")
    arrays = [np.zeros(64, np.int64) for _ in range(4)]

    def call(array):
        for _ in range(500):
            count_all(array, array.size)

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(call, arrays))
    assert all((array == 500).all() for array in arrays)


def test_workers_take_part(run_script):
    script = """
ids = np.zeros(40, np.int64)
loop("note_all")(ids, ids.size)
print(len(set(ids.tolist())))
"""
    assert int(run_script(script, "test_threads", DLIR_NUM_THREADS="3").stdout) == 3


def test_one_thread_means_no_workers(run_script):
    script = """
import threading
ids = np.zeros(4, np.int64)
loop("note_all")(ids, ids.size)
print(len(set(ids.tolist())), threading.active_count())
"""
    assert run_script(script, "test_threads", DLIR_NUM_THREADS="1").stdout.split() == ["1", "1"]


def test_forked_child_gets_workers_of_its_own(run_script):
    script = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point here
note_all = loop("note_all")
ids = np.zeros(20, np.int64)
note_all(ids, ids.size)
child = os.fork()
ids[:] = 0
note_all(ids, ids.size)
complete = len(set(ids.tolist())) == 2 and 0 not in ids
if child == 0:
    os._exit(0 if complete else 1)
sys.exit(os.waitpid(child, 0)[1] or not complete)
"""
    result = run_script(script, "test_threads", DLIR_NUM_THREADS="2")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("pause", ["0", "0.1"], ids=["workers poll", "workers sleep"])
def test_interpreter_ends_with_workers_around(run_script, pause):
    script = f"""
import time
loop("count_all")(np.zeros(100, np.int64), 100)
time.sleep({pause})
"""
    result = run_script(script, "test_threads", DLIR_NUM_THREADS="4")
    assert (result.returncode, result.stderr) == (0, "")


SLEEP_AND_CALL = """
import threading, time
count_all, counts = loop("count_all"), np.zeros(100, np.int64)
def mask_after_call():
    time.sleep(0.05)  # Until the worker sleeps.
    count_all(counts, 100)
    return os.sched_getaffinity(threads._pool()._threads[0].native_id)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_workers_wake_on_other_cpus_than_the_callers(run_script):
    script = f"""{SLEEP_AND_CALL}
cpus = os.sched_getaffinity(0)
mask_after_call()
for cpu in [*cpus, *cpus]:
    os.sched_setaffinity(0, {{cpu}})
    assert mask_after_call() == cpus - {{cpu}}, cpu
child = os.fork()
if child == 0:
    os.sched_setaffinity(0, cpus)
    mask_after_call()
    os.sched_setaffinity(0, {{max(cpus)}})
    os._exit(0 if mask_after_call() == cpus - {{max(cpus)}} else 1)
sys.exit(os.waitpid(child, 0)[1])
"""
    result = run_script(script, "test_threads", DLIR_NUM_THREADS="2")
    assert result.returncode == 0, result.stderr


def test_workers_go_anywhere_where_threads_outnumber_cpus(run_script):
    script = f"{SLEEP_AND_CALL}\nassert all(mask_after_call() == os.sched_getaffinity(0) for _ in range(3))"
    many = str(len(os.sched_getaffinity(0)) + 1)
    result = run_script(script, "test_threads", DLIR_NUM_THREADS=many)
    assert result.returncode == 0, result.stderr


def test_pool_without_placement_is_complete(monkeypatch):
    monkeypatch.setattr(threads, "_can_place", lambda: False)
    pool = threads._Pool()
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
    imports = {"dlir.parallel_for": pool.library["dlir.parallel_for"]}
    counts = np.zeros(1000, np.int64)
    jit.compile_ir(LOOPS, ["count_all"], imports).function("count_all", prototype)(counts.ctypes.data, 1000)
    pool._shut_down()
    assert (counts == 1).all()


def test_interpreter_ends_while_a_daemon_thread_loops(run_script):
    script = """
import threading, time
def forever():
    while True:
        count_all(counts, 100)
count_all, counts = loop("count_all"), np.zeros(100, np.int64)
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.1)
"""
    result = run_script(script, "test_threads", DLIR_NUM_THREADS="2")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_senseless_thread_counts_are_refused(monkeypatch, value):
    monkeypatch.setenv("DLIR_NUM_THREADS", value)
    with pytest.raises(DlirError, match="DLIR_NUM_THREADS must be a positive number"):
        threads.thread_count()


def test_thread_count_follows_the_environment(monkeypatch):
    monkeypatch.setenv("DLIR_NUM_THREADS", "7")
    assert threads.thread_count() == 7
    monkeypatch.delenv("DLIR_NUM_THREADS")
    assert threads.thread_count() == len(os.sched_getaffinity(0))
