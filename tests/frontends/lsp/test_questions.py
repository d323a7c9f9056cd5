"""Diagnostics, hover, definitions, references, rename and the symbols of a document."""

from __future__ import annotations

import pytest
from support.cli import run
from support.editor import PROGRAM, with_cursor

from dlir.frontends.lsp.document import Document
from dlir.frontends.lsp.hover import hover
from dlir.frontends.lsp.rename import rename
from dlir.frontends.lsp.symbols import DocumentSymbol, document_symbols
from dlir.ir.errors import DlirError

SCOPES = """\
func.func @f(%x: f32, %c: i1) -> f32 {
  %r:2 = "d.two"(%x) : (f32) -> (f32, f32)
  %y = scf.if %c ({
    %t = arith.addf %r#0, %x
    scf.yield %t
  }, {
    %t = arith.addf %r#1, %x
    scf.yield %t
  }) : f32
  return %y
}
gpu.module @kernels ({
  "gpu.func"() <{sym_name = "k", function_type = () -> ()}> ({
    gpu.return
  }) : () -> ()
})
func.func @g() {
  "d.launch"() {kernel = @kernels::@k, other = @f} : () -> ()
  return
}
"""


def renamed(text: str, name: str) -> str:
    """The text (with a cursor) after a rename."""
    document, offset = with_cursor(text)
    new = document.text
    for (start, end), replacement in sorted(rename(document, offset, name), reverse=True):
        new = new[:start] + replacement + new[end:]
    return new


def shown(text: str) -> str:
    """What is shown at the cursor."""
    document, offset = with_cursor(text)
    found = hover(document, offset)
    assert found is not None
    return found[0]


# ---------------------------------------------------------------- diagnostics


@pytest.mark.parametrize(
    "text",
    [
        PROGRAM,
        PROGRAM.replace("nn.dense", "nn.dence").replace("%two\n", "%tow\n"),
        PROGRAM.replace("return %y", "return %x"),
        PROGRAM.replace("@scale %h", "@scal %h"),
        PROGRAM.replace('"relu"}', '"relu"').replace("%s = nd.mul %x", "%s = nd.mul %x %x"),
        PROGRAM[:-3],
        "",
        "// é 😀\n%x = nd.add %😀",
    ],
)
def test_diagnostics_are_those_of_dlir_opt(text, tmp_path):
    path = tmp_path / "program.dlir"
    path.write_text(text)
    done = run("dlir-opt", path)
    document = Document(text, str(path), path)
    for problem in document.problems:
        line, column = document.text.count("\n", 0, problem.range[0]) + 1, problem.range[0]
        column -= document.text.rfind("\n", 0, problem.range[0])
        assert f"{path}:{line}:{column}: error: {problem.message}\n" in done.err
        assert problem.hint is None or f"hint: {problem.hint}\n" in done.err
        assert all(f"note: {note}\n" in done.err for note, _ in problem.notes)
        assert problem.range[0] < problem.range[1] or problem.range[0] in (0, len(text))
    assert done.err.count(" error: ") == len(document.problems) and (done.code == 0) == (not document.problems)


def test_an_error_covers_what_it_is_about():
    document = Document(PROGRAM.replace('"relu"', '"rely"').replace("nd.mul %x", "nd.mull %x"))
    assert [document.text[slice(*problem.range)] for problem in document.problems] == ["activation", "nd.mull"]
    # The verifier knows where an op starts: that is shown up to its name.
    document = Document(PROGRAM.replace("return %y", "return %x"))
    assert [document.text[slice(*problem.range)] for problem in document.problems] == ["return"]


def test_a_byte_order_mark_has_a_column():
    document = Document("\ufeffoops")
    assert [problem.range for problem in document.problems] == [(1, 5)]


# ---------------------------------------------------------------- hover


