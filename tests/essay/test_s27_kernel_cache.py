"""S27: compiling costs little, and nothing the second time: kernels are kept in memory and on disk.

What a process does is counted, not timed: passes that run, and modules that LLVM optimises.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

COUNTED = """
import json, sys
from dlir.backends.cpu import jit
from dlir.passes.manager import PassManager

done = {"passes": 0, "llvm": 0}
run_pass, optimised = PassManager.run_pass, jit._optimised

def counting_pass(*arguments):
    done["passes"] += 1
    return run_pass(*arguments)

def counting_llvm(*arguments):
    done["llvm"] += 1
    return optimised(*arguments)

PassManager.run_pass, jit._optimised = counting_pass, counting_llvm
"""

NETWORK = """
import numpy as np
from dlir.backends.compiler import compile_module
from dlir.textir import parse_file

net = parse_file(sys.argv[1])
x = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
program = compile_module(net.module, net.weights)
y = program(x)[0]
found = {"sum": float(y.sum()), "kernels": program.kernels, "planned": program.memory.planned}
print(json.dumps({**done, **found, "seconds": sum(program.seconds.values())}))
"""

MATHS = """
import numpy as np
from dlir.frontends.symbolic import Variable, compile, nd

A, B = Variable("A"), Variable("B")
f = compile([nd.softmax(A @ B), nd.tanh(A) + 1.0])
found = f(A=np.ones((8, 4), np.float32), B=np.ones((4, 3), np.float32))
print(json.dumps({**done, "sum": float(sum(item.sum() for item in found))}))
"""


@pytest.fixture
def process(tmp_path, examples_dir):
    """Runs Python code in a fresh process with a cache of this test's own; gives what it prints."""
    environment = {name: text for name, text in os.environ.items() if name != "DLIR_PROGRAM_CACHE"}
    environment["DLIR_CACHE_DIR"] = str(tmp_path)

    def run(code, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", COUNTED + code, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return json.loads(done.stdout)

    return run


def test_a_second_process_does_no_work_for_a_network(process, examples_dir, record_property):
    first, second = (process(NETWORK, examples_dir / "digits.dlir") for _ in range(2))
    done = [f"{item['passes']} passes and {item['llvm']} LLVM modules" for item in (first, second)]
    record_property("measured", f"first process {done[0]}, second {done[1]}")
    seconds = [item.pop("seconds") for item in (first, second)]
    record_property(
        "measured", f"compiled in {seconds[0]:.2f} s, then {seconds[1]:.3f} s: {seconds[1] / seconds[0]:.1%}"
    )
    assert first.pop("passes") > 10 and first.pop("llvm") > 1
    assert second.pop("passes") == second.pop("llvm") == 0
    assert first == second


def test_a_second_process_does_no_work_for_symbolic_maths(process):
    first, second = (process(MATHS) for _ in range(2))
    assert first.pop("passes") > 10 and first.pop("llvm") > 0
    assert second.pop("passes") == second.pop("llvm") == 0
    assert first == second


MANY = """
import os, resource
from pathlib import Path
import numpy as np
from dlir.backends import artifact_cache, program_cache
from dlir.backends.compiler import compile_module
from dlir.textir import parse

shapes, limit = int(sys.argv[1]), int(sys.argv[2])
program_cache.RECENT.max_bytes = limit
artifact_cache.ArtifactCache.__init__.__defaults__ = (None, limit)

def used():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

memory = []
for n in range(1, shapes + 1):
    program = compile_module(parse(f"func.func @main(%x: tensor<{n}xf32>) -> tensor<{n}xf32> {{"
                                   f" %y = nd.exp %x : tensor<{n}xf32> return %y }}"))
    assert program(np.zeros(n, np.float32))[0].sum() == n
    memory.append(used())
folder = Path(os.environ["DLIR_CACHE_DIR"], "programs")
files = sum(path.stat().st_size for path in folder.iterdir())
print(json.dumps({**done, "files": files, "kept": program_cache.RECENT.nbytes,
                  "grown": memory[-1] - memory[len(memory) // 2]}))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_and_disk_are_bounded_over_many_shapes(process):
    """Sixty shapes here, with a limit that twenty reach; DLIR_SHAPES=1000 for all that was promised."""
    shapes, limit = int(os.environ.get("DLIR_SHAPES", "60")), 60_000
    found = process(MANY, shapes, limit)
    assert found["llvm"] >= shapes
    assert limit / 2 < found["kept"] <= limit
    assert limit / 2 < found["files"] <= limit
    # A shape may leave its types and little else: they are kept for ever.
    assert found["grown"] < (shapes / 2) * 40_000 + (4 << 20)


def test_a_checkpoint_brings_its_program_with_it_in_any_process(process, tmp_path, examples_dir):
    """The key is the text, wherever it stands."""
    from dlir.textir import parse_file
    from dlir.textir.checkpoint import save_checkpoint

    net = parse_file(examples_dir / "digits.dlir")
    for name in ("first.safetensors", "second.safetensors"):
        save_checkpoint(tmp_path / name, net.module, net.weights)
    first, second = (process(NETWORK, tmp_path / name) for name in ("first.safetensors", "second.safetensors"))
    assert first["passes"] > 10
    assert second["passes"] == second["llvm"] == 0
    assert np.isclose(first["sum"], second["sum"], rtol=0)
