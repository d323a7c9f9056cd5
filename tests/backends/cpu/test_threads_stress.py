"""The native pool under load, also with threads held up wherever they touch what they share.

`DLIR_STRESS` is how many times longer than usual these tests run.
"""

import ctypes
import os
import re
import sys
import threading

import numpy as np
import pytest

from dlir.backends.cpu import jit, threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="loops run in their caller elsewhere")

STRESS = int(os.environ.get("DLIR_STRESS", "1"))

# Loop k adds k to each of n sums.  Its context lies on the stack, and leads into a trap as soon as the loop is over.
LOOPS = """
declare void @dlir.parallel_for(ptr, ptr, i64)

define internal void @add(ptr %context, i64 %t) {
  %sums = load ptr, ptr %context
  %field = getelementptr i64, ptr %context, i64 1
  %k = load i64, ptr %field
  %slot = getelementptr i64, ptr %sums, i64 %t
  %old = load i64, ptr %slot
  %new = add i64 %old, %k
  store i64 %new, ptr %slot
  ret void
}
define void @add_all(ptr %sums, ptr %trap, i64 %n, i64 %times) {
entry:
  %context = alloca [2 x i64]
  %field = getelementptr i64, ptr %context, i64 1
  br label %loop
loop:
  %k = phi i64 [ 1, %entry ], [ %next, %loop ]
  store ptr %sums, ptr %context
  store i64 %k, ptr %field
  call void @dlir.parallel_for(ptr @add, ptr %context, i64 %n)
  store ptr %trap, ptr %context
  %next = add i64 %k, 1
  %more = icmp sle i64 %next, %times
  br i1 %more, label %loop, label %exit
exit:
  ret void
}
"""
# By a counter that all threads share: sleep at one step in 256, give way at one in 8.
DELAY = """
@steps = internal global i64 0
declare i32 @usleep(i32)
declare i32 @sched_yield()
define internal void @delay() {
entry:
  %step = atomicrmw add ptr @steps, i64 1 monotonic
  %mixed = mul i64 %step, -7046029254386353131
  %dice = lshr i64 %mixed, 56
  %rare = icmp eq i64 %dice, 0
  br i1 %rare, label %sleep, label %other
sleep:
  %slept = call i32 @usleep(i32 60)
  ret void
other:
  %low = and i64 %dice, 7
  %often = icmp eq i64 %low, 1
  br i1 %often, label %yield, label %exit
yield:
  %gave = call i32 @sched_yield()
  br label %exit
exit:
  ret void
}
"""


def as_it_is(text):
    return text


def held_up(text):
    """Threads lose time after each access to shared memory."""
    return re.sub(r"(.*(?:atomic|cmpxchg).*)", r"\1\n  call void @delay()", text) + DELAY


@pytest.fixture(params=[as_it_is, held_up])
def pool(request, monkeypatch):
    """A pool of three workers apart from the one that all others use; those soon sleep."""
    source = threads._source
    monkeypatch.setattr(threads, "SPINS", 20)
    monkeypatch.setattr(threads, "_source", lambda: request.param(source()))
    monkeypatch.setenv("DLIR_NUM_THREADS", "4")
    pool = threads._Pool()
    yield pool
    pool._shut_down()
    assert not any(thread.is_alive() for thread in pool._threads)


@pytest.mark.parametrize("callers", [1, 3])
def test_each_loop_is_complete_and_over_when_it_returns(pool, callers):
    imports = {"dlir.parallel_for": pool.library["dlir.parallel_for"]}
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
    add_all = jit.compile_ir(LOOPS, ["add_all"], imports).function("add_all", prototype)
    times, lengths = 10_000 * STRESS, (2, 3, 4, 19)
    sums, traps = np.zeros((2, callers, len(lengths), max(lengths)), np.int64)

    def call(number):
        for turn, n in enumerate(lengths):
            add_all(sums[number, turn].ctypes.data, traps[number, turn].ctypes.data, n, times)

    running = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for caller in running:
        caller.start()
    for caller in running:
        caller.join()
    for turn, n in enumerate(lengths):
        assert (sums[:, turn, :n] == times * (times + 1) // 2).all()
    assert not traps.any()
