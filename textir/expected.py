"""Words for a syntax error: what stands there, what may stand there, and what the writer probably meant."""

from __future__ import annotations

import re

from dlir.ir.errors import did_you_mean
from dlir.ir.registry import DIALECTS, dialect_ops, load_dialect

_TYPE_WORDS = "tensor memref vector complex tuple none index i1 i8 i16 i32 i64 ui8 f16 bf16 f32 f64".split()
_ATTRIBUTE_WORDS = "true false unit dense dense_resource array affine_map strided loc".split()
_KEYWORDS = "module func.func return".split()

_TYPE_START = {"SCALAR", "SHAPED", "TYPE_ID"}
_TYPES = _TYPE_START | {"COMPLEX", "TUPLE"}
_ATTRIBUTE_START = {"NUMBER", "SYMBOL", "TRUE", "LSQB"}
_ATTRIBUTES = (
    _ATTRIBUTE_START | _TYPES | {"STRING", "FALSE", "UNIT", "LBRACE", "LPAR", "ARRAY", "DENSE", "RESOURCE", "RAW", "LOC"}
) | {"ATTR_ID"}
_OPS_START = {"RESULTS", "OPNAME"}
_OPS = _OPS_START | {"STRING", "FUNC", "MODULE"}

_WORDS = {
    "VALUE": "a value such as %x",
    "RESULTS": "'%x ='",
    "STRING": "a string",
    "BLOCK_ID": "a block such as ^bb0",
    "SYMBOL": "a symbol such as @main",
    "OPNAME": "an operation",
    "KEY": "a name",
    "TYPE_ID": "a type",
    "SCALAR": "a type",
    "SHAPED": "a type",
    "COMPLEX": "a type",
    "TUPLE": "a type",
    "NUMBER": "a number",
    "ATTR_ID": "an attribute such as #a",
    "DIM": "a dimension such as 4x or ?x",
    "UNRANKED": "'*x'",
    "VISIBILITY": "'private' or 'public'",
    "ATTRIBUTES": "'attributes'",
    "LOC": "'loc'",
    "SOUP": "any text",
    "TO": "'to'",
    "AT": "'at'",
    "$END": "the end of the text",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "LESSTHAN": "'<'",
    "CLOSE": "'>'",
    "COLON": "':'",
    "COMMA": "','",
    "EQUAL": "'='",
    "__ANON_0": "'<{'",
    "__ANON_1": "'->'",
    "__ANON_2": "'{-#'",
    "__ANON_3": "'#-}'",
    "UNKNOWN": "a location",
    "FUSED": "a location",
    "CALLSITE": "a location",
}
#: What may follow the operands of an operation in the generic form.
_AFTER_GENERIC = {"COLON", "LBRACE", "LPAR", "LSQB", "__ANON_0"}
_TYPE = re.compile(r"(?:tensor|memref|vector)$|[su]?i\d|f\d|bf16|!", re.ASCII)
#: Parts that may nearly always come are not worth a word among what was expected.
_QUIET = {"LOC", "__ANON_0", "__ANON_2"}


def describe(expected: set[str], word: str, before: str) -> tuple[str, str | None]:
    """The message and the hint for `word` (empty at the end of the text) where `expected` terminals may stand."""
    special = _special(expected, word, before)
    if special is not None:
        return special
    names = _expected_words(expected)
    what = f"'{word[:40]}'" if word else "end of the text"
    listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    wanted = f"expected {listed}" if len(names) < 2 else f"expected one of: {listed}"
    return f"unexpected {what}, {wanted}", _hint(expected, word, before)


def _expected_words(expected: set[str]) -> list[str]:
    rest = set(expected)
    names = []
    if rest >= _ATTRIBUTE_START:
        names.append("an attribute's value")
        rest -= _ATTRIBUTES
    elif rest >= _TYPE_START:
        names.append("a type")
        rest -= _TYPES
    if rest >= _OPS_START:
        names.append("an operation")
        rest -= _OPS
        # Where an operation may start, its predecessor may go on; that is only of interest in what is short.
        rest -= _QUIET | {"ATTR_ID", "TYPE_ID", "BLOCK_ID"}
    for name in sorted(rest):
        spelled = _WORDS.get(name, f"'{name.lower()}'")
        if spelled not in names:
            names.append(spelled)
    return names


def _special(expected: set[str], word: str, before: str) -> tuple[str, str | None] | None:
    """Mistakes that have a name."""
    if word.startswith('"') and (len(word) == 1 or not word.endswith('"')):
        return "the string is not closed on its line", None
    if word == "/*":
        return "a comment starts with //", None
    if "COLON" in expected and _TYPE.match(word):
        return f"unexpected '{word}', expected ':'", "write ':' before the type"
    if "COLON" in expected and expected <= _AFTER_GENERIC:
        what = f"'{word[:40]}'" if word else "end of the text"
        return f"unexpected {what}, expected ': (operand types) -> result types'", None
    if word.startswith("%") and "OPNAME" in expected:
        return f"'{word}' is not an operation", "a result is written '%x =', several are '%x, %y =' or '%r:2 ='"
    is_word = re.fullmatch(r"[A-Za-z_][\w$.]*", word, re.ASCII) is not None
    if is_word and "DIM" in expected and expected >= _TYPE_START:
        return f"unknown element type '{word}'", did_you_mean(word, _TYPE_WORDS)
    if is_word and expected >= _ATTRIBUTE_START:
        if word in ("inf", "nan", "Infinity", "NaN", "Inf"):
            return f"'{word}' is not a number of the text format", "write its bits: 0x7F800000 : f32 is infinity"
        hint = did_you_mean(word, _ATTRIBUTE_WORDS + _TYPE_WORDS)
        return f"'{word}' is not an attribute's value", hint or f'a string stands in double quotes: "{word}"'
    if is_word and expected >= _TYPE_START and "OPNAME" not in expected:
        return f"unknown type '{word}'", did_you_mean(word, _TYPE_WORDS)
    if is_word and "OPNAME" in expected and "." not in word and word not in ("attributes", "loc"):
        return f"'{word}' is not an operation", _op_hint(word)
    return None


def _op_hint(word: str) -> str:
    hint = did_you_mean(word, _KEYWORDS)
    for dialect in () if hint else DIALECTS:
        if load_dialect(dialect) and f"{dialect}.{word}" in dialect_ops(dialect):
            return f"did you mean '{dialect}.{word}'?"
    return hint or "an operation is written dialect.name"


def _hint(expected: set[str], word: str, before: str) -> str | None:
    line = before.rpartition("\n")[2]
    if re.search(r"\b(?:tensor|memref|vector)<[^>]*$", line) and (word in (",", "[") or word.isdigit()):
        return "a shape is written with x: tensor<4x?xf32>"
    if word.startswith("%") and before.endswith("(") and re.search(r"[\w$]\.[\w$.]+\($", before):
        return "operands follow the name without parentheses, or the name stands in quotes: \"dialect.op\"(%x)"
    if expected - {"COLON"} == {"COMMA", "RBRACE"}:
        return "entries of a dictionary are separated by ',' and it ends in '}'"
    if expected == {"SYMBOL"} or expected == {"SYMBOL", "VISIBILITY"}:
        return "a function is named by a symbol: func.func @main(...)"
    if re.match(r"\d+(?:e|E)", word) or word in ("-", "+", "."):
        return "a float has digits, a dot and perhaps an exponent: 1.0e-05"
    if word == "'":
        return "strings stand in double quotes"
    return None
