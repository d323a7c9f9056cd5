"""The store of variables: reading and writing from Python, sharing, turns, and that nobody ever sees half a change."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
from support.cuda import need_simulator

from dlir.backends.compiler import compile_module, lower_module
from dlir.backends.cuda.backend import load_on
from dlir.backends.cuda.simulated import SimDevice
from dlir.backends.registry import find_backend
from dlir.backends.variables import VariableStore, commit
from dlir.ir.errors import DlirError
from dlir.textir import parse

X = np.arange(4, dtype=np.float32)
PAIR = """
state.variable @a {init = dense<1.0> : tensor<4xf32>, type = tensor<4xf32>}
state.variable @b {init = dense<1.0> : tensor<4xf32>, type = tensor<4xf32>}
func.func @main(%x: tensor<4xf32>) {
  %a = state.read @a
  %b = state.read @b
  %na = nd.add %a, %x
  %nb = nd.add %b, %x
  state.write @a, %na
  state.write @b, %nb
  return
}
func.func @difference() -> (tensor<4xf32>, tensor<4xf32>) {
  %a = state.read @a
  %b = state.read @b
  %d = nd.sub %a, %b
  return %d, %a
}
"""


@pytest.fixture(params=["ref", "cpu", "cuda-sim"])
def backend(request) -> str:
    if request.param == "cuda-sim":
        need_simulator()
    return request.param


# ---------------------------------------------------------------- from Python


def test_it_reads_and_writes_copies():
    first = np.ones(3)
    store = VariableStore({"w": first, "n": np.int32(5)})
    first[...] = 7
    found = store["w"]
    found[...] = 8
    np.testing.assert_array_equal(store["w"], [1, 1, 1])
    value = np.array([1.0, 2.0, 3.0])
    store["w"] = value
    value[...] = 9
    np.testing.assert_array_equal(store["w"], [1, 2, 3])
    assert store.names == ("w", "n") and list(store) == ["w", "n"] and len(store) == 2
    assert "w" in store and "x" not in store and 3 not in store
    assert store["n"] == 5 and store["n"].shape == () and store["n"].dtype == np.int32
    store["n"] = 6
    store["w"] = [4, 5, 6]
    snapshot = store.snapshot()
    store.update({"n": 7, "w": np.zeros(3)})
    assert snapshot["n"] == 6 and list(snapshot["w"]) == [4, 5, 6] and store["n"] == 7
    store.update(snapshot)
    assert store["n"] == 6
    assert list(store.snapshot(["n"])) == ["n"]


@pytest.mark.parametrize(
    "value, message",
    [
        (np.zeros(4, np.float32), "variable 'w' is float32 of shape \\[3\\], got float32 of shape \\[4\\]"),
        (np.zeros(3), "got float64 of shape \\[3\\]: a variable keeps its type"),
        (np.float32(0), "got float32 of shape \\[\\]"),
        ("three", "cannot be set to a str"),
        ([1, 2], "got float32 of shape \\[2\\]"),
        (None, "cannot be set to a NoneType"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(value, message):
    store = VariableStore({"v": np.ones(2), "w": np.ones(3, np.float32)})
    with pytest.raises(DlirError, match=message):
        store.update({"v": np.zeros(2), "w": value})
    assert store["v"].sum() == 2 and store["w"].sum() == 3
    with pytest.raises(DlirError, match="(?s)no variable 'vv'.*did you mean 'v'"):
        store["vv"] = 1
    with pytest.raises(DlirError, match="no variable 'u'"):
        store["u"]


def test_any_layout_is_copied():
    store = VariableStore({"w": np.zeros((2, 3)), "h": np.zeros((2,), ml_dtypes.bfloat16)})
    store["w"] = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(store["w"], np.arange(6.0).reshape(2, 3))
    store["w"] = np.ma.masked_array(np.ones((2, 3)))
    assert type(store["w"]) is np.ndarray and store["w"].sum() == 6
    store["h"] = np.ones(2, ml_dtypes.bfloat16)
    assert store["h"].sum() == 2


# ---------------------------------------------------------------- programs


def test_programs_and_python_see_each_others_values(backend):
    store = VariableStore()
    step = compile_module(parse(PAIR), backend=backend, variables=store)
    look = compile_module(parse(PAIR), backend=backend, entry="difference", variables=store)
    assert step.variables is store and store.names == ("a", "b")
    step(X)
    np.testing.assert_array_equal(look()[1], 1 + X)
    store["a"] = 5 * X
    step(X)
    difference, a = look()
    np.testing.assert_array_equal(a, 6 * X)
    np.testing.assert_array_equal(difference, 4 * X - 1 - X + X)
    np.testing.assert_array_equal(store["a"], 6 * X)


def test_programs_of_several_shapes_and_backends_share_a_store():
    text = """
      state.variable @w {init = dense<1.0> : tensor<4xf32>, type = tensor<4xf32>}
      func.func @main(%x: tensor<ROWSx4xf32>) -> tensor<4xf32> {
        %w = state.read @w
        %s = nd.sum %x {axes = [0]}
        %n = nd.add %w, %s
        state.write @w, %n
        return %w
      }"""
    need_simulator()
    store = VariableStore()
    total = np.ones(4, np.float32)
    for rows, backend in ((2, "cpu"), (3, "ref"), (5, "cuda-sim"), (7, "cpu")):
        program = compile_module(parse(text.replace("ROWS", str(rows))), backend=backend, variables=store)
        np.testing.assert_array_equal(program(np.ones((rows, 4), np.float32))[0], total)
        total += rows
    np.testing.assert_array_equal(store["w"], total)


def test_without_a_store_each_program_has_its_own(backend):
    one, two = (compile_module(parse(PAIR), backend=backend) for _ in range(2))
    one(X)
    np.testing.assert_array_equal(one.variables["a"], 1 + X)
    np.testing.assert_array_equal(two.variables["a"], 0 * X + 1)


def test_values_that_are_there_are_kept(backend):
    store = VariableStore({"a": 3 * X, "other": np.zeros(2)})
    look = compile_module(parse(PAIR), backend=backend, entry="difference", variables=store)
    np.testing.assert_array_equal(look()[0], 3 * X - 1)
    assert "other" in store and look.variables is store
    wrong = VariableStore({"a": np.zeros(5, np.float32)})
    with pytest.raises(DlirError, match="variable 'a' is float32 of shape \\[5\\] in the store, but the program needs"):
        compile_module(parse(PAIR), backend=backend, variables=wrong)


def test_in_a_shared_store_nothing_is_taken_for_a_constant(backend):
    """An evaluation that only reads sees new values: its weights are not prepared when it is loaded."""
    text = """
      state.variable @w {init = dense<1.0> : tensor<16x32xf32>, type = tensor<16x32xf32>}
      func.func @main(%x: tensor<8x16xf32>) -> tensor<8x32xf32> {
        %w = state.read @w
        %e = nd.exp %w
        %y = nd.matmul %x, %e
        return %y
      }"""
    x = np.random.default_rng(0).standard_normal((8, 16), dtype=np.float32)
    store = VariableStore()
    program = compile_module(parse(text), backend=backend, variables=store)
    for number in (1.0, 0.5, -2.0):
        store["w"] = np.full((16, 32), number, np.float32)
        np.testing.assert_allclose(program(x)[0], x @ np.exp(store["w"]), rtol=1e-4, atol=1e-4)


def test_a_variable_may_begin_as_another_one_and_go_its_own_way(backend):
    """An initialiser gives the first value; the average that it starts is then written by calls."""
    text = """
      state.variable @w {init = dense<2.0> : tensor<4xf32>, type = tensor<4xf32>}
      state.variable @mean {type = tensor<4xf32>}
      func.func private @begin() -> tensor<4xf32> attributes {dlir.initializes = [@mean]} {
        %w = state.read @w
        %h = nd.mul %w, %w
        return %h
      }
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
        %w = state.read @w
        %mean = state.read @mean
        %n = nd.add %w, %x
        %m = nd.add %mean, %n
        state.write @w, %n
        state.write @mean, %m
        return %mean
      }"""
    store = VariableStore()
    program = compile_module(parse(text), backend=backend, variables=store)
    np.testing.assert_array_equal(program(X)[0], 4 + 0 * X)
    np.testing.assert_array_equal(program(X)[0], 6 + X)
    # Loading it once more begins nothing again.
    again = compile_module(parse(text), backend=backend, variables=store)
    np.testing.assert_array_equal(again(X)[0], 8 + 3 * X)
    alone = compile_module(parse(text), backend=backend)
    np.testing.assert_array_equal(alone(X)[0], 4 + 0 * X)
    np.testing.assert_array_equal(alone.variables["mean"], 6 + X)


# ---------------------------------------------------------------- all or nothing


def test_a_call_that_is_refused_changes_nothing(backend):
    program = compile_module(parse(PAIR), backend=backend)
    program(X)
    for wrong in (np.zeros(5, np.float32), np.zeros(4), "x"):
        with pytest.raises(DlirError):
            program(wrong)
    with pytest.raises(DlirError):
        program()
    for name in "ab":
        np.testing.assert_array_equal(program.variables[name], 1 + X)


def test_the_reference_commits_at_the_end():
    text = """
      memref.global @a {type = memref<4xf32>, initial_value = dense<1.0> : tensor<4xf32>}
      func.func @main(%i: memref<index> {dlir.input = 0}) {
        %a = memref.get_global @a : memref<4xf32>
        %at = memref.load %i
        %two = arith.constant {value = 2.0 : f32}
        %zero = arith.constant {value = 0 : index}
        memref.store %two, %a, %zero
        memref.store %two, %a, %at
        return
      }"""
    program = compile_module(parse(text), backend="ref")
    with pytest.raises(DlirError, match="is outside of a buffer"):
        program(np.array(4))
    np.testing.assert_array_equal(program.variables["a"], [1, 1, 1, 1])
    program(np.array(3))
    np.testing.assert_array_equal(program.variables["a"], [2, 1, 1, 2])


class Failing(SimDevice):
    """A device that fails in a later launch; with `place`, one with memory of its own."""

    launches_left = 1 << 30
    place = None

    def launch(self, step, arrays):
        if Failing.launches_left == 0:
            raise RuntimeError("the launch failed")
        Failing.launches_left -= 1
        super().launch(step, arrays)


class Apart(Failing):
    place = "apart"

    def upload(self, array, keep):
        return np.array(array, order="C")


@pytest.mark.parametrize("device", [Failing, Apart])
def test_a_launch_that_fails_leaves_all_variables_as_they_were(device):
    need_simulator()
    module = lower_module(parse(PAIR), "cuda", "O1")
    store = VariableStore()
    program = load_on(device, module, "main", None, store)
    for left in (0, 1):
        Failing.launches_left = left
        with pytest.raises(RuntimeError, match="the launch failed"):
            program(X)
        for name in "ab":
            np.testing.assert_array_equal(store[name], 0 * X + 1)
    Failing.launches_left = 1 << 30
    program(X)
    for name in "ab":
        np.testing.assert_array_equal(store[name], 1 + X)


def test_memories_are_kept_up_to_date():
    """A device with memory of its own, the host's programs, and Python."""
    need_simulator()
    store = VariableStore()
    there = load_on(Apart, lower_module(parse(PAIR), "cuda"), "main", None, store)
    here = compile_module(parse(PAIR), variables=store)
    slow = compile_module(parse(PAIR), backend="ref", variables=store)
    want = 1 + 0 * X
    for step in (there, there, here, slow, there, slow, here, there):
        step(X)
        want = want + X
        np.testing.assert_array_equal(store["a"], want)
    store["b"] = 7 * X
    there(X)
    np.testing.assert_array_equal(store["b"], 8 * X)
    np.testing.assert_array_equal(here.variables["a"], want + X)


