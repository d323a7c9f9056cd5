"""Programs that are found again: the same in every respect, without any work, and never because of a mistake."""

from __future__ import annotations

import json
import logging
import os
import struct
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from dlir.backends import device_memory, program_cache
from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.compiler import compile_module
from dlir.backends.cpu import jit
from dlir.backends.variables import VariableStore
from dlir.ir.errors import DlirError
from dlir.passes.manager import PassManager
from dlir.passes.rules import RULES
from dlir.textir import parse, print_module

NET = """
module {
  state.variable @w {init = dense_resource<w> : tensor<96x80xf32>, type = tensor<96x80xf32>}
  state.variable @b {init = dense<0.5> : tensor<80xf32>, type = tensor<80xf32>}
  func.func @main(%x: tensor<24x96xf32>) -> (tensor<24x80xf32>, tensor<24xf32>) {
    %w = state.read @w : tensor<96x80xf32>
    %b = state.read @b : tensor<80xf32>
    %h = nn.dense %x, %w, %b {activation = "relu"} : tensor<24x80xf32>
    %s = nd.softmax %h : tensor<24x80xf32>
    %m = nd.sum %h {axes = [1]} : tensor<24xf32>
    return %s, %m
  }
}
"""
X = np.random.default_rng(0).standard_normal((24, 96), dtype=np.float32)
W = np.random.default_rng(1).standard_normal((96, 80), dtype=np.float32) / 10


