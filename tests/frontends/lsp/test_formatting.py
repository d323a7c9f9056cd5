"""Formatting gives the printer's layout and loses nothing."""

from __future__ import annotations

import pytest
from support.editor import FILES, PROGRAM, ROOT
from support.random_text import RandomText

from dlir.frontends.lsp.document import Document
from dlir.frontends.lsp.formatting import format_edit, formatted
from dlir.frontends.lsp.tokens import COMMENT, tokens
from dlir.ir.errors import DlirError
from dlir.ir.traversal import difference
from dlir.passes.manager import PassManager
from dlir.passes.pipelines import pipeline_for
from dlir.textir import parse, parse_file, to_text

MESSY = """\
// top
module   @m{


  // of f
  func.func @f(%x:tensor<4xf32>,
       %y : tensor< 4xf32 >)->tensor<4xf32>
  {
  %a=nd.exp %x      // trailing


      %b   = nd.sum %a {axes=[0],   // why
   keepdims = true}
   %r:2="d.op"( %a ) [^bb1] ({ // region
     ^bb0( %q : f32 ):
       // in block
       return
       // last
       },{}) :(tensor<4xf32>) -> (f32,f32) loc("a":1 : 2)
   return    %a }

   // end
}
// after"""

NEAT = """\
// top
module @m {
  // of f
  func.func @f(%x: tensor<4xf32>,
      %y: tensor< 4xf32 >) -> tensor<4xf32> {
    %a = nd.exp %x      // trailing

    %b = nd.sum %a {axes = [0],   // why
        keepdims = true}
    %r:2 = "d.op"(%a)[^bb1] ({ // region
    ^bb0(%q: f32):
      // in block
      return
      // last
    }, {
    }) : (tensor<4xf32>) -> (f32, f32) loc("a":1:2)
    return %a
  }

  // end
}
// after
"""


def comments(text: str) -> list[str]:
    return [token.text.rstrip() for token in tokens(text) if token.kind == COMMENT]


def test_a_messy_text():
    assert formatted(Document(MESSY)) == NEAT
    assert formatted(Document(NEAT)) == NEAT and format_edit(Document(NEAT)) is None


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_what_the_printer_prints_is_formatted(target, generic):
    module = parse_file(ROOT / "examples" / "digits.dlir").module
    PassManager.from_text(pipeline_for("O1", target)).run(module)
    text = to_text(module, generic=generic) + "\n"
    assert formatted(Document(text)) == text


def test_random_texts_keep_their_meaning_and_their_comments():
    for seed in range(25):
        text = RandomText(seed).module()
        new = formatted(Document(text))
        assert difference(parse(text), parse(new)) is None
        assert comments(new) == comments(text)
        assert formatted(Document(new)) == new
        for generic in (False, True):
            printed = to_text(parse(text), generic=generic, locations=True) + "\n"
            assert formatted(Document(printed)) == printed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_keep_their_meaning_and_their_comments(path):
    text = path.read_text()
    new = formatted(Document(text))
    assert difference(parse(text), parse(new)) is None
    assert comments(new) == comments(text) and formatted(Document(new)) == new


def test_the_edit_touches_only_what_differs():
    text = PROGRAM.replace("%h = nn", "%h=  nn")
    edit = format_edit(Document(text))
    assert edit is not None
    (start, end), new = edit
    assert text[:start] + new + text[end:] == PROGRAM and end - start < 80


def test_line_ends_and_byte_order_marks_stay():
    text = "\ufeff" + MESSY.replace("\n", "\r\n")
    assert formatted(Document(text)) == "\ufeff" + NEAT.replace("\n", "\r\n")
    document = Document(text)
    edit = format_edit(document)
    assert edit is not None
    (start, end), new = edit
    assert text[:start] + new + text[end:] == "\ufeff" + NEAT.replace("\n", "\r\n")


def test_a_text_with_mistakes_that_parses_is_formatted():
    assert formatted(Document("nd.oops   %x")) == "nd.oops %x\n"
    assert formatted(Document("")) == ""


def test_a_text_with_syntax_errors_is_left_alone():
    with pytest.raises(DlirError, match="syntax errors"):
        formatted(Document("module {"))
