"""Whatever is wrong with a text: one message for each mistake, at its place, with help where there is some."""

from __future__ import annotations

import pytest

from dlir.ir.errors import DlirError
from dlir.textir import parse, parse_file

HEAD = "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n  "
TAIL = "\n  return %x\n}"

#: What stands in the function's second line -> what the message must say, in order.
MISTAKES = {
    "%y = tst.ad %x, %x": ("a.dlir:2:8: error: unknown op 'tst.ad'", "did you mean 'tst.add'?"),
    '%y = "tst.ad"(%x) : (tensor<4xf32>) -> f32': ("a.dlir:2:8: error: unknown op 'tst.ad'", "did you mean 'tst.add'?"),
    "%y = nx.add %x, %x": ("a.dlir:2:8: error: unknown dialect 'nx'", "did you mean 'nd.add'?"),
    "%y = xyzzy.plugh %x": ("a.dlir:2:8: error: unknown dialect 'xyzzy'", "generic form"),
    "%y = matmul %x, %x": ("a.dlir:2:8: error: 'matmul' is not an operation", "did you mean 'nd.matmul'?"),
    "retrun %x": ("a.dlir:2:3: error: 'retrun' is not an operation", "did you mean 'return'?"),
    '%y = "d.c"() : () -> tensr<4xf32>': ("a.dlir:2:24: error: unknown type 'tensr'", "did you mean 'tensor'?"),
    '%y = "d.c"() : () -> tensor<4xf33>': ("a.dlir:2:33: error: unknown type 'f33'", "did you mean 'f32'?"),
    '%y = "d.c"() : () -> !tt': ("a.dlir:2:24: error: unknown type alias '!tt'",),
    '%y = "d.c"() : () -> tensor<4,4,f32>': ("a.dlir:2:31:", "a shape is written with x"),
    '%y = "d.c"() : () -> vector<?xf32>': ("a.dlir:2:24: error: the dimensions of a vector are positive numbers",),
    '%y = "d.c"() : () -> tensor<4xnone>': ("a.dlir:2:24: error: none cannot be the element type of a tensor",),
    '%y = "d.c"() : () -> i99999999': ("a.dlir:2:24: error: integers have at most 16777215 bits",),
    "%y = tst.needs %x {axes = 1}": ("a.dlir:2:22: error: 'tst.needs' has no attribute 'axes'", "did you mean 'axis'?"),
    '%y = tst.needs %x {axis = "a"}': ("a.dlir:2:22: error: attribute 'axis'", 'must be an integer, got "a"'),
    "%y = tst.needs %x": ("a.dlir:2:8: error: 'tst.needs' needs attribute 'axis' (an integer)",),
    'tst.attributes {mode = "fra"}': ("a.dlir:2:19:", "must be one of 'near', 'far'", "did you mean 'far'?"),
    "tst.attributes {flag, flag}": ("a.dlir:2:25: error: attribute 'flag' is given twice",),
    '"d.x"() {a = relu} : () -> ()': (
        "a.dlir:2:16: error: 'relu' is not an attribute's value",
        'double quotes: "relu"',
    ),
    '"d.x"() {a = inf : f32} : () -> ()': ("a.dlir:2:16:", "write its bits"),
    '"d.x"() {a = 1e-05} : () -> ()': ("a.dlir:2:16:", "1.0e-05"),
    '"d.x"() {a = #foo} : () -> ()': ("a.dlir:2:16: error: unknown attribute alias '#foo'",),
    '"d.x"() {a = 300 : i8} : () -> ()': ("a.dlir:2:16: error: 300 does not fit i8",),
    '"d.x"() {a = 1.5 : i8} : () -> ()': ("a.dlir:2:16: error: a number of type i8 is an integer, not 1.5",),
    '"d.x"() {a = "\\q"} : () -> ()': ("a.dlir:2:16: error: unknown escape '\\q'",),
    '"d.x"() {a = "abc} : () -> ()': ("a.dlir:2:16: error: the string is not closed on its line",),
    '"d.x"() {a = 1 b = 2} : () -> ()': ("a.dlir:2:18: error: unexpected 'b', expected one of: ':', ',', '}'",),
    '"d.x"() {a = dense<[1, 2]> : tensor<3xf32>} : () -> ()': ("a.dlir:2:22:", "has 3 elements, and 2 are given"),
    '"d.x"() {a = dense<[[1, 2]]> : tensor<2xf32>} : () -> ()': ("a.dlir:2:23:", "takes an element here, not a list"),
    '"d.x"() {a = dense<[1, 300]> : tensor<2xi8>} : () -> ()': ("a.dlir:2:26:", "300 does not fit i8"),
    '"d.x"() {a = dense<"0x000000"> : tensor<2xi8>} : () -> ()': ("a.dlir:2:22:", "takes 2 bytes"),
    '"d.x"() {a = dense<[1, 2]> : tensor<1048576x1048576xf32>} : () -> ()': (
        "takes a list of 1048576 elements here, not an element",
    ),
    '"d.x"() {a = dense<"0x00"> : tensor<1048576x1048576xf32>} : () -> ()': ("takes 4398046511104 bytes",),
    "%y = tst.add %x": ("a.dlir:2:8: error: 'tst.add' takes 2 operands (a, b), got 1",),
    "%y = tst.groups": ("a.dlir:2:8: error: 'tst.groups' takes at least 1 operand",),
    "%y = tst.add %x, %x ({})": ("a.dlir:2:8: error: 'tst.add' takes no regions, got 1",),
    "%f = tst.function\n  %y = tst.add %f, %x": ("a.dlir:3:16: error: operand 'a' of 'tst.add' must be a tensor",),
    '%f = "d.c"() : () -> tensor<5xf32>\n  %y = tst.add %f, %x': ("a.dlir:3:8: error: 'tst.add' cannot add",),
    "%y:2 = tst.add %x, %x": ("a.dlir:2:3: error: 'tst.add' gives 1 result, but 2 are named",),
    '%y:0 = "d.x"() : () -> ()': ("a.dlir:2:3: error: '%y:0' names no result",),
    '"d.x"(%x) : (f32) -> ()': (
        "a.dlir:2:9: error: '%x' has type tensor<4xf32>, not f32",
        "a.dlir:1:17: note: it is defined",
    ),
    '"d.x"(%x) : () -> ()': ("a.dlir:2:9: error: 1 operand, but the type lists 0",),
    "%y = tst.add %x, %zz": ("a.dlir:2:20: error: '%zz' is not defined",),
    "%yy = tst.add %x, %x\n  %z = tst.add %x, %y": ("a.dlir:3:20: error: '%y' is not defined", "did you mean '%yy'?"),
    "%y = tst.add %x, %z\n  %z = tst.add %x, %x": (
        "a.dlir:2:20: error: '%z' is used before it is defined",
        "a.dlir:3:3: note: it is defined here",
    ),
    "%y = tst.add %x, %x\n  %y = tst.add %x, %x": (
        "a.dlir:3:3: error: '%y' is defined twice",
        "a.dlir:2:3: note: the first definition is here",
    ),
    "%x = tst.add %x, %x": ("a.dlir:2:3: error: '%x' is defined twice", "a.dlir:1:17: note: the first definition"),
    "tst.loop ({\n %x = tst.add %x, %x\n})": ("a.dlir:3:2: error: '%x' is defined twice",),
    "tst.loop ({\n %q = tst.add %x, %x\n})\n  tst.yield %q": ("a.dlir:5:13: error: '%q' is not defined",),
    "tst.island ({ tst.yield %x })": ("a.dlir:2:27: error: '%x' is defined outside an op that is isolated from above",),
    "%y = tst.add %x#1, %x": ("a.dlir:2:16: error: '%x' has 1 result, numbered from 0",),
    "tst.jump [^nowhere]": ("a.dlir:2:13: error: block '^nowhere' is not defined",),
    "tst.jump [^a]\n^a:\n  tst.jump [^a]\n^a:": (
        "a.dlir:5:1: error: block '^a' is defined twice",
        "a.dlir:3:1: note: the first",
    ),
    "%y = state.read @w": ("a.dlir:2:8:", "cannot infer its result types: '@w' is not defined before it"),
    "return %x : f32": ("a.dlir:2:10: error: '%x' has type tensor<4xf32>, not f32",),
    '"d.x"() : () -> () loc(#foo)': ("a.dlir:2:26: error: unknown location alias '#foo'",),
    "%y = nd.exp(%x)": ("a.dlir:2:15:", "without parentheses"),
    '%y = "d.x"(%x)': ("a.dlir:2:17: error:", "expected ': (operand types) -> result types'"),
    "%y#1 = tst.add %x, %x": ("a.dlir:2:3: error: '%y' is not an operation", "%r:2 ="),
    "/* a comment */": ("a.dlir:2:3: error: a comment starts with //",),
    "%y = tst.add %x %x": ("a.dlir:2:19: error: unexpected '%x', expected ','",),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake(complaint, line):
    shown = complaint(HEAD + line + TAIL)
    place = -1
    for part in MISTAKES[line]:
        assert part in shown, shown
        assert shown.index(part) > place, shown
        place = shown.index(part)
    assert shown.count("error:") == 1, shown
    assert "^" in shown


def test_how_a_mistake_looks(complaint):
    assert complaint(HEAD + "%y = tst.add %x, %x\n  %y = tst.needs %x {axes = 1}" + TAIL) == (
        "a.dlir:3:22: error: 'tst.needs' has no attribute 'axes'\n"
        "    3 |   %y = tst.needs %x {axes = 1}\n"
        "      |                      ^~~~\n"
        "  hint: did you mean 'axis'?"
    )


def test_all_mistakes_of_a_run_are_found_one_for_each_op(complaint):
    lines = [
        "%a = tst.ad %x, %x",
        "%b = tst.add %a, %a",
        '%c = tst.needs %undefined {axis = "s", axes = 1}',
        '"d.x"() {a = 300 : i8, b = 1.5 : i8} : () -> ()',
        "%d = tst.add %x, %c",
        "%b = tst.add %x",
    ]
    shown = complaint(HEAD + "\n  ".join(lines) + TAIL)
    errors = [line.split(": ", 2)[2] for line in shown.splitlines() if " error: " in line]
    # A use of what is already wrong (lines 2 and 5) is not reported again.
    assert errors == [
        "unknown op 'tst.ad'",
        "'%undefined' is not defined",
        "300 does not fit i8",
        "'tst.add' takes 2 operands (a, b), got 1",
    ]


MANY = """\
module {
  func @main(%x: tensor<2x3xf32>, %y: f32) -> tensor<2x3xf32> {
    %0 = tst.add %x, %x tensor<2x3xf32>
    %1 = "d.mul"(%0, %x) {k = 1 : i64 j = 2} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    %2 = tst.add %1, %1 : tensor<2x3xf32>
    %3 = "d.c"() : () -> tensor<2,3,f32>
    %4 = "d.neg"(%3)
    %5 = tst.loop %4 ({
      "d.c"() {v = } : f32
      tst.yield %4
    }) : f32
    tst.yield $oops
    return %5 : f32
  }
  func main() { return }
  func @last() { %z = "d.c"() : () -> f32
"""


def test_eight_syntax_errors_are_found_without_cascades(complaint):
    shown = complaint(MANY)
    lines = [int(line.split(":")[1]) for line in shown.splitlines() if " error: " in line]
    assert lines == [3, 4, 6, 7, 9, 12, 15, 16]
    assert "a.dlir:16:16: note: the region that is not closed starts here" in shown


def test_a_flood_of_syntax_errors_is_counted_and_ends():
    line = '"d.x"() {a = } : () -> ()\n'
    with pytest.raises(DlirError) as caught:
        parse(line * 100)
    assert len(caught.value.diagnostics) == 100
    with pytest.raises(DlirError) as caught:
        parse(line * 1500)
    assert len(caught.value.diagnostics) == 1001
    assert caught.value.diagnostics[-1].message == "more than 1000 syntax errors: what follows is not read"


# ---------------------------------------------------------------- the text itself


def test_nul_and_lone_surrogates(complaint):
    assert complaint("module {\0}").startswith("a.dlir:1:9: error: a text may not hold the NUL character")
    assert "half a surrogate pair" in complaint('"d.x"() {a = "\ud800"} : () -> ()')


def test_control_characters_are_escaped_in_what_is_shown(complaint):
    shown = complaint('"d.x"() {a = \x1b[31m\u202e} : () -> ()')
    assert "\x1b" not in shown and "\u202e" not in shown and "\\x1b[31m\\u202e" in shown


def test_files_that_cannot_be_read(tmp_path):
    latin = tmp_path / "latin.dlir"
    latin.write_bytes("// é\n// caf".encode() + b"\xe9\n")
    cases = [(tmp_path / "none.dlir", "No such file"), (tmp_path, "Is a directory"), (latin, "byte 0xE9 at offset 12")]
    for path, message in cases:
        with pytest.raises(DlirError, match=message) as caught:
            parse_file(path)
        assert str(path) in str(caught.value)
    assert str(caught.value).startswith(f"{latin}:2:7: error: not UTF-8 text")


def test_line_ends_and_byte_order_mark(tmp_path):
    path = tmp_path / "a.dlir"
    path.write_bytes(b'\xef\xbb\xbfmodule {\r\n  "d.x"() : () -> ()\r\n}\r\n')
    (op,) = parse_file(path).module.body.ops
    assert str(op.location) == f'"{path}":2:3'
    assert parse("\ufeffmodule {}").name == "builtin.module"


def test_identifiers_are_ascii(complaint):
    assert "error" in complaint("%é = tst.function")
    assert "error" in complaint("tst.function\u00a0")
