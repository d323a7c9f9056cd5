"""dlir-lsp as an editor sees it: messages in, messages out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.editor import PROGRAM, Editor

from dlir.frontends.lsp.server import main

# Characters that take two code units in UTF-16 stand in front of what is asked for.
ASTRAL = 'func.func @f(%x: tensor<4xf32> {d.note = "😀😀"}, %y: tensor<4xf32>) -> tensor<4xf32> {\n  return %y\n}\n'


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    pytest.importorskip("pygls")
    editor = Editor(textDocument={"rename": {"prepareSupport": True}})
    yield editor
    code, errors = editor.close()
    assert code == 0 and "Traceback" not in errors, errors


def text_range(line: int, start: int, end: int) -> dict[str, dict[str, int]]:
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


def applied(text: str, edits: list[dict]) -> str:
    """The text after the edits of an answer, whose columns must be those of characters."""
    lines = text.splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    for edit in sorted(
        edits, key=lambda edit: -starts[edit["range"]["start"]["line"]] - edit["range"]["start"]["character"]
    ):
        start, end = (
            starts[edit["range"][side]["line"]] + edit["range"][side]["character"] for side in ("start", "end")
        )
        text = text[:start] + edit["newText"] + text[end:]
    return text


def test_it_says_what_it_can_do(editor):
    offered = editor.server["capabilities"]
    for name in ("hover", "definition", "references", "documentSymbol", "documentFormatting"):
        assert offered[f"{name}Provider"], name
    assert offered["renameProvider"]["prepareProvider"]
    assert "%" in offered["completionProvider"]["triggerCharacters"]
    assert editor.server["serverInfo"]["name"] == "dlir-lsp"


def test_diagnostics_come_and_go_with_the_text(editor):
    uri = "file:///texts/wrong.dlir"
    bad = "func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {\n  %y = nd.expp %x\n  %y = nd.exp %z\n  return %y\n}\n"
    first, second, third = editor.open(uri, bad)
    assert first["range"] == text_range(1, 7, 14) and first["severity"] == 1 and first["source"] == "dlir"
    assert "unknown op 'nd.expp'" in first["message"] and "hint: did you mean 'nd.exp'?" in first["message"]
    assert "'%z' is not defined" in third["message"] or "'%z' is not defined" in second["message"]
    (twice,) = [found for found in (second, third) if "defined twice" in found["message"]]
    (note,) = twice["relatedInformation"]
    assert note["location"] == {"uri": uri, "range": text_range(1, 2, 14)}
    editor.change(uri, 2, bad.replace("expp", "exp").replace("%y = nd.exp %z", "").replace("  \n", ""))
    assert editor.diagnostics(uri) == []
    editor.change(uri, 3, "oops")
    assert len(editor.diagnostics(uri)) == 1
    editor.notify("textDocument/didClose", textDocument={"uri": uri})
    assert editor.diagnostics(uri) == []


def test_a_file_of_rules_is_checked_as_one(editor):
    uri = "file:///texts/rules.dlir"
    rules = "// exp(log(x)) -> x\npattern @a {\n  match nd.exp(nd.logg(%x))\n  rewrite %x\n}\n"
    (found,) = editor.open(uri, rules)
    assert found["range"] == text_range(2, 15, 22) and "unknown op 'nd.logg'" in found["message"]
    editor.change(uri, 2, rules.replace("logg", "log"))
    assert editor.diagnostics(uri) == []
    editor.notify("textDocument/didClose", textDocument={"uri": uri})
    assert editor.diagnostics(uri) == []


def test_questions_about_places(editor):
    uri = "file:///texts/net.dlir"
    assert editor.open(uri, PROGRAM) == []
    shown = editor.ask("hover", uri, 6, 5)
    assert "%h : tensor<2x3xf32>" in shown["contents"]["value"] and shown["range"] == text_range(6, 4, 6)
    assert editor.ask("hover", uri, 0, 4) is None
    assert editor.ask("definition", uri, 7, 22) == {"uri": uri, "range": text_range(10, 20, 26)}
    context = {"includeDeclaration": True}
    found = editor.ask("references", uri, 5, 22, context=context)
    assert [place["range"]["start"] for place in found] == [{"line": 3, "character": 17}, {"line": 5, "character": 20}]
    assert len(editor.ask("references", uri, 5, 22, context={"includeDeclaration": False})) == 1
    assert editor.ask("definition", uri, 0, 0) is None
    symbols = editor.request("textDocument/documentSymbol", textDocument={"uri": uri})
    assert [child["name"] for child in symbols[0]["children"]] == ["@w", "@main", "@scale"]


def test_rename_and_its_refusals(editor):
    uri = "file:///texts/rename.dlir"
    editor.open(uri, PROGRAM)
    prepared = editor.ask("prepareRename", uri, 7, 20)
    assert prepared == {"range": text_range(7, 20, 25), "placeholder": "scale"}
    edit = editor.ask("rename", uri, 7, 20, newName="@double")
    assert applied(PROGRAM, edit["changes"][uri]) == PROGRAM.replace("@scale", "@double")
    refused = editor.ask("rename", uri, 7, 20, newName="main")
    assert refused["code"] == -32803 and refused["message"] == "'@main' is already defined in line 5"
    assert editor.ask("prepareRename", uri, 0, 3) is None


def test_completion_carries_its_edit(editor):
    uri = "file:///texts/completion.dlir"
    text = PROGRAM.replace("%s = nd.mul %x, %two", "%s = nd.mu")
    editor.open(uri, text)
    items = editor.ask("completion", uri, 12, 14)
    (item,) = [item for item in items if item["label"] == "nd.mul"]
    assert item["textEdit"] == {"range": text_range(12, 9, 14), "newText": "nd.mul"}
    assert "operand `a`" in item["documentation"]["value"]


def test_formatting(editor):
    uri = "file:///texts/format.dlir"
    text = PROGRAM.replace("    %w = state.read @w\n", "  %w   =state.read @w // kept\n")
    editor.open(uri, text)
    options = {"tabSize": 2, "insertSpaces": True}
    edits = editor.request("textDocument/formatting", textDocument={"uri": uri}, options=options)
    wanted = PROGRAM.replace("@w\n", "@w // kept\n")
    assert applied(text, edits) == wanted
    editor.change(uri, 2, wanted)
    assert editor.request("textDocument/formatting", textDocument={"uri": uri}, options=options) == []
    editor.change(uri, 3, "module {")
    refused = editor.request("textDocument/formatting", textDocument={"uri": uri}, options=options)
    assert refused["message"] == "a text with syntax errors is not formatted"


def test_columns_are_utf16_code_units(editor):
    uri = "file:///texts/astral.dlir"
    assert editor.open(uri, ASTRAL) == []
    column = ASTRAL.index("%y") + 2
    assert editor.ask("definition", uri, 1, 9) == {"uri": uri, "range": text_range(0, column, column + 2)}
    assert editor.ask("hover", uri, 0, column)["contents"]["value"].startswith("```dlir\n%y : tensor<4xf32>")


def test_the_encoding_that_the_editor_prefers():
    pytest.importorskip("pygls")
    editor = Editor(general={"positionEncodings": ["utf-8", "utf-16"]})
    assert editor.server["capabilities"]["positionEncoding"] == "utf-8"
    uri = "untitled:one"
    editor.open(uri, ASTRAL)
    column = len(ASTRAL[: ASTRAL.index("%y")].encode())
    assert editor.ask("definition", uri, 1, 9)["range"] == text_range(0, column, column + 2)
    assert editor.close() == (0, "")


def test_a_weights_file_is_looked_for_beside_the_text(editor, tmp_path: Path):
    uri = (tmp_path / "weights.dlir").as_uri()
    (problem,) = editor.open(uri, 'module attributes {dlir.weights = "../other.safetensors"} {\n}\n')
    assert "not inside the folder of the module" in problem["message"]


def test_without_pygls_there_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pygls", None)
    assert main([]) == 1
    assert capsys.readouterr().err == "error: dlir-lsp needs pygls: pip install 'dlir[lsp]'\n"


def test_wrong_arguments_are_usage_errors(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--stdo"])
    assert stop.value.code == 2 and "did you mean '--stdio'?" in capsys.readouterr().err