def weights(name):
    return {"w": W}[name]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of a cache that is on and empty."""
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("DLIR_PROGRAM_CACHE")
    program_cache.RECENT.clear()
    yield tmp_path / "programs"
    program_cache.RECENT.clear()


@pytest.fixture
def work(monkeypatch):
    """What is done: the passes that run, and "llvm" for each module that LLVM optimises."""
    done = []
    run_pass, optimised = PassManager.run_pass, jit._optimised

    def noting_pass(self, item, module):
        done.append(item.name)
        run_pass(self, item, module)

    def noting_llvm(*arguments):
        done.append("llvm")
        return optimised(*arguments)

    monkeypatch.setattr(PassManager, "run_pass", noting_pass)
    monkeypatch.setattr(jit, "_optimised", noting_llvm)
    return done


def compiled(text=NET, forget=False, **options):
    """A program for `text`; with `forget`, as another process would compile it."""
    if forget:
        program_cache.RECENT.clear()
    return compile_module(parse(text), options.pop("weights", weights), **options)


def entries(folder):
    return sorted(folder.iterdir()) if folder.exists() else []


# ---------------------------------------------------------------- hits


@pytest.mark.parametrize("forget", [False, True], ids=["memory", "disk"])
def test_a_second_compilation_does_no_work_and_gives_the_same_program(cache, work, forget):
    first = compiled()
    assert "llvm" in work and "fuse" in work
    outputs = first(X)
    # What is asked of the first one runs passes for itself.
    memory, kernels = first.memory, first.kernels
    del work[:]
    second = compiled(forget=forget)
    assert set(second.seconds) == {"cache"}
    for got, wanted in zip(second(X), outputs, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert (second.kernels, second.memory, second.stats) == (kernels, memory, first.stats)
    assert second.entry == first.entry and str(second.executable.signature) == str(first.executable.signature)
    assert work == []
    # This is made when it is asked for.
    assert print_module(second.lowered) == print_module(first.lowered)
    assert second.source() == first.source()
    assert "fuse" in work


def test_results_are_right(cache):
    for _ in range(2):
        softmax, total = compiled()(X)
        hidden = np.maximum(X @ W + 0.5, 0)
        powers = np.exp(hidden - hidden.max(1, keepdims=True))
        np.testing.assert_allclose(softmax, powers / powers.sum(1, keepdims=True), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(total, hidden.sum(1), rtol=1e-5)


def test_other_weights_of_the_same_type_take_the_same_program(cache, work):
    compiled()
    del work[:]
    second = compiled(weights={"w": 2 * W}.__getitem__)
    np.testing.assert_allclose(second(X)[1], np.maximum(X @ (2 * W) + 0.5, 0).sum(1), rtol=1e-5)
    assert work == []
    assert len(entries(cache)) == 1


def test_errors_of_a_program_that_was_found_point_into_the_text(cache):
    compiled()
    with pytest.raises(DlirError, match="there are no weights") as first:
        compiled(weights=None)
    os.environ["DLIR_PROGRAM_CACHE"] = "off"
    try:
        with pytest.raises(DlirError) as second:
            compiled(weights=None)
    finally:
        del os.environ["DLIR_PROGRAM_CACHE"]
    assert str(first.value) == str(second.value)
    found = compiled()
    with pytest.raises(DlirError, match="for argument 'x', got float32 of shape"):
        found(X.T)


COUNTER = """
module {
  state.variable @n {init = dense<0.0> : tensor<3xf32>, type = tensor<3xf32>}
  func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {
    %n = state.read @n : tensor<3xf32>
    %next = nd.add %n, %x : tensor<3xf32>
    state.write @n, %next
    return %n
  }
}
"""


def test_variables_of_programs_that_were_found(cache, work):
    ones = np.ones(3, "f4")
    first = compiled(COUNTER)
    first(ones)
    del work[:]
    # One with variables of its own ...
    second = compiled(COUNTER)
    for count in range(3):
        np.testing.assert_array_equal(second(ones)[0], [count] * 3)
    assert work == []
    np.testing.assert_array_equal(first(ones)[0], [1] * 3)
    # ... and two that share them.
    store = VariableStore()
    compiled(COUNTER, variables=store)(ones)
    del work[:]
    third = compiled(COUNTER, variables=store, forget=True)
    assert work == []
    np.testing.assert_array_equal(third(ones)[0], [1] * 3)
    np.testing.assert_array_equal(store["n"], [2] * 3)


def test_constants_may_change_only_where_they_are_shared(cache):
    """With a store, @w is no constant: nothing may be computed from it when the program is loaded."""
    compiled()
    store = VariableStore({"w": W})
    for _ in range(2):
        program = compiled(variables=store)
        store["w"] = W
        before = program(X)[1]
        store["w"] = 0 * W
        assert not np.array_equal(program(X)[1], before)


def test_donated_inputs_and_constants_in_the_text(cache, work):
    table = np.random.default_rng(2).standard_normal((40, 64)).astype("f4")
    text = f"""
    func.func @main(%x: tensor<40x64xf32> {{dlir.donated}}, %unused: tensor<64xf32>) -> tensor<40x64xf32> {{
      %t = nd.constant {{value = dense<"0x{table.tobytes().hex()}"> : tensor<40x64xf32>}} : tensor<40x64xf32>
      %a = nd.mul %x, %t : tensor<40x64xf32>
      return %a
    }}
    """
    outputs = []
    for _ in range(2):
        program = compiled(text)
        x = np.ones((40, 64), "f4")
        (y,) = program(x, np.ones(64, "f4"))
        assert np.shares_memory(x, y)
        np.testing.assert_array_equal(y, table)
        outputs.append([item.name for item in program.executable.signature.inputs])
    assert outputs[0] == outputs[1]
    assert work.count("fuse") == 1


NOTED = """
func.func @main(%x: tensor<4xf32>{}) -> tensor<4xf32> attributes {{made.by = 0.5 : f32}} {{
  %y = nd.exp %x : tensor<4xf32>
  return %y
}}
"""


def test_notes_of_others_are_no_part_of_a_program(cache, work):
    for _ in range(2):
        compiled(NOTED.format(""))
    assert work.count("fuse") == 1


def test_what_has_no_plain_form_is_compiled_every_time(cache, work):
    for _ in range(2):
        np.testing.assert_allclose(
            compiled(NOTED.format(" {made.scale = 0.5 : f32}"))(X[0, :4])[0], np.exp(X[0, :4]), rtol=1e-6
        )
    assert work.count("fuse") == 2 and not entries(cache)


# ---------------------------------------------------------------- misses


def test_what_makes_another_program(cache, work):
    texts = [NET, NET.replace("24x", "25x").replace("<24xf32>", "<25xf32>"), NET.replace("relu", "tanh")]
    texts += [NET.replace("dense<0.5>", "dense<0.25>"), NET.replace("%x", "%y")]
    for text in texts:
        compiled(text)
    compiled(NET, level="O1")
    compiled(NET, variables=VariableStore())
    assert work.count("fuse") == len(entries(cache)) == len(texts) + 2
    compiled(NET.replace("@main", "@other"), entry="other")
    assert len(entries(cache)) == len(texts) + 3


def test_names_that_the_text_spells_alike_are_apart(cache):
    """The printer makes names unique, but callers use those that arguments have."""
    for names in (["a", "a_1"], ["a", "a"]):
        module = parse("func.func @main(%a: tensor<2xf32>, %a_1: tensor<2xf32>) -> tensor<2xf32> { return %a }")
        function = module.body.first
        for arg, name in zip(function.body.args, names, strict=True):
            arg.name = name
        found = [item.name for item in compile_module(module).executable.signature.inputs]
        assert found == names


def test_whoever_watches_the_passes_sees_them(cache, work):
    compiled()
    del work[:]
    seen = []
    compiled(after=lambda item, module: seen.append(item.name))
    assert seen == work[: len(seen)] and "fuse" in seen
    assert len(entries(cache)) == 1


def test_the_switch(cache, work, monkeypatch):
    monkeypatch.setenv("DLIR_PROGRAM_CACHE", "off")
    compiled()
    compiled()
    assert work.count("fuse") == 2
    assert not entries(cache)


def test_without_a_folder_programs_are_kept_in_memory(cache, work, monkeypatch):
    monkeypatch.setenv("DLIR_CACHE_DIR", "off")
    compiled()
    compiled()
    assert work.count("fuse") == 1
    compiled(forget=True)
    assert work.count("fuse") == 2


def test_plugins_have_a_say_in_compiling_and_may_change(cache, work, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(RULES.data, "somebody's", ())
        compiled()
        assert not entries(cache)
    compiled()
    assert len(entries(cache)) == 1 and work.count("fuse") == 2
    monkeypatch.setitem(RULES.data, "somebody's", ())
    compiled()
    assert work.count("fuse") == 3


def test_another_dlir_finds_nothing(cache, work, monkeypatch):
    compiled()
    monkeypatch.setattr(program_cache, "_fingerprint", lambda: "another")
    compiled()
    assert work.count("fuse") == 2
    monkeypatch.setattr(program_cache, "_fingerprint", lambda: None)
    compiled()
    assert work.count("fuse") == 3


def test_which_dlir_it_is_depends_on_every_file(tmp_path, monkeypatch):
    import dlir

    for package in program_cache._PACKAGES:
        (tmp_path / package / "inner").mkdir(parents=True)
    file = tmp_path / "passes" / "inner" / "a.pattern"
    file.write_text("one")
    monkeypatch.setattr(dlir, "__path__", [str(tmp_path)])
    fingerprint = program_cache._fingerprint.__wrapped__
    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    file.write_text("other")
    seen.append(fingerprint())
    os.utime(file, ns=(1, 1))
    seen.append(fingerprint())
    (tmp_path / "ir" / "new.py").write_text("")
    seen.append(fingerprint())
    (tmp_path / "ir" / "__pycache__").mkdir()
    assert fingerprint() == seen[-1]
    assert len(set(seen)) == len(seen)
    for package in program_cache._PACKAGES:
        (tmp_path / package).rename(tmp_path / f"no {package}")
    assert fingerprint() is None


def test_a_program_that_no_longer_fits_says_what_is_too_large(cache, monkeypatch):
    compiled()
    monkeypatch.setattr(device_memory, "device_bytes", lambda backend: 10_000)
    with pytest.raises(DlirError, match=r"needs [\d,]+ bytes, but this machine has 10,000"):
        compiled()


def test_other_backends_are_left_alone(cache):
    compiled(backend="ref")
    assert not entries(cache)


# ---------------------------------------------------------------- damage


def spoilt(payload):
    """Payloads that are not what was written, although somebody stored them under the right key."""
    (length,) = struct.unpack_from("<Q", payload)
    description = json.loads(payload[8 : 8 + length])

    def with_description(change):
        changed = json.loads(json.dumps(description))
        change(changed)
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + payload[8 + length :]

    yield b""
    yield payload[:4]
    yield payload[: 8 + length // 2]
    yield payload[:-1]
    yield payload + b"\0"
    yield struct.pack("<Q", 1 << 62) + payload[8:]
    yield struct.pack("<Q", 2) + b"[]"
    for name in description:
        yield with_description(lambda changed, name=name: changed.pop(name))
    yield with_description(lambda changed: changed["skeleton"]["variables"].append({"type": ["strange"]}))
    yield with_description(lambda changed: changed["skeleton"]["functions"][0].pop("uses"))
    yield with_description(lambda changed: changed["functions"][0].pop())
    yield with_description(lambda changed: changed.update(functions=7))


def test_payloads_that_make_no_sense_are_a_miss_with_a_warning(cache, caplog):
    wanted = compiled()(X)
    payload = next(iter(program_cache.RECENT._payloads.values()))
    (key,) = program_cache.RECENT._payloads
    for bad in spoilt(payload):
        ArtifactCache("programs").put(key, bad)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            program = compiled(forget=True)
        assert len(caplog.records) == 1 and "passes" in program.seconds
        np.testing.assert_array_equal(program(X)[0], wanted[0])
        # It is mended.
        assert "cache" in compiled(forget=True).seconds


def test_damaged_files_are_a_miss_with_a_warning(cache, caplog):
    wanted = compiled()(X)
    (path,) = entries(cache)
    whole = path.read_bytes()
    for place in (0, 9, 40, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            program = compiled(forget=True)
        assert len(caplog.records) == 1 and "passes" in program.seconds
        np.testing.assert_array_equal(program(X)[0], wanted[0])


def test_a_folder_that_cannot_be_used_is_said_once(tmp_path, cache, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            compiled(forget=True)
    assert len([record for record in caplog.records if "programs" in record.getMessage()]) == 1


# ---------------------------------------------------------------- bounds, threads, processes


def test_memory_is_bounded_over_a_thousand_shapes():
    recent = program_cache._Recent(max_bytes=100_000)
    for number in range(1000):
        recent.put((f"shape {number}",), bytes(900))
    assert len(recent) == 111 and recent.nbytes == 99_900
    assert recent.get(("shape 999",)) is not None and recent.get(("shape 888",)) is None
    recent.get(("shape 889",))
    recent.put(("another",), bytes(1000))
    # What was used last stays.
    assert recent.get(("shape 889",)) is not None and recent.get(("shape 890",)) is None
    recent.put(("another",), bytes(10))
    assert recent.nbytes == sum(len(payload) for payload in recent._payloads.values())
    recent.put(("huge",), bytes(200_000))
    assert len(recent) == 0 and recent.nbytes == 0


def test_threads_may_compile_the_same_program_at_one_time(cache):
    wanted = compiled()(X)
    program_cache.RECENT.clear()
    results = []

    def compile_some():
        for _ in range(5):
            results.append(compiled()(X))

    threads = [threading.Thread(target=compile_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    assert all(np.array_equal(got[0], wanted[0]) for got in results)


KILLED = """
import os, random, signal, sys, time
from dlir.backends.artifact_cache import ArtifactCache

