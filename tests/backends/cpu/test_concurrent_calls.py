"""Executables called from several threads, from signal handlers, in forked children and at the end of the process.

`DLIR_STRESS` is how many times longer than usual these tests run.
"""

import os
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_cpu_executable import COUNTER, load

STRESS = int(os.environ.get("DLIR_STRESS", "1"))
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")

# Each row's maximum goes through an arena, unoptimised also all else; the result is large enough to be recycled.
ROWS = """
func.func @main(%a: tensor<64x257xf32>) -> tensor<64x257xf32> {
  %m = nd.max %a {axes = [1], keepdims = true} : tensor<64x1xf32>
  %b = nd.broadcast_to %m {shape = [64, 257]} : tensor<64x257xf32>
  %d = nd.sub %a, %b
  %e = nd.exp %d
  return %e
}
"""


def rows(number):
    """An input for ROWS and its result, different for each number."""
    x = np.full((64, 257), number, np.float32)
    x[:, 0] += 1 + number
    return x, np.exp(x - x.max(1, keepdims=True))


def test_calls_at_once_have_memory_of_their_own():
    run = load(ROWS, "O0")

    def work(number):
        x, want = rows(number)
        for _ in range(200 * STRESS):
            (got,) = run(x)
            np.testing.assert_allclose(got, want, rtol=1e-5)

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(work, range(4)))


HOLDERS = {
    "array": lambda array: array,
    "view": lambda array: array[:, :],
    "memoryview": memoryview,
    "DLPack": np.from_dlpack,
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
def test_results_stay_what_they_are_while_others_call(hold):
    run = load(ROWS, "O1")

    def work(number):
        x, want = rows(number)
        held = []
        for turn in range(60 * STRESS):
            held.append(hold(run(x)[0]))
            if turn % 3 == 0:
                np.testing.assert_allclose(np.asarray(held.pop(turn * 7 % len(held))), want, rtol=1e-5)
        for result in held:
            np.testing.assert_allclose(np.asarray(result), want, rtol=1e-5)

    with ThreadPoolExecutor(3) as callers:
        list(callers.map(work, range(3)))


def test_variables_change_by_one_call_at_a_time():
    run, one = load(COUNTER), np.array(1)
    with ThreadPoolExecutor(4) as callers:
        totals = list(callers.map(lambda _: int(run(one)[0]), range(2000 * STRESS)))
    assert sorted(totals) == list(range(6, 6 + len(totals)))


def test_first_functions_may_be_made_at_once(run_script):
    script = """
import gc
def make(_):
    together.wait()
    return load(ROWS, "O1")
together = threading.Barrier(4)
with ThreadPoolExecutor(4) as makers:
    made = list(makers.map(make, range(4)))
gc.collect()
for run in [*made, load(ROWS, "O1")]:
    np.testing.assert_allclose(run(rows(1)[0])[0], rows(1)[1], rtol=1e-5)
print(threading.active_count())
"""
    result = run_script(script, "test_concurrent_calls", DLIR_NUM_THREADS="2")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == "2", "there is more than one pool of threads"


# Functions for scripts.


def call_forever(run):
    """Start two threads that never stop calling."""

    def work(number):
        x, _ = rows(number)
        while True:
            run(x)

    for number in range(2):
        threading.Thread(target=work, args=(number,), daemon=True).start()


def fork_children(run, count):
    """How many of the children that are forked one after the other cannot call."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point here
    x, want = rows(5)
    failed = 0
    for _ in range(count):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if all(np.allclose(run(x)[0], want) for _ in range(3)) else 1)
        failed += os.waitpid(child, 0)[1] != 0
    return failed


@needs_fork
def test_children_forked_amid_calls_can_call(run_script):
    script = f"""
sys.setswitchinterval(1e-5)
run = load(ROWS, "O1")
call_forever(run)
print(fork_children(run, {20 * STRESS}))
"""
    result = run_script(script, "test_concurrent_calls", DLIR_NUM_THREADS="3")
    assert (result.stdout.strip(), result.stderr) == ("0", "")


@pytest.mark.parametrize("wait", ["0", "0.05"])
def test_the_process_may_end_amid_calls(run_script, wait):
    script = f"""
import time
call_forever(load(ROWS, "O1"))
time.sleep({wait})
"""
    result = run_script(script, "test_concurrent_calls", DLIR_NUM_THREADS="3")
    assert (result.returncode, result.stderr) == (0, "")


@needs_timer
def test_signal_handlers_may_call(run_script):
    script = f"""
import signal, time
count, run = load(COUNTER), load(ROWS, "O1")
(x, want), one = rows(3), np.array(1)
totals = []
def call(*_):
    totals.append(int(count(one)[0]))
    np.testing.assert_allclose(run(x)[0], want, rtol=1e-5)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
signal.signal(signal.SIGALRM, call)
signal.setitimer(signal.ITIMER_REAL, 0.0003)
end = time.monotonic() + {0.4 * STRESS}
while time.monotonic() < end:
    for _ in range(20):
        totals.append(int(count(one)[0]))
    run(x)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(sorted(totals) == list(range(6, 6 + len(totals))))
"""
    result = run_script(script, "test_concurrent_calls", DLIR_NUM_THREADS="2")
    assert (result.stdout.strip(), result.stderr) == ("True", "")
