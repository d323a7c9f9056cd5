"""parallel_for.ll in every interleaving of a few threads: each iteration once, while its caller waits, and no dead end.

`DLIR_STRESS` is how many times larger than usual the explored programs may be.
"""

import os
from importlib import resources

import pytest
from interleavings import Program, Wrong
from llvm_threads import Threads, parse

STRESS = int(os.environ.get("DLIR_STRESS", "1"))
POOL = resources.files("dlir.backends.cpu").joinpath("parallel_for.ll").read_text(encoding="utf-8")

HARNESS = """
define void @iterate(ptr %context, i64 %t) {
  call void @begin(ptr %context, i64 %t)
  call void @end(ptr %context, i64 %t)
  ret void
}
define i32 @start_workers() {
  ret i32 WORKERS
}
define void @stop() {
  call void @await(ptr @callers)
  call void @dlir.pool_stop()
  ret void
}
define void @stop_early() {
  call void @dlir.pool_stop()
  ret void
}
"""


def enter(old, n):
    """The caller's frame comes to life: iterations not yet run."""
    if old:
        raise Wrong("a caller is back while its loop runs")
    return (0,) * n, None


def begin(old, t):
    if not old or old[t] != 0:
        raise Wrong(f"iteration {t} runs twice or too late: {old}")
    return (*old[:t], 1, *old[t + 1 :]), None


def end(old, t):
    if not old or old[t] != 1:
        raise Wrong(f"iteration {t} outlives its caller's frame")
    return (*old[:t], 2, *old[t + 1 :]), None


def leave(old, n):
    if old != (2,) * n:
        raise Wrong(f"the caller returns before all iterations are done: {old}")
    return (), None


EXTERNALS = {
    "@enter": enter,
    "@begin": begin,
    "@end": end,
    "@leave": leave,
    "@await": lambda old: None if old else (old, None),
    "@arrive": lambda old: (old - 1, None),
    "@sem_post": lambda old: (old + 1, 0),
    "@sem_wait": lambda old: (old - 1, 0) if old else None,
}


def program(loops, workers, *, text=POOL, spins=1, stop="@stop"):
    """Callers that run loops of so many iterations each, `workers`, and a thread that stops those."""
    callers = []
    for number, counts in enumerate(loops):
        lines = [f"define void @caller.{number}() {{"]
        for n in counts:
            frame = f"ptr @frame.{number}, i64 {n}"
            call = f"call void @dlir.parallel_for(ptr @iterate, {frame})"
            lines += [f"  call void @enter({frame})", f"  {call}", f"  call void @leave({frame})"]
        callers += [*lines, "  call void @arrive(ptr @callers)", "  ret void", "}"]
    harness = HARNESS.replace("WORKERS", str(workers))
    memory, functions = parse("\n".join([text.replace("SPINS", str(spins)), harness, *callers]))
    memory |= {"@starter": "@start_workers", "@callers": len(loops)}
    memory |= {f"@frame.{number}": () for number in range(len(loops))}
    names = [f"@caller.{number}" for number in range(len(loops))]
    return Program(Threads(functions, EXTERNALS), memory, [*names, stop, *["@dlir.worker"] * workers], workers)


# Iterations of each loop of each caller, workers, turns that a thread polls before it sleeps.
PROGRAMS = {
    "one loop": ([[2]], 2, 1),
    "more iterations than threads": ([[3]], 1, 2),
    "loop after loop": ([[2, 2]], 2, 1),
    "polling longer": ([[2, 2]], 1, 3),
    "two callers": ([[2, 2], [2]], 1, 1),
    "a caller without helpers": ([[1, 2], [2]], 1, 1),
}
LARGE_PROGRAMS = {
    "three callers": ([[2], [2], [2]], 1, 1),
    "two callers, two workers": ([[2], [2]], 2, 1),
    "three workers": ([[2]], 3, 1),
}


@pytest.mark.parametrize("shape", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_every_interleaving_is_right_and_ends(shape):
    loops, workers, spins = shape
    assert program(loops, workers, spins=spins).explore(200_000) > 1000


@pytest.mark.skipif(STRESS == 1, reason="takes long: set DLIR_STRESS")
@pytest.mark.parametrize("shape", LARGE_PROGRAMS.values(), ids=LARGE_PROGRAMS.keys())
def test_every_interleaving_of_more_threads_is_right_and_ends(shape):
    loops, workers, spins = shape
    assert program(loops, workers, spins=spins).explore(2_000_000) > 100_000


def test_workers_may_be_stopped_during_a_loop():
    assert program([[2]], 1, stop="@stop_early").explore(50_000) > 1000


# For random interleavings: the orderings of two callers, and of one loop after the other, show in different ones.
WALKS = {"two callers": ([[3, 2], [2, 3]], 2), "loop after loop": ([[2, 2, 2]], 1)}


@pytest.mark.parametrize("shape", WALKS.values(), ids=WALKS.keys())
def test_no_data_race(shape):
    walked = program(*shape)
    for seed in range(200 * STRESS):
        walked.walk(seed)


# What would go wrong if the pool were written in another way: (the text, what to write instead).
BUGS = {
    "iterations start at 1": ("store atomic i64 0, ptr @next", "store atomic i64 1, ptr @next"),
    "tickets are left out": ("and ptr @job, i64 -4294967296", "or ptr @job, i64 0"),
    "the caller goes without waiting": ("%alone = icmp eq i64 %running, 0", "%alone = icmp ne i64 %running, -1"),
    "nobody wakes the caller": ("icmp eq i64 %before, -9223372032559808512", "icmp eq i64 %before, 1"),
    "the caller sleeps after the last worker": ("%late = icmp eq i64 %last, 0", "%late = icmp eq i64 %last, 1"),
    "the lock is not taken": ("cmpxchg ptr @lock, i32 0, i32 1", "cmpxchg ptr @lock, i32 0, i32 0"),
    "a worker sleeps through the end": ("%needed = or i1 %stopping,", "%needed = or i1 %offered,"),
    "a sleeping worker is forgotten": ("%left = sub i32 %asleep, %posts", "%left = sub i32 %asleep, %asleep"),
    "opening does not publish": ("%tickets, ptr @job seq_cst", "%tickets, ptr @job monotonic"),
    "joining does not acquire": ("%joined acq_rel acquire", "%joined monotonic monotonic"),
    "finishing does not publish": ("sub ptr @job, i64 4294967296 acq_rel", "sub ptr @job, i64 4294967296 monotonic"),
    "closing does not publish": ("i32 0, ptr @lock release", "i32 0, ptr @lock monotonic"),
    "locking does not acquire": ("i32 1 acquire monotonic", "i32 1 monotonic monotonic"),
    "polling does not acquire": ("load atomic i64, ptr @job acquire", "load atomic i64, ptr @job monotonic"),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_a_bug_would_be_found(bug):
    assert bug[0] in POOL
    text = POOL.replace(*bug)
    with pytest.raises(Wrong):
        program([[2, 2]], 1, text=text).explore(50_000)
        program([[2]], 2, text=text).explore(50_000)
        for shape in WALKS.values():
            walked = program(*shape, text=text)
            for seed in range(200):
                walked.walk(seed)
