"""Whatever a user gets wrong: one clear message with its place, the right exit code, nothing half-written, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cli import run

MAIN = "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{\n  {}\n}}\n"
TEXTS = {
    "unknown op": ("%y = nd.ad %x, %x\n  return %y", "unknown op 'nd.ad'", ":2:"),
    "unknown dialect": ("%y = nx.add %x, %x\n  return %y", "'nx", ":2:"),
    "unknown type": ("%y = nd.cast %x {dtype = f33} : tensor<4xf33>\n  return %y", "f33", ":2:"),
    "unknown attribute": ("%y = nd.sum %x {axis = [0]}\n  return %x", "no attribute 'axis'", ":2:"),
    "wrong attribute": ('%y = nn.softmax %x {axis = "last"}\n  return %y', "must be an integer", ":2:"),
    "wrong choice": (
        "%w = nd.constant {value = dense<0.0> : tensor<4x4xf32>}\n"
        "  %m = nd.reshape %x {shape = array<i64: 1, 4>}\n"
        '  %y = nn.dense %m, %w {activation = "rely"}\n  return %x',
        'got "rely"',
        ":4:",
    ),
    "wrong arity": ("%y = nd.exp %x, %x\n  return %y", "takes 1 operand", ":2:"),
    "wrong dtype": ("%y = nd.logical_and %x, %x : tensor<4xf32>\n  return %y", "nd.logical_and", ":2:"),
    "wrong shape": (
        "%w = nd.constant {value = dense<0.0> : tensor<5x2xf32>}\n  %y = nd.matmul %x, %w\n  return %x",
        "nd.matmul",
        ":3:",
    ),
    "wrong result type": ("%y = nd.exp %x : tensor<5xf32>\n  return %x", "tensor<4xf32>", ":2:"),
    "undefined value": ("%y = nd.exp %z\n  return %y", "%z", ":2:"),
    "doubly defined value": ("%y = nd.exp %x\n  %y = nd.exp %x\n  return %y", "%y", ":3:"),
    "not yet defined value": ("%y = nd.exp %z\n  %z = nd.exp %x\n  return %y", "%z", ":2:"),
    "wrong return": ("return %x, %x", "return", ":2:"),
    "stray word": ("oops\n  return %x", "oops", ":2:"),
    "unclosed brace": ("return %x {", "", ":"),
    "unknown function": ("%y = func.call %x {callee = @nope} : tensor<4xf32>\n  return %y", "@nope", ":2:"),
    "4 TiB tensor": (
        "%s = nd.constant {value = dense<1.0> : tensor<1048576x1048576xf32>}\n  return %x",
        "4.0 TiB",
        ":2:",
    ),
}


def no_traceback(text: str) -> None:
    assert "Traceback" not in text and "internal error" not in text, text


@pytest.mark.parametrize("case", TEXTS)
def test_a_wrong_program(tmp_path, case):
    body, message, place = TEXTS[case]
    path = tmp_path / "wrong.dlir"
    path.write_text(MAIN.format(body))
    done = run("dlir-run", path)
    no_traceback(done.err)
    assert done.code == 1, done.out + done.err
    assert message in done.err and f"{path}{place}" in done.err, done.err
    assert "^" in done.err, done.err


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "good.dlir"
    path.write_text(MAIN.format("%y = nd.exp %x\n  return %y"))
    return path


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--input", "z=ones"], "no input 'z'"),
        (["--input", "x=@missing.npy"], "missing.npy"),
        (["--input", "x=4xf64:1,2,3,4"], "f64"),
        (["--input", "x=3xf32:1,2,3"], "(3,)"),
        (["--input", "x=4xf32:1,2"], "4 numbers"),
        (["--input", "x=ones", "--input", "x=ones"], "given twice"),
        (["--entry", "man"], "did you mean 'main'"),
        (["--backend", "gpu"], "unknown backend 'gpu'"),
        (["--expect", "zeros"], "MISMATCH"),
        (["--data", "missing.safetensors"], "missing.safetensors"),
        (["--weights", "missing.safetensors"], "missing.safetensors"),
    ],
)
def test_wrong_arguments_of_dlir_run(program, flags, message):
    done = run("dlir-run", program, *flags)
    no_traceback(done.err)
    assert done.code == 1 and message in done.err + done.out, done.err + done.out


@pytest.mark.parametrize("array", [np.ones(5, "f4"), np.ones(4, "f8"), np.ones((4, 1), "f4")])
def test_inputs_of_the_wrong_shape_or_dtype(program, tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    done = run("dlir-run", program, "--input", f"x=@{tmp_path / 'x.npy'}")
    assert done.code == 1 and "input 'x'" in done.err
    no_traceback(done.err)


WEIGHTED = """module attributes {dlir.weights = "w.safetensors"} {
  state.variable @w {init = dense_resource<w>, type = tensor<2xf32>}
  func.func @main() -> tensor<2xf32> {
    %w = state.read @w
    return %w
  }
}
"""


@pytest.mark.parametrize(
    "tensors,message",
    [
        (None, "w.safetensors"),
        ({"v": np.ones(2, "f4")}, "'w'"),
        ({"w": np.ones(2, "f8")}, "f64"),
        ({"w": np.ones(3, "f4")}, "3"),
    ],
    ids=["file", "name", "dtype", "shape"],
)
def test_missing_or_wrong_weights(tmp_path, tensors, message):
    from safetensors.numpy import save_file

    path = tmp_path / "weighted.dlir"
    path.write_text(WEIGHTED)
    if tensors is not None:
        save_file(tensors, tmp_path / "w.safetensors")
    done = run("dlir-run", path)
    no_traceback(done.err)
    assert done.code == 1 and message in done.err, done.err


@pytest.mark.parametrize("path", ["/etc/passwd.safetensors", "../outside.safetensors"])
def test_weights_outside_the_modules_folder_are_refused(tmp_path, path):
    folder = tmp_path / "inner"
    folder.mkdir()
    file = folder / "a.dlir"
    file.write_text(WEIGHTED.replace("w.safetensors", path))
    done = run("dlir-run", file)
    assert done.code == 1 and path in done.err
    no_traceback(done.err)


@pytest.mark.parametrize("command", ["dlir-opt", "dlir-run"])
def test_files_that_cannot_be_read(tmp_path, command):
    latin = tmp_path / "latin.dlir"
    latin.write_bytes(b"// caf\xe9\n")
    for path, message in [(tmp_path / "none.dlir", "none.dlir"), (tmp_path, str(tmp_path)), (latin, "UTF-8")]:
        done = run(command, path)
        no_traceback(done.err)
        assert done.code == 1 and message in done.err, done.err


def test_an_empty_file_is_an_empty_module(tmp_path):
    path = tmp_path / "empty.dlir"
    path.write_text("")
    done = run("dlir-opt", path)
    assert done.code == 0 and "module" in done.out
    done = run("dlir-run", path)
    assert done.code == 1 and "no function '@main'" in done.err


def test_nesting_past_the_limit(tmp_path):
    path = tmp_path / "deep.dlir"
    depth = 5000
    path.write_text('"t.a"() ({\n' * depth + '"t.b"() : () -> ()\n' + "}) : () -> ()\n" * depth)
    done = run("dlir-opt", path)
    no_traceback(done.err)
    assert done.code == 1 and "4096" in done.err.replace(",", ""), done.err[:500]


def test_a_failing_run_writes_nothing(program, tmp_path):
    target = tmp_path / "out.dlir"
    target.write_text("precious")
    assert run("dlir-opt", program, "-p", "nonsense", "-o", target).code == 1
    program.write_text(MAIN.format("%y = nd.ad %x\n  return %y"))
    assert run("dlir-opt", program, "-o", target).code == 1
    assert target.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.dlir", "out.dlir"]


def test_wrong_usage_exits_with_2(program):
    done = run("dlir-opt", program, "--pases", "cse")
    assert done.code == 2 and "did you mean '--passes'" in done.err
    assert run("dlir-opt", program, "--emit", "nothing").code == 2


def spawn(*arguments: str, **kwargs) -> subprocess.Popen:
    command = [sys.executable, *arguments]
    source = str(Path(__file__).resolve().parents[2] / ".src")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, **kwargs)


def test_a_closed_pipe_is_no_error(program):
    text = MAIN.format("\n".join(f"%y{i} = nd.exp %x" for i in range(20_000)) + "\n  return %x")
    program.write_text(text)
    process = spawn("-m", "dlir.frontends.cli.opt", str(program))
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    no_traceback(process.stderr.read().decode())


STARTED = "import sys; from dlir.frontends.cli import start; sys.exit(start.opt())"
#: Sends Ctrl-C to itself when it first looks for a module.
INTERRUPTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


def test_ctrl_c_is_one_word():
    process = spawn("-c", STARTED, "-", stdin=subprocess.PIPE)
    # More than a pipe holds: when all is written, the command is reading.
    process.stdin.write(b"// waiting\n" * 100_000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"interrupted\n")


@pytest.mark.parametrize(
    "module",
    ["dlir.frontends.cli.opt", "argparse", "dlir.frontends.cli.common", "dlir.ir.errors", "dlir.textir", "numpy"],
)
def test_ctrl_c_while_it_starts_is_one_word(program, module):
    process = spawn("-c", INTERRUPTING.format(module=module) + STARTED, str(program))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")


def test_ctrl_c_that_is_ignored_stays_ignored(program):
    # As shells start the commands of a background job.
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    process = spawn("-c", code + INTERRUPTING.format(module="dlir.ir.errors") + STARTED, str(program))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and b"nd.exp" in out and not err
