"""``dlir-reduce``: a planted bug in a large module comes down to the few ops that show it."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
from support.programs import make_program

from dlir.backends.compiler import compile_module
from dlir.frontends.cli.reduce import main
from dlir.frontends.reduce import progress, reduce_module
from dlir.frontends.reduce.search import Search, count_ops
from dlir.ir.builder import before
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import TensorType
from dlir.ir.verifier import verify
from dlir.passes.manager import Pass, PassManager
from dlir.passes.rewriter import defined_by, pattern, rewrite
from dlir.textir import parse, parse_file, print_module

# ---------------------------------------------------------------- planted bugs


def large_program(seed: int):
    """A random module of more than 300 ops with ``sub(x, exp(x))`` somewhere in its middle."""
    program = make_program(seed, exact=False, size=300)
    function = program.module.body.first
    ops = [op for op in function.body.ops if op.results and isinstance(op.result.type, TensorType)]
    victim = next(op for op in ops[len(ops) // 2 :] if op.result.dtype is function.body.args[0].dtype and op.is_used)
    with before(victim.next):
        small = nd.tanh(victim.result)
        planted = nd.sub(small, nd.exp(small))
    for use in victim.result.uses:
        if use.owner is not small.owner:
            use.set(planted)
    function.body.terminator.set_operands([*function.body.terminator.operands, planted])
    function.update_type()
    assert verify(program.module) == [] and count_ops(program.module) > 300
    return program


def has_exp_feeding_sub(module) -> bool:
    return any(op.name == "nd.sub" and any(defined_by(v, "nd.exp") for v in op.operands) for op in module.walk())


@pytest.mark.parametrize("seed", range(3))
def test_two_ops_that_meet(seed):
    module = large_program(seed).module
    copy = clone(module)
    small = reduce_module(module, has_exp_feeding_sub)
    assert has_exp_feeding_sub(small) and verify(small) == []
    assert count_ops(small) == 4  # the function, exp, sub, return
    assert structurally_equal(module, copy)


@dataclass
class Fragile(Pass, name="fragile"):
    """Crashes on an exp of something that is used elsewhere, too."""

    def run(self, module):
        for op in module.walk():
            if op.name == "nd.exp" and not op.operands[0].has_one_use:
                self.stats["met"] += 1
                if any(use.owner.name == "nd.sub" for use in op.result.uses):
                    raise IndexError("list index out of range")


def crashes(module) -> bool:
    try:
        PassManager([Fragile()]).run(module)
    except IndexError:
        return True
    return False


def test_a_pass_that_crashes():
    small = reduce_module(large_program(4).module, crashes)
    assert crashes(small) and count_ops(small) <= 10


@pattern("nd.sub")
def wrong_rule(op):
    """a - exp(b) -> exp(b) - a: wrong."""
    a, b = op.operands
    return nd.sub(b, a) if defined_by(b, "nd.exp") and not defined_by(a, "nd.exp") else None


def is_miscompiled(module) -> bool:
    """Whether the rule changes what the program computes."""
    types = [arg.type for arg in module.body.first.body.args]
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(type.shape).astype(type.dtype.numpy) for type in types]
    want = compile_module(module, backend="ref")(*inputs)
    rewrite(module, [wrong_rule])
    found = compile_module(module, backend="ref")(*inputs)
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(want, found, strict=True))


def test_a_wrong_answer():
    # In some programs the values are NaN, or there are none.
    programs = (large_program(seed).module for seed in range(20))
    module = next(found for found in programs if is_miscompiled(clone(found)))
    small = reduce_module(module, lambda candidate: has("func.func")(candidate) and is_miscompiled(candidate))
    assert is_miscompiled(clone(small)) and count_ops(small) <= 10


# ---------------------------------------------------------------- what each step does

CALLS = """
module attributes {dlir.data = "data.safetensors"} {
  state.variable @w {init = dense_resource<w> : tensor<8x4xf32>, type = tensor<8x4xf32>}
  state.variable @spare {init = dense<1.0> : tensor<2xf32>, type = tensor<2xf32>}
  func.func private @layer(%unused: tensor<2xf32>, %x: tensor<16x8xf32>, %k: tensor<16x4xf32>)
      -> (tensor<16x4xf32>, tensor<16x8xf32>) {
    %w = state.read @w
    %h = nd.matmul %x, %w
    %y = nd.add %h, %k
    %n = nd.neg %x
    return %y, %n
  }
  func.func @main(%x: tensor<16x8xf32> {dlir.donated}, %u: tensor<2xf32>) -> (tensor<16x4xf32>, tensor<16x8xf32>) {
    %k = nd.constant {value = dense<3.0> : tensor<16x4xf32>}
    %a:2 = func.call %u, %x, %k {callee = @layer} : tensor<16x4xf32>, tensor<16x8xf32>
    %s = nn.softmax %a#0 {axis = -1}
    %m = nd.max %s {axes = [0], keepdims = true}
    return %s, %a#1
  }
}
"""


def has(*names: str):
    """A predicate: all of these ops are there."""
    return lambda module: {*names} <= {op.name for op in module.walk()}


def test_functions_lose_arguments_and_results_together_with_their_calls():
    small = reduce_module(parse(CALLS), has("func.call", "nd.matmul"))
    text = print_module(small)
    assert text.count("func.func") == 2 and count_ops(small) == 6, text
    assert "state." not in text and "nd.add" not in text and "dlir." not in text
    assert "func.call @layer %x\n" in text and "@main(%x: tensor<1x1xf32>) {" in text, text


def test_variables_become_zeros_and_attributes_go():
    small = reduce_module(parse(CALLS), has("state.read", "nn.softmax", "nd.max"))
    text = print_module(small)
    assert "dense<0.000000e+00> : tensor<1x1xf32>" in text and "dense_resource" not in text
    assert "keepdims" not in text and "axis" not in text and "@spare" not in text and "func.call" not in text


def test_shapes_shrink_together():
    def contracts_ten(module) -> bool:
        return any(op.name == "nd.matmul" and op.operands[0].shape[-1] >= 10 for op in module.walk())

    text = """
    func.func @main(%x: tensor<64x48xf32>, %w: tensor<48x32xf32>, %b: tensor<?x32xf32>) -> tensor<32x64xf32> {
      %y = nd.matmul %x, %w
      %z = nd.reshape %y {shape = [32, 64]}
      return %z
    }"""
    small = reduce_module(parse(text), contracts_ten)
    (product,) = [op for op in small.walk() if op.name == "nd.matmul"]
    assert [v.shape for v in product.operands] == [(1, 12), (12, 1)]


def test_constants_keep_what_matters():
    text = """
    func.func @main() -> tensor<2x3xf32> {
      %a = nd.constant {value = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>}
      %b = nd.constant {value = dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>}
      %c = nd.add %a, %b
      return %c
    }"""

    def has_a_one(module) -> bool:
        values = [op.attributes["value"].value for op in module.walk() if op.name == "nd.constant"]
        return any(value.size and value.flat[0] == 1 for value in values)

    small = reduce_module(parse(text), has_a_one)
    assert "dense<1.000000e+00> : tensor<1x1xf32>" in print_module(small) and count_ops(small) == 3


@pytest.mark.parametrize("passes", ["lower-nn,fuse", "lower-nn,fuse,schedule,bufferize", "-O2"])
def test_lower_levels_reduce_too(passes, examples_dir):
    from dlir.passes.pipelines import O2

    module = parse_file(examples_dir / "digits.dlir").module
    PassManager.from_text("bind-shapes{batch=8}," + ("inline," + passes if passes != "-O2" else O2)).run(module)
    name = "arith.maximumf" if passes == "-O2" else "nd.matmul"
    small = reduce_module(module, has(name))
    assert has(name)(small) and count_ops(small) <= 7


def test_every_candidate_is_valid_new_and_reads_back():
    seen = set()

    def check(module) -> bool:
        text = print_module(module)
        assert verify(module) == [] and text not in seen and structurally_equal(parse(text), module)
        seen.add(text)
        return has("func.call", "nd.neg")(module)

    improved: list[tuple] = []
    small = reduce_module(parse(CALLS), check, improved=lambda module: improved.append(print_module(module)))
    assert improved[-1] == print_module(small) and len(improved) == len(set(improved)) < len(seen)


def test_a_module_that_is_not_interesting_is_refused():
    with pytest.raises(DlirError, match="does not hold"):
        reduce_module(parse(CALLS), has("nd.exp"))


# ---------------------------------------------------------------- the command

EXP = """
func.func @main(%x: tensor<4x6xf32>) -> tensor<4x6xf32> {
  %a = nd.neg %x
  %b = nd.exp %a
  %c = nd.mul %b, %a
  %d = nd.tanh %c
  return %d
}
"""
#: Exit code 0 if the file, the last argument, holds a word, the one before; counts its runs in a file beside the script.
SCRIPT = """
import pathlib, sys
with open(pathlib.Path(__file__).with_name("runs"), "a") as runs:
    runs.write(sys.argv[-1] + "\\n")
