"""The flags of ``dlir-opt`` that show and check what happens."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from support.cli import run

from dlir.passes import manager

TEXT = """func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %a = nd.mul %x, %y
  %b = nd.mul %x, %y
  %c = nd.add %a, %b
  return %c
}
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "p.dlir"
    path.write_text(TEXT)
    return path


def test_print_ir_after_a_pass(program):
    done = run("dlir-opt", program, "-p", "canonicalize,cse,dce", "--print-ir", "cse")
    assert done.err.count("// ---- after") == 1 and done.err.count("nd.mul") == 1


def test_print_ir_changed_prints_nothing_where_nothing_changed(program):
    done = run("dlir-opt", program, "-p", "canonicalize,cse", "--print-ir", "changed")
    assert "// ---- after canonicalize: unchanged" in done.err and "// ---- after cse\n" in done.err


def test_print_ir_of_several_passes_and_of_each_function(tmp_path):
    path = tmp_path / "p.dlir"
    path.write_text(TEXT + TEXT.replace("@main", "@other"))
    done = run("dlir-opt", path, "-p", "func(canonicalize,cse),dce", "--print-ir", "cse, dce")
    shown = [line.removeprefix("// ---- after ") for line in done.err.splitlines() if line.startswith("// ----")]
    assert shown == ["cse on @main", "cse on @other", "dce"]
    done = run("dlir-opt", path, "-p", "func(canonicalize,cse)", "--diff")
    assert "after canonicalize on @main: unchanged" in done.err and done.err.count("-  %b = nd.mul %x, %y") == 2


def test_passes_are_given_at_once_or_one_by_one(program):
    done = run("dlir-opt", program, "-p", "canonicalize", "-p", "cse,dce", "--dump-pipeline")
    assert done.err == "canonicalize,cse,dce\n"


@pytest.mark.parametrize("command", ["dlir-opt", "dlir-run"])
def test_the_version(command):
    import dlir

    done = run(command, "--version")
    assert (done.code, done.out) == (0, f"{command} {dlir.__version__}\n")


def test_diff_shows_only_what_changed(program):
    done = run("dlir-opt", program, "-p", "cse", "--print-ir", "all", "--diff")
    assert "-    %b = nd.mul %x, %y" in done.err and "\n+    %c = nd.add %a, %a" in done.err
    assert "module {" not in done.err


def test_diff_alone_is_of_every_pass_that_changes_something(program):
    done = run("dlir-opt", program, "-p", "canonicalize,cse", "--diff")
    assert "after canonicalize: unchanged" in done.err and "-    %b = nd.mul %x, %y" in done.err


def test_print_ir_of_a_pass_that_does_not_exist(program):
    done = run("dlir-opt", program, "--print-ir", "csee")
    assert done.code == 1 and "did you mean 'cse'" in done.err


def test_timing_and_stats(program):
    done = run("dlir-opt", program, "-p", "func(canonicalize,cse),fuse", "--timing", "--stats=json")
    lines = done.err.splitlines()
    assert any(line.endswith("func(canonicalize,cse)") for line in lines) and any("  cse" in line for line in lines)
    stats = {entry["pass"]: entry["stats"] for entry in json.loads(lines[-1])}
    assert stats["cse"] == {"merged": 1} and stats["fuse"]["kernels"] == 1
    assert all(
        any(line.endswith(word) for line in lines) for word in ("(read)", "(verify after passes)", "(write)", "total")
    )


def test_the_pipeline_is_dumped_with_its_options(program):
    done = run("dlir-opt", program, "-O1", "-p", "dce", "--dump-pipeline")
    assert done.err.strip().endswith("map,dce") and "fuse{max-ops=1}" in done.err


@pytest.mark.parametrize("emit,words", [("generic", '"nd.mul"('), ("dot", "digraph {"), ("dlir", "nd.mul %x")])
def test_emit(program, emit, words):
    assert words in run("dlir-opt", program, "--emit", emit).out