def interrupted_calls(call, rounds):
    """Make calls until an interrupt comes, so many times: each time a little later after the first one."""

    is_over = False

    def interrupt(number, frame):
        nonlocal is_over
        is_over = True  # Python drops what is raised in the middle of a destructor
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in range(rounds):
            number, is_over = 0, False
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, (50 + 3 * delay) * 1e-6)
                while not is_over:
                    number += 1
                    call(number)
    finally:
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.skipif(sys.gettrace() is not None, reason="traced code is interrupted in other places")
def test_an_interrupt_leaves_no_half_of_a_change(backend):
    store = VariableStore()
    program = compile_module(parse(PAIR), backend=backend, variables=store)
    look = compile_module(parse(PAIR), backend=backend, entry="difference", variables=store)
    one = np.ones(4, np.float32)

    def write(number):
        store.update({"a": number * one, "b": number * one})

    for call in (lambda number: program(one), write):
        interrupted_calls(call, 100)
        found = store.snapshot()
        np.testing.assert_array_equal(found["a"], found["b"])
        np.testing.assert_array_equal(look()[0], 0 * X)
    # And nobody is left waiting.
    thread = threading.Thread(target=program, args=(one,))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_a_commit_is_one_step():
    targets, sources = [np.zeros(3), np.zeros(())], [np.ones(3), np.array(2.0)]
    commit(targets, sources)
    assert targets[0].sum() == 3 and targets[1] == 2
    commit([], [])