def test_a_value_has_its_type_and_its_op():
    text = shown(PROGRAM.replace("@scale %h", "@scale %¦h"))
    assert "%h : tensor<2x3xf32>" in text and '%h = nn.dense %x, %w {activation = "relu"}' in text


def test_an_argument_is_shown_with_its_function():
    assert "func.func private @scale(%x: tensor<2x3xf32>)" in shown(PROGRAM.replace("nd.mul %x", "nd.mul %¦x"))


def test_results_of_one_op_have_types_of_their_own():
    assert "%r:2 : f32, f32" in shown(SCOPES.replace("%r:2", "%¦r:2")) or "%r" in shown(SCOPES.replace("%r:2", "%¦r:2"))
    assert "%r#1 : f32" in shown(SCOPES.replace("%r#1", "%¦r#1"))


def test_an_op_has_its_reference_and_its_types_here():
    text = shown(PROGRAM.replace("nn.dense", "nn.d¦ense"))
    assert "attribute `activation`" in text and "operand `x`" in text
    assert "(tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>" in text
    assert "not an op of a known dialect" in shown(SCOPES.replace("d.two", "d.t¦wo"))


def test_an_attribute_has_its_kind_and_choices():
    text = shown(PROGRAM.replace("activation", "activ¦ation"))
    assert "attribute `activation` of `nn.dense`" in text and "'relu'" in text and "default `'none'`" in text


def test_a_symbol_has_its_declaration_and_the_comment_above():
    text = shown(PROGRAM.replace("state.read @w", "state.read @¦w"))
    assert "state.variable @w {init = dense<0.0> : tensor<4x3xf32>}" in text
    assert "The weights of the only layer." in text and "small network" not in text


def test_comments_and_blanks_have_nothing_to_say():
    for text in (PROGRAM.replace("small", "sm¦all"), PROGRAM + "\n\n¦"):
        document, offset = with_cursor(text)
        assert hover(document, offset) is None


# ---------------------------------------------------------------- definitions and references


@pytest.mark.parametrize(
    "marked,where",
    [
        (SCOPES.replace("yield %t", "yield %¦t", 1), "%t = arith.addf %r#0"),
        (SCOPES[::-1].replace("t% dleiy", "t¦% dleiy", 1)[::-1], "%t = arith.addf %r#1"),
        (SCOPES.replace("%r#1", "%r¦#1"), "%r:2"),
        (SCOPES.replace("@kernels::@k", "@kernels::@¦k"), 'k", function_type'),
        (SCOPES.replace("@kernels::@k", "@ker¦nels::@k"), "@kernels ({"),
        (PROGRAM.replace("[^done]", "[^¦done]"), "^done:"),
        ("!t = f32\n#a = 1 : !¦t\n", "!t = f32"),
        ("#a = 1\nmodule attributes {d.x = #¦a} {}", "#a = 1"),
    ],
)
def test_definitions_follow_the_scopes(marked, where):
    document, offset = with_cursor(marked)
    found = document.outline.occurrence_at(offset)
    assert found is not None and found.definition is not None
    assert found.definition.place.start == document.text.index(where)
    assert found in found.definition.occurrences


def test_a_value_of_another_function_is_not_meant():
    document, offset = with_cursor("func.func @f(%x: f32) {\n  return\n}\nfunc.func @g() {\n  nd.exp %¦x\n}")
    found = document.outline.occurrence_at(offset)
    assert found is not None and found.definition is None


# ---------------------------------------------------------------- rename


def test_rename_changes_every_place_and_nothing_else():
    new = renamed(SCOPES.replace("%r:2", "%¦r:2"), "pair")
    assert new == SCOPES.replace("%r", "%pair")
    assert Document(new).problems == []


def test_rename_of_one_of_two_siblings():
    new = renamed(SCOPES.replace("yield %t", "yield %¦t", 1), "%sum")
    assert new == SCOPES.replace("%t", "%sum", 2)