def test_lists(program):
    assert "fuse: Group array ops" in run("dlir-opt", "--list-passes").out
    assert any(entry["name"] == "fuse" for entry in json.loads(run("dlir-opt", "--list-passes=json").out)["passes"])
    ops = json.loads(run("dlir-opt", "--list-dialects=json").out)
    assert any(op["name"] == "nd.matmul" and op["attributes"] for op in ops["nd"])
    assert "# The `nn` dialect" in run("dlir-opt", "--list-dialects=md").out


@pytest.mark.parametrize("op", ["nd.softmax", "nn.dense", "nd.constant", "nd.concat"])
def test_an_example_is_a_program_that_runs(tmp_path, op):
    path = tmp_path / "example.dlir"
    assert run("dlir-opt", "--example", op, "-o", path).code == 0
    assert op in path.read_text()
    assert run("dlir-run", path, "--bench", "1").code == 0


@pytest.mark.parametrize(
    "op",
    [
        "scf.for",
        "scf.while",
        "state.write",
        "diff.gradient",
        "kernel.region",
        "memref.view",
        "gpu.shuffle",
        "vector.fma",
    ],
)
def test_an_example_of_an_op_that_draws_no_operands_is_found_in_a_program(tmp_path, op):
    path = tmp_path / "example.dlir"
    assert run("dlir-opt", "--example", op, "-o", path).code == 0
    done = run("dlir-opt", path)
    assert done.code == 0 and op in done.out, done.err


@pytest.mark.parametrize("op", ["arith.select", "arith.cmpf", "arith.truncf", "arith.index_cast", "math.powf"])
def test_an_example_of_a_scalar_op(tmp_path, op):
    path = tmp_path / "example.dlir"
    assert run("dlir-opt", "--example", op, "-o", path).code == 0
    done = run("dlir-opt", path)
    assert done.code == 0 and op in done.out, done.err


def test_examples_that_there_are_not():
    done = run("dlir-opt", "--example", "nd.softmx")
    assert done.code == 1 and "there is no op 'nd.softmx'" in done.err and "did you mean 'nd.softmax'?" in done.err
    done = run("dlir-opt", "--example", "memref.dim")
    assert done.code == 1 and "it is written memref.dim %source, %index" in done.err


def test_lists_say_what_an_option_may_be():
    listed = run("dlir-opt", "--list-passes").out
    assert "target=cpu  the machine (one of cpu, cuda)" in listed
    assert "max-buffers=32  inputs and results of one kernel at most (at least 2)" in listed


def test_split_input_file_keeps_line_numbers(tmp_path):
    path = tmp_path / "split.dlir"
    path.write_text(TEXT + "// -----\n" + TEXT.replace("nd.add", "nd.ad"))
    done = run("dlir-opt", path, "--split-input-file")
    assert done.code == 1 and f"{path}:11:" in done.err
    path.write_text(TEXT + "// -----\n" + TEXT)
    done = run("dlir-opt", path, "--split-input-file", "-p", "cse")
    assert done.code == 0 and done.out.count("nd.mul") == 2 and done.out.count("// -----") == 1


def test_verify_diagnostics(tmp_path):
    path = tmp_path / "wrong.dlir"
    good = """func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{unknown op 'nd.ad'}}
  %a = nd.ad %x
  %b = nd.exp %x, %x   // expected-error {{takes 1 operand}}
  return %x
}
// -----
// expected-error @below {{'oops' is not an operation}}
oops
"""
    path.write_text(good)
    done = run("dlir-opt", path, "--split-input-file", "--verify-diagnostics")
    assert done.code == 0, done.err
    path.write_text(good.replace("takes 1", "takes 7"))
    done = run("dlir-opt", path, "--split-input-file", "--verify-diagnostics")
    assert done.code == 1 and "unexpected error" in done.err and "was not given: takes 7" in done.err


def test_verify_diagnostics_by_regular_expressions(tmp_path):
    path = tmp_path / "wrong.dlir"
    text = "// expected-error-re @+1 {{unknown op 'nd.{{[a-z]+}}' }}\n%a = nd.zzz\n"
    path.write_text(text)
    assert "was not given" in run("dlir-opt", path, "--verify-diagnostics").err
    path.write_text(text.replace("' }}", "'}}"))
    assert run("dlir-opt", path, "--verify-diagnostics").code == 0


