"""How diagnostics look."""

from __future__ import annotations

from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.ir.location import CallSiteLoc, FileLoc, NameLoc
from dlir.textir.diagnostics import render

TEXT = "first\n\tsecond line\nthird 日本 x\r\n"
SOURCES = {"f": TEXT}


def shown(location, message="wrong", **more) -> str:
    return render(DlirError(Diagnostic(message, location, **more)), SOURCES)


def test_the_line_and_a_caret_range():
    assert shown(FileLoc("f", 2, 2, (2, 8))) == "f:2:2: error: wrong\n    2 |  second line\n      |  ^~~~~~"


def test_a_place_without_an_end_is_one_caret():
    assert shown(FileLoc("f", 1, 3)).splitlines()[-1] == "      |   ^"


def test_a_range_over_several_lines_ends_with_the_first():
    assert shown(FileLoc("f", 1, 3, (2, 1))).splitlines()[-1] == "      |   ^~~"


def test_wide_characters_take_two_columns():
    assert shown(FileLoc("f", 3, 10)).splitlines()[-1] == "      | " + " " * 11 + "^"


def test_a_place_past_the_end_of_the_line_or_text():
    assert shown(FileLoc("f", 1, 99)).splitlines()[-1] == "      |      ^"
    assert shown(FileLoc("f", 99, 1)) == "f:99:1: error: wrong"


def test_a_file_whose_text_is_not_at_hand():
    assert shown(FileLoc("g", 1, 1)) == "g:1:1: error: wrong"


def test_the_file_inside_another_location():
    location = NameLoc("n", CallSiteLoc(FileLoc("g", 1, 1), FileLoc("f", 1, 1)))
    assert shown(location).startswith("g:1:1: error: wrong")


def test_hints_notes_and_severity():
    notes = [Note("see here", FileLoc("f", 2, 2)), Note("x")]
    text = shown(FileLoc("f", 1, 1), severity="warning", hint="try this", notes=notes)
    assert text.splitlines() == [
        "f:1:1: warning: wrong",
        "    1 | first",
        "      | ^",
        "  hint: try this",
        "f:2:2: note: see here",
        "    2 |  second line",
        "      |  ^",
        "note: x",
    ]


def test_control_characters_are_escaped_and_long_lines_cut():
    text = render(DlirError("a\x1bb", FileLoc("f", 1, 500, (1, 503))), {"f": "\x07" + "x" * 1000})
    first, line, caret = text.splitlines()
    assert first == "f:1:500: error: a\\x1bb" and len(line) < 200
    assert caret.endswith("^~~") and line[caret.index("^")] == "x"


def test_colours():
    text = render(DlirError("wrong", FileLoc("f", 1, 1)), SOURCES, color=True)
    assert "\033[1;31merror:\033[0m" in text and "\033[1;32m^\033[0m" in text


def test_a_flood_is_counted():
    error = DlirError([Diagnostic(f"wrong {number}", FileLoc("f", 1, 1)) for number in range(60)])
    lines = render(error, SOURCES).splitlines()
    assert len(lines) == 61 and lines[-1] == "... and 40 more errors"
    assert render(error, SOURCES, max_errors=59, hint="how").endswith("\n... and 1 more error (how)")
    assert len(render(error, SOURCES, max_errors=0).splitlines()) == 180