# ---------------------------------------------------------------- threads


def test_threads_take_turns(backend):
    """No step is lost, and whoever reads sees all of a step or nothing."""
    store = VariableStore()
    one = np.ones(4, np.float32)
    steps = [compile_module(parse(PAIR), backend=backend, variables=store) for _ in range(2)]
    look = compile_module(parse(PAIR), backend=backend, entry="difference", variables=store)
    wrong: list[object] = []
    rounds = 40

    def train(step):
        for _ in range(rounds):
            step(one)

    def watch():
        last = 0.0
        for _ in range(rounds):
            difference, a = look()
            found = store.snapshot()
            if difference.any() or (found["a"] != found["b"]).any() or a[0] < last:
                wrong.append((difference, found, last))
            last = a[0]

    threads = [threading.Thread(target=train, args=(steps[i % 2],)) for i in range(4)]
    threads += [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    np.testing.assert_array_equal(store["a"], (1 + 4 * rounds) * one)


def test_a_signal_handler_may_make_a_call():
    program = compile_module(parse(PAIR))
    one = np.ones(4, np.float32)
    calls = 0

    def handler(number, frame):
        nonlocal calls
        calls += 1
        program(one)

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
    try:
        for _ in range(3000):
            program(one)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    np.testing.assert_array_equal(program.variables["a"], (3001 + calls) * one)


def test_a_backend_that_is_given_no_store_makes_one(backend):
    module = parse(PAIR) if backend == "ref" else lower_module(parse(PAIR), find_backend(backend).target)
    program = find_backend(backend).load(module, "main", None)
    assert program(X) == ()