def test_rename_of_symbols_reaches_names_in_strings_and_paths():
    assert renamed(SCOPES.replace("@kernels::@k", "@kernels::@¦k"), "go") == SCOPES.replace(
        'sym_name = "k"', 'sym_name = "go"'
    ).replace("::@k", "::@go")
    assert renamed(SCOPES.replace('"k"', '"¦k"'), "go") == renamed(SCOPES.replace("::@k", "::@¦k"), "go")
    assert renamed(SCOPES.replace("other = @f", "other = @¦f"), "@h") == SCOPES.replace("@f", "@h")
    assert renamed('func.func @"a b"() {\n}\nfunc.call @¦"a b"\n', "c") == "func.func @c() {\n}\nfunc.call @c\n"


def test_rename_of_blocks():
    assert renamed(PROGRAM.replace("[^done]", "[^¦done]"), "end") == PROGRAM.replace("^done", "^end")


@pytest.mark.parametrize(
    "marked,name,reason",
    [
        (SCOPES.replace("%r#0", "%¦r#0"), "a b", "not a valid name"),
        (SCOPES.replace("%r#0", "%¦r#0"), "", "not a valid name"),
        (SCOPES.replace("%r#0", "%¦r#0"), "5x", "not a valid name"),
        (SCOPES.replace("%r#0", "%¦r#0"), "r#1", "not a valid name"),
        (SCOPES.replace("@g", "@¦g"), "g-h", "not a valid name"),
        (SCOPES.replace("%r#0", "%¦r#0"), "x", "'%x' is already defined in line 1"),
        (SCOPES.replace("%r#0", "%¦r#0"), "%t", "already defined in line 4"),  # inside, where %r is used
        (SCOPES.replace("yield %t", "yield %¦t", 1), "y", "already defined in line 3"),  # outside
        (SCOPES.replace("@g", "@¦g"), "f", "'@f' is already defined in line 1"),
        (SCOPES.replace("@g", "@¦g"), "k", "'@k' is already defined in line 13"),  # a use inside could mean it
        (SCOPES.replace("%r#0", "%¦r#0").replace("%x) :", "%q) :"), "x", "already defined"),
        ("%a = d.x\n%a = d.x\nd.y %¦a", "b", "defined twice"),
        ("d.y %¦a", "b", "no name here"),
        ("d.y ¦ %a", "b", "no name here"),
    ],
)
def test_rename_is_refused(marked, name, reason):
    with pytest.raises(DlirError, match=reason):
        renamed(marked, name)


def test_rename_to_the_same_name_changes_nothing():
    assert renamed(SCOPES.replace("%r#0", "%¦r#0"), "r") == SCOPES


# ---------------------------------------------------------------- symbols


def named(symbols: list[DocumentSymbol]) -> list:
    return [(symbol.name, symbol.kind, named(symbol.children)) for symbol in symbols]


def test_symbols_nest_as_the_text_does():
    assert named(document_symbols(Document(PROGRAM))) == [
        ("@net", "module", [("@w", "variable", []), ("@main", "function", []), ("@scale", "function", [])])
    ]
    assert named(document_symbols(Document(SCOPES))) == [
        ("@f", "function", []),
        ("@kernels", "module", [("@k", "kernel", [])]),
        ("@g", "function", []),
    ]


def test_kernels_are_symbols_of_their_function():
    text = """\
func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = kernel.region %x ({
  ^bb0(%a: tensor<4xf32>):
    %b = nd.exp %a
    kernel.yield %b
  }) : tensor<4xf32>
  return %y
}
func.func private @kernel_0() attributes {dlir.kernel = "cpu"} {
  return
}
"""
    first, second = document_symbols(Document(text))
    assert named([first, second]) == [("@f", "function", [("%y", "kernel", [])]), ("@kernel_0", "kernel", [])]
    assert first.detail == "(%x: tensor<4xf32>) -> tensor<4xf32>"
    assert text[slice(*first.range)].endswith("return %y\n}") and text[slice(*first.name_range)] == "@f"
