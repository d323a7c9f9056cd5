"""--memory-map and --stats: seeing a memory plan."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from support.cli import run

#: Products cannot be computed in place, and %first is needed until the end.
TEXT = """func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %first = nd.matmul %x, %x
  %second = nd.matmul %first, %x
  %third = nd.matmul %first, %second
  %fourth = nd.matmul %third, %first
  %last = nd.matmul %fourth, %second
  return %last
}
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "p.dlir"
    path.write_text(TEXT)
    return path


def boxes(path):
    """The rectangles that stand for values, by name: (left, top, right, bottom)."""
    found = {}
    for rect in ElementTree.parse(path).iter(f"{SVG}rect"):
        title = rect.find(f"{SVG}title")
        if title is not None:
            x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
            found[title.text.partition(":")[0]] = (x, y, x + width, y + height)
    return found


@pytest.mark.parametrize("command", [["dlir-opt", "-O1", "-o"], ["dlir-run", "-O1", "--bench=0", "--save-outputs"]])
def test_the_map_shows_every_value_and_no_two_in_one_place(program, tmp_path, command):
    picture = tmp_path / "map.svg"
    name, level, *rest = command
    done = run(name, program, level, *rest, tmp_path / "out.npz", "--memory-map", picture)
    assert done.code == 0, done.err
    found = boxes(picture)
    assert {"%x", "%last"} <= set(found)
    assert len(found) == 2 + 3, "one of the four temporaries lies in the result"
    ordered = sorted(found.items())
    for position, (_, one) in enumerate(ordered):
        for _, two in ordered[position + 1 :]:
            apart = one[2] <= two[0] + 0.2 or two[2] <= one[0] + 0.2 or one[3] <= two[1] + 0.2 or two[3] <= one[1] + 0.2
            assert apart, (one, two)


def test_names_from_the_text_are_escaped(tmp_path):
    program = tmp_path / "p.dlir"
    program.write_text(TEXT.replace("@main", '@"<&>"'))
    picture = tmp_path / "map.svg"
    done = run("dlir-opt", program, "-O1", "--entry", "<&>", "-o", tmp_path / "out.dlir", "--memory-map", picture)
    assert done.code == 0, done.err
    assert any("@<&>" in (text.text or "") for text in ElementTree.parse(picture).iter(f"{SVG}text"))


def test_variables_that_are_written_are_named_in_the_title(tmp_path):
    program = tmp_path / "p.dlir"
    head = "state.variable @w {init = dense<1.0> : tensor<8x8xf32>, type = tensor<8x8xf32>}\n"
    program.write_text(head + TEXT.replace("  return", "  state.write @w, %last\n  return"))
    picture = tmp_path / "map.svg"
    done = run("dlir-opt", program, "-O1", "-o", tmp_path / "out.dlir", "--memory-map", picture)
    assert done.code == 0, done.err
    title = next(text.text for text in ElementTree.parse(picture).iter(f"{SVG}text"))
    assert title.endswith("variables (not shown) 256 B")


def test_a_module_over_tensors_has_no_map(program, tmp_path):
    done = run("dlir-opt", program, "--memory-map", tmp_path / "map.svg")
    assert done.code == 1
    assert "'@main' has no memory plan yet" in done.err and "-O2" in done.err
    assert not (tmp_path / "map.svg").exists()


def test_stats_give_the_plan_in_bytes(program):
    done = run("dlir-run", program, "--stats", "-O1", "--bench=0")
    assert "memory: naive 1,536, planned 1,280 (inputs 256 + results 256 + arena 768), at least 1,280 bytes" in done.out
    done = run("dlir-opt", program, "-p", "fuse{max-ops=1},schedule,bufferize,plan-memory", "--stats")
    assert "naive 1536" in done.err and "planned 1280" in done.err and "lower_bound 1280" in done.err


def test_a_budget_that_is_too_small_is_an_error_with_a_place(program):
    done = run("dlir-opt", program, "-p", "fuse{max-ops=1},schedule,bufferize,plan-memory{budget=1000}")
    assert done.code == 1
    assert f"{program}:1:1: error: '@main' needs at least 1,280 bytes, 280 over the budget of 1,000" in done.err
    assert "its largest values are %x 256 bytes" in done.err


def test_donated_inputs_are_as_given_for_every_run_and_for_the_other_backend(tmp_path):
    """%w holds the result after a call: neither the timing nor the reference may begin with that."""
    program = tmp_path / "p.dlir"
    program.write_text(
        "func.func @main(%x: tensor<8x8xf32>, %w: tensor<8x8xf32> {dlir.donated}) -> tensor<8x8xf32> {\n"
        "  %a = nd.matmul %x, %w\n  %b = nd.matmul %a, %a\n  return %b\n}\n"
    )
    done = run("dlir-run", program, "--bench=5", "--stats")
    assert "results 0" in done.out, "the result lives in the input"
    assert done.code == 0 and "outputs match ref" in done.out