@pytest.mark.parametrize(
    "comment",
    ["expected-eror @+1 {{x}}", "expected-error {{x", "expected-error 2 {{x}}", "expected-error-re {{a{{(}}}}"],
)
def test_what_was_meant_as_an_expectation_is_no_comment_like_others(tmp_path, comment):
    path = tmp_path / "fine.dlir"
    path.write_text(f"func.func @main() {{\n  // {comment}\n  return\n}}\n")
    done = run("dlir-opt", path, "--verify-diagnostics")
    assert done.code == 1 and f"{path}:2: this is no " in done.err


def test_a_crash_leaves_a_reproducer_that_runs_again(program, tmp_path, monkeypatch):
    @dataclass
    class Crash(manager.Pass, name="crash"):
        """Fails."""

        def run(self, module):
            raise IndexError("planted")

    monkeypatch.setattr("dlir.passes.pipeline_text.find_pass", lambda name: Crash if name == "crash" else find(name))
    find = manager.find_pass
    path = tmp_path / "r.dlir"
    done = run("dlir-opt", program, "-p", "cse,crash", "--reproducer", path)
    assert done.code == 3 and "Traceback" not in done.err and "planted" in done.err
    text = path.read_text()
    assert text.startswith('// dlir-opt reproducer: -p "cse,crash"') and text.endswith(TEXT)
    again = run("dlir-opt", "--run-reproducer", path, "--reproducer", tmp_path / "second.dlir")
    assert again.code == 3 and "planted" in again.err
    assert run("dlir-opt", "--run-reproducer", program).code == 1


PLUGIN = """from dataclasses import dataclass
from dlir.passes.manager import PASSES, Pass

PASSES["test-break"] = __name__


@dataclass
class Break(Pass, name="test-break"):
    \"\"\"Takes the return away.\"\"\"

    def run(self, module):
        list(module.walk())[-1].erase()
"""


def test_an_invalid_module_leaves_a_reproducer_with_the_flags_that_it_needs(program, tmp_path):
    plugin, path = tmp_path / "break_it.py", tmp_path / "r.dlir"
    plugin.write_text(PLUGIN)
    done = run("dlir-opt", program, "-p", "cse,test-break", f"--load-plugin={plugin}", "--reproducer", path)
    assert done.code == 3 and "internal error: BrokenModule: pass 'test-break' made the module invalid" in done.err
    command = f"dlir-opt --run-reproducer {path} --load-plugin={plugin}"
    assert f"// Run it again: {command}\n" in path.read_text() and f": {command}\n" in done.err
    again = run(*command.split(), "--reproducer", tmp_path / "none" / "r.dlir")
    assert again.code == 3 and "cannot write a reproducer" in again.err and "BrokenModule" in again.err


def test_a_text_that_does_not_read_back_is_an_internal_error(program, tmp_path, monkeypatch):
    monkeypatch.setattr("dlir.ir.traversal.difference", lambda one, other: "planted")
    done = run("dlir-opt", program, "--verify-roundtrip", "--reproducer", tmp_path / "r.dlir")
    assert done.code == 3 and "the pretty form does not read back the same: planted" in done.err
    assert "--verify-roundtrip" in (tmp_path / "r.dlir").read_text()


def test_the_number_of_errors(tmp_path):
    path = tmp_path / "a.dlir"
    path.write_text('"d.x"() {a = } : () -> ()\n' * 30)
    for flags, shown, last in (
        ([], 20, "... and 10 more errors (--max-errors=0 shows all)"),
        (["--max-errors=29"], 29, "... and 1 more error (--max-errors=0 shows all)"),
        (["--max-errors=0"], 30, None),
    ):
        for command in ("dlir-opt", "dlir-run"):
            done = run(command, path, *flags)
            assert done.code == 1 and done.err.count(" error: ") == shown
            assert last is None or done.err.splitlines()[-1] == last


def test_standard_input(program, monkeypatch):
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert "nd.mul" in run("dlir-opt", "-").out