sys.exit(sys.argv[-2] not in pathlib.Path(sys.argv[-1]).read_text())
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "model.dlir").write_text(EXP)
    (tmp_path / "check.py").write_text(SCRIPT)
    return tmp_path


def words(*parts: object) -> str:
    return shlex.join([sys.executable, "-S", *map(str, parts)])


def reduce(capsys, *arguments: object) -> tuple[int, str, str]:
    try:
        code = main([str(item) for item in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert "Traceback" not in err and "internal error" not in err, err
    return code, out, err


@pytest.mark.parametrize("braces", [(), ("{}",)])
def test_the_result_is_written_beside_the_file(place, capsys, braces):
    check = words(place / "check.py", "nd.exp", *braces)
    code, out, err = reduce(capsys, place / "model.dlir", "--check", check)
    assert (code, out) == (0, "")
    result = place / "model.reduced.dlir"
    assert f"6 ops -> 3 ops after {len((place / 'runs').read_text().splitlines())} checks: {result}" in err
    assert len(err.splitlines()) == 1
    small = parse_file(result).module
    assert has("nd.exp")(small) and "tensor<1x1xf32>" in result.read_text()
    assert sorted(path.name for path in place.iterdir()) == ["check.py", "model.dlir", "model.reduced.dlir", "runs"]


def test_candidates_find_the_module_s_weights(place, capsys, examples_dir):
    script = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); t = p.read_text()\n"
    script += "sys.exit('dense_resource<w1>' not in t or not (p.parent / 'digits.safetensors').exists())"
    (place / "check.py").write_text(script)
    (place / "out").mkdir()
    code, _, err = reduce(
        capsys, examples_dir / "digits.dlir", "--check", words(place / "check.py"), "-o", place / "out" / "small.dlir"
    )
    assert code == 0, err
    assert count_ops(parse_file(place / "out" / "small.dlir").module) == 1
    assert (place / "out" / "digits.safetensors").exists()


def test_a_check_that_does_not_hold_is_shown(place, capsys):
    script = "import sys; print('no such thing', file=sys.stderr); sys.exit(7)"
    code, _, err = reduce(capsys, place / "model.dlir", "--check", words("-c", script, "{}"))
    assert code == 1 and "does not hold" in err and "exit code 7" in err and "no such thing" in err
    assert not (place / "model.reduced.dlir").exists()


def test_a_check_that_takes_too_long_is_stopped_with_all_it_started(place, capsys):
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(50)'])"
    start = time.monotonic()
    code, _, err = reduce(capsys, place / "model.dlir", "--timeout", 0.5, "--check", words("-c", script))
    assert code == 1 and "did not end within 0.5 s" in err and time.monotonic() - start < 40


def test_the_check_runs_through_no_shell(place, capsys):
    check = words(place / "check.py") + f" nd.exp {{}} ; touch {place / 'pwned'}"
    code, _, err = reduce(capsys, place / "model.dlir", "--check", check)
    assert code == 1 and "does not hold" in err and not (place / "pwned").exists()


WRONG = {
    "no such command": (["--check", "/no/such/command {}"], 1, "cannot run '/no/such/command': No such file"),
    "an empty command": (["--check", " "], 2, "the command is empty"),
    "an open quote": (["--check", "python 'x"], 2, "no closing quotation"),
    "no command": ([], 2, "--check"),
    "a negative timeout": (["--check", "true", "--timeout=-1"], 2, "--timeout must be a positive number of seconds"),
    "a timeout that never comes": (["--check", "true", "--timeout=inf"], 2, "--timeout must be a positive number"),
    "an unknown flag": (["--check", "true", "--tiemout=1"], 2, "did you mean '--timeout'?"),
    "a folder that is not there": (["--check", "true", "-o", "/no/such/folder/x.dlir"], 1, "/no/such/folder"),
    "a plugin that is not there": (["--check", "true", "--load-plugin", "nope.py"], 1, "no plugin 'nope.py'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use(place, capsys, case):
    arguments, want, message = WRONG[case]
    code, _, err = reduce(capsys, place / "model.dlir", *arguments)
    assert code == want and message in err


def test_wrong_files(place, capsys):
    (place / "model.dlir").write_text(EXP.replace("nd.exp", "nd.exq"))
    code, _, err = reduce(capsys, place / "model.dlir", "--check", "true")
    assert code == 1 and "model.dlir:4:" in err and "nd.exp" in err
    assert reduce(capsys, place / "none.dlir", "--check", "true")[0] == 1
    assert reduce(capsys, "-", "--check", "true")[0] == 2


#: Interrupts whoever runs the check, in its sixth run, and does not end by itself.
INTERRUPT = """
import os, signal, time
if len(pathlib.Path(__file__).with_name("runs").read_text().splitlines()) == 6:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(50)
"""


def test_ctrl_c_keeps_the_best_so_far(place):
    (place / "check.py").write_text(SCRIPT.replace("sys.exit(", INTERRUPT + "sys.exit("))
    command = [sys.executable, "-m", "dlir.frontends.cli.reduce", str(place / "model.dlir")]
    command += ["--check", words(place / "check.py", "nd.exp", "{}")]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, preexec_fn=restore_interrupts)
    assert done.returncode == 130, done.stderr
    assert time.monotonic() - start < 40
    assert "interrupted" in done.stderr and "after 6 checks" in done.stderr and "Traceback" not in done.stderr
    best = parse_file(place / "model.reduced.dlir").module
    assert has("nd.exp")(best) and count_ops(best) < 6


def restore_interrupts() -> None:
    """A test run in the background may have been started with interrupts ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# ---------------------------------------------------------------- progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run_watched(stream) -> str:
    with progress.progress(stream) as observe:
        reduce_module(parse(EXP), has("nd.exp"), observe=observe)
    return stream.getvalue()


def test_nothing_is_shown_where_nobody_watches():
    assert run_watched(io.StringIO()) == ""


def test_a_terminal_shows_how_far_it_is(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    assert "ops after" in run_watched(Terminal())


def test_without_rich_there_are_plain_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(progress, "_INTERVAL", 0.0)
    lines = run_watched(Terminal()).splitlines()
    assert "checks, trying" in lines[0] and "\x1b" not in lines[0]
    assert len(lines) > 2 and lines[-1].startswith("3 ops after")


def test_the_description_counts():
    search = Search(parse(EXP), has("nd.exp"))
    assert search.holds_at_start() and progress.describe(search) == "6 ops after 1 checks, trying the whole module"
    assert os.linesep not in progress.describe(search)