folder, kills = sys.argv[1], int(sys.argv[2])
random.seed(3)
PAYLOADS = [bytes([n]) * (200_000 + n) for n in range(4)]

def write_for_ever():
    cache = ArtifactCache("programs")
    while True:
        n = random.randrange(4)
        cache.put((str(n),), PAYLOADS[n])

found = unfinished = 0
for kill in range(kills):
    child = os.fork()
    if child == 0:
        write_for_ever()
    time.sleep(random.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    cache = ArtifactCache("programs")
    for n in range(4):
        payload = cache.get((str(n),))
        assert payload is None or payload == PAYLOADS[n]
        found += payload is not None
    unfinished += any(name.startswith(".new-") for name in os.listdir(os.path.join(folder, "programs")))
print(found, unfinished)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process_leaves_no_torn_entry(tmp_path):
    kills = int(os.environ.get("DLIR_KILLS", "100"))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(kills)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "DLIR_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found, unfinished = map(int, done.stdout.split())
    assert found > kills and unfinished


RACING = """
    import random, sys
    import numpy as np
    from dlir.backends import program_cache
    from dlir.backends.compiler import compile_module
    from dlir.textir import parse

    random.seed(int(sys.argv[1]))
    hits = 0
    for turn in range(6):
        n = random.randrange(2, 5)
        text = f'''func.func @main(%x: tensor<{n}x8xf32>, %w: tensor<8x5xf32>) -> tensor<{n}x5xf32> {{
          %y = nd.matmul %x, %w : tensor<{n}x5xf32>
          %z = nd.relu %y : tensor<{n}x5xf32>
          return %z
        }}'''
        program_cache.RECENT.clear()
        program = compile_module(parse(text))
        hits += "cache" in program.seconds
        x, w = np.ones((n, 8), "f4"), np.arange(40, dtype="f4").reshape(8, 5)
        np.testing.assert_array_equal(program(x, w)[0], x @ w)
    print(hits)
"""


def test_eight_processes_share_one_folder(cache):
    environment = {name: text for name, text in os.environ.items() if name != "DLIR_PROGRAM_CACHE"}
    command = [sys.executable, "-c", textwrap.dedent(RACING)]
    processes = [
        subprocess.Popen([*command, str(n)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(8)
    ]
    done = [process.communicate() for process in processes]
    assert [error for _, error in done] == [""] * 8
    assert [process.returncode for process in processes] == [0] * 8
    assert sum(int(out) for out, _ in done) >= 8 * 6 - 8 * 3
    assert len(entries(cache)) == 3
