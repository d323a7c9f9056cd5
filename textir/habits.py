"""Syntax errors that have a name: slips, and habits from Python, C and MLIR's custom assembly.

Each gets a message, or a hint beside the usual one, that says what to write instead.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dlir.ir.errors import did_you_mean
from dlir.ir.registry import DIALECTS, dialect_ops, find_op, load_dialect
from dlir.textir.forms import form

_TYPE_WORDS = "tensor memref vector complex tuple none index i1 i8 i16 i32 i64 ui8 f16 bf16 f32 f64".split()
_ATTRIBUTE_WORDS = "true false unit dense sparse dense_resource array affine_map strided loc".split()
_KEYWORDS = "module func.func return".split()
#: What other languages call element types.
_FOREIGN_TYPES = {
    "bool": "i1", "byte": "i8", "char": "i8", "short": "i16", "int": "i32", "long": "i64", "half": "f16",
    "float": "f32", "double": "f64", "bfloat16": "bf16",
}  # fmt: skip
_FOREIGN_TYPES |= {f"float{n}": f"f{n}" for n in (16, 32, 64)}
_FOREIGN_TYPES |= {f"{u}int{n}": f"{u}i{n}" for u in ("", "u") for n in (8, 16, 32, 64)}
#: Characters that editors show as a blank or not at all.
_LOOKALIKES = (
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f\u3000\ufeff"
)
_FOREIGN_DEFINITIONS = ("let", "var", "val", "const", "auto")
_FOREIGN_FUNCTIONS = ("def", "fn", "fun", "function", "define", "lambda")

TYPE_START = {"SCALAR", "SHAPED", "TYPE_ID"}
ATTRIBUTE_START = {"NUMBER", "SYMBOL", "TRUE", "LSQB"}
#: What may follow the operands of an operation in the generic form.
_AFTER_GENERIC = {"COLON", "LBRACE", "LPAR", "LSQB", "__ANON_0"}
_TYPE = re.compile(r"(?:tensor|memref|vector)$|[su]?i\d|f\d|bf16|!", re.ASCII)
_WORD = re.compile(r"[A-Za-z_][\w$.]*", re.ASCII)
_NUMBER = re.compile(r"[-+]?\.?\d", re.ASCII)
#: An op's name, perhaps with symbols and operands, at the end of a line so far.
_OP = re.compile(r"([A-Za-z_]\w*\.[\w.]+)((?:\s+[@%][\w$.:@#-]+,?)*)\s*$", re.ASCII)
#: Words of MLIR's custom assembly, and what it writes for the argument of a region: ``scf.for %i = ...``.
_CUSTOM = {
    "ins",
    "outs",
    "to",
    "step",
    "into",
    "from",
    "iter_args",
    "args",
    "dimensions",
    "permutation",
    "init",
    "blocks",
}
_CUSTOM_ASSIGNED = re.compile(r"([A-Za-z_]\w*\.[\w.]+)\s+(\(?%[\w$.-]+\)?\s*=)\s*\(?$", re.ASCII)
_INF = re.compile(r"[-+]?(?:inf|nan|infinity)$", re.IGNORECASE)


class Spot(NamedTuple):
    """A place where a text goes wrong: the word there (empty at an end), and what stands around it on its line."""

    expected: set[str]
    word: str
    before: str
    after: str
    #: Whether something is missing at the end of a line: `word` is the next line's first.
    at_line_end: bool = False

    @property
    def shown(self) -> str:
        """What stands there, for a message."""
        return "end of the line" if self.at_line_end else f"'{self.word[:40]}'" if self.word else "end of the text"


#: A message and a hint.
Advice = tuple[str, str | None]


def named(spot: Spot) -> Advice | None:
    """What to say of a mistake that has a name, in place of what was expected."""
    for kind in (_lexical, _function_head, _missing_type, _operation, _type, _attribute):
        found = kind(spot)
        if found is not None:
            return found
    return None


def _lexical(spot: Spot) -> Advice | None:
    word = spot.word
    if word.startswith('"') and (len(word) == 1 or not word.endswith('"')):
        return "the string is not closed on its line", None
    if word == "#" and re.search(r"%[\w$.-]+$", spot.before, re.ASCII):
        return "a number is missing after '#'", "results are numbered from 0: %r#0"
    if word in ("/*", "#"):
        return "a comment starts with //", None
    if word == "@" and spot.after.startswith('"'):
        return "the string is not closed on its line", None
    if word[:1] == "-" and re.search(r"@[\w$.]+$", spot.before, re.ASCII):
        whole = re.search(r"@([\w$.]+)$", spot.before + word[:0], re.ASCII)
        return f"unexpected '{word}'", f'a name with other signs stands in quotes: @"{whole[1] if whole else ""}{word}"'
    if word == ";":
        return "unexpected ';'", "an operation ends with its line, without a sign; a comment starts with //"
    if word == "\\":
        return "unexpected '\\'", "an operation may go on in the next line without any sign"
    if word and word in "'`“”„‘’«»":
        return f"unexpected '{word}'", 'strings stand in double quotes: "relu"'
    lookalike = next((char for char in (word[:1], spot.after[:1]) if char and char in _LOOKALIKES), None)
    if lookalike is not None:
        return f"unexpected character U+{ord(lookalike):04X}, which only looks like a blank", None
    if word[:1] in ("%", "@", "^", "#", "!") and not word.isascii():
        return f"the name '{word}' is not ASCII", "names are made of ASCII letters, digits and _ $ . -"
    if word in ("%", "@", "^"):
        return f"a name is missing after '{word}'", None
    return None


def _function_head(spot: Spot) -> Advice | None:
    """Mistakes in front of a function's body."""
    expected, word, before = spot.expected, spot.word, spot.before
    if not re.match(r"\s*func(\.func)?\b", before):
        return None
    if "__ANON_1" in expected and (_TYPE.match(word) or word in (":", "=")):
        return f"unexpected '{word}', expected '->'", "result types follow an arrow: -> tensor<4xf32>"
    if word == "->" and "RPAR" in expected:
        return (
            "unexpected '->', expected ')'",
            "the arguments stand in parentheses: (%x: tensor<4xf32>) -> tensor<4xf32>",
        )
    if word == "," and re.search(r"->[^()]*$", before):
        return "unexpected ','", "several result types stand in parentheses: -> (tensor<4xf32>, tensor<4xf32>)"
    if word == "=" and re.search(r"\{\s*[\w.]+\s*$", before):
        return (
            "unexpected '='",
            "a function's attributes follow the word 'attributes': attributes {name = value} { ... }",
        )
    if word.startswith("%") and re.search(r":[^()]*$", before):
        return f"unexpected '{word}', expected ','", "arguments are separated by ','"
    return None


def _missing_type(spot: Spot) -> Advice | None:
    expected, word, before = spot.expected, spot.word, spot.before
    if "COLON" not in expected:
        return None
    if _TYPE.match(word) and re.match(r"(?:<[^>]*>)?\s+%", spot.after) and _OP.search(before):
        return f"unexpected '{word}'", "types stand at the end of an operation: nd.add %a, %b : tensor<4xf32>"
    if _TYPE.match(word) and not spot.at_line_end:
        return f"unexpected '{word}', expected ':'", "write ':' before the type"
    if not expected <= _AFTER_GENERIC:
        return None
    what = spot.shown
    if expected == {"COLON"} and re.search(r"dense\s*<.*>\s*$|dense\s*<[^<>]*>\s*$", before):
        return (
            f"unexpected {what}, expected ':' and the type",
            "data states its type: dense<[1.0, 2.0]> : tensor<2xf32>",
        )
    if re.search(r"^\s*\^[\w$.-]+\s*(?:\(.*\))?\s*$", before, re.ASCII):
        return (
            f"unexpected {what}, expected ':' after the label",
            "a label is written ^bb0: or ^bb0(%x: tensor<4xf32>):",
        )
    if expected == {"COLON"} and re.search(r"[(,]\s*%[\w$.-]+\s*$", before) and not re.search(r'"\(', before):
        return f"unexpected {what}, expected ':' and the argument's type", "write it as in %x: tensor<4xf32>"
    return f"unexpected {what}, expected ': (operand types) -> result types'", None


def _operation(spot: Spot) -> Advice | None:
    """Mistakes where an operation may start, which is also where the last one may go on."""
    expected, word, before, after = spot[:4]
    op = _OP.search(before)
    custom = re.search(r"([A-Za-z_]\w*\.[\w.]+)\s*\($", before, re.ASCII)
    if custom is not None and word == ")":
        return (
            f"unexpected '()' after '{custom[1]}'",
            "an op without operands is its name alone; parentheses hold regions",
        )
    if custom is not None and word.startswith("%") and re.match(r"[^()]*\)\s*=", after):
        return f"unexpected '(' before '{word}'", form(custom[1])
    if word.startswith("%") and re.search(r"[\w$]\.[\w$.]+(?:\s+@[\w$.]+)?\s*\($", before):
        hint = 'operands follow the name without parentheses, or the name stands in quotes: "dialect.op"(%x)'
        return f"unexpected '(' before '{word}'", hint
    if "OPNAME" not in expected:
        return None
    if word.startswith("%"):
        return _value_for_op(word, before, after, op)
    if _WORD.fullmatch(word) is None or "." in word or word in ("attributes", "loc"):
        return None
    if op is not None:
        return f"unexpected '{word}' after '{op[1]}'", _word_hint(op[1], word)
    if word == "to" and re.search(r":\s*[\w<>?]+\s*$", before):
        return "unexpected 'to'", "what follows ':' is the type of the result alone"
    if re.match(r"\s*=(?!=)", after):
        return f"'{word}' is not an operation", f"a result's name starts with %: %{word} ="
    if re.fullmatch(r"\s*(?:\(.*\))?\s*:\s*", after) and "BLOCK_ID" in expected:
        return f"'{word}' is not an operation", f"a label starts with ^: ^{word}"
    if "ATTRIBUTES" in expected and did_you_mean(word, ["attributes"]):
        return f"unexpected '{word}'", "did you mean 'attributes'?"
    if word in _FOREIGN_DEFINITIONS and after.lstrip().startswith("%"):
        return f"'{word}' is not an operation", f"a result needs no word: {after.strip().partition('=')[0].strip()} ="
    if word == "pattern" and after.lstrip().startswith("@"):
        hint = "rewrite rules are given with --patterns, and tried with --check-patterns"
        return "'pattern' is not an operation: this is a file of rules", hint
    if word in _FOREIGN_FUNCTIONS:
        return f"'{word}' is not an operation", "a function is written func.func @main(%x: tensor<4xf32>) { ... }"
    return f"'{word}' is not an operation", _op_hint(word)


def _word_hint(op: str, word: str) -> str:
    """Help for a word where an op has its operands."""
    if word in ("true", "false", "dense", "dense_resource"):
        return f"an attribute stands in braces: {op} {{value = {word}{'<...>' if word.startswith('d') else ''}}}"
    cls = find_op(op)
    is_custom = word in _CUSTOM or cls is None or any(spec.required for spec in cls.schema().attributes.values())
    return (form(op) if is_custom else None) or "a value's name starts with %, and attributes stand in braces {}"


def _value_for_op(word: str, before: str, after: str, op: re.Match[str] | None) -> Advice:
    custom = _CUSTOM_ASSIGNED.search(before)
    if custom is not None:
        return f"unexpected '{custom[2]}' after '{custom[1]}'", form(custom[1])
    if op is not None and op[2].strip():
        return f"unexpected '{word}', expected ','", "operands are separated by ','"
    if before.rstrip().endswith("="):
        return f"'{word}' is not an operation", "an op follows '=': %y = nd.add %a, %b"
    if re.match(r"\s*(?:[A-Za-z_]\w*\.\w|\")", after):
        return f"expected '=' after '{word}'", f"a result is written '{word} ='"
    sign = re.match(r"\s*(==|:=)", after)
    if sign is not None:
        return f"expected '=' after '{word}', not '{sign[1]}'", None
    if re.match(r"\s*:\s*(?:tensor\b|memref\b|vector\b|[su]?i\d|b?f\d|index\b|!)[^=%]*=", after):
        return (
            f"expected '=' after '{word}'",
            f"types stand at the end of an operation: {word} = nd.add %a, %b : tensor<4xf32>",
        )
    if re.match(r"\s+%[\w$.-]+[^=\n]*=", after):
        return f"expected ',' or '=' after '{word}'", "the names of several results are separated by ','"
    return f"'{word}' is not an operation", "a result is written '%x =', several are '%x, %y =' or '%r:2 ='"


def _op_hint(word: str) -> str:
    hint = did_you_mean(word, _KEYWORDS)
    for dialect in () if hint else DIALECTS:
        if load_dialect(dialect) and f"{dialect}.{word}" in dialect_ops(dialect):
            return f"did you mean '{dialect}.{word}'?"
    return hint or "an operation is written dialect.name"


def _type(spot: Spot) -> Advice | None:
    expected, word = spot.expected, spot.word
    is_word = _WORD.fullmatch(word) is not None
    if not expected >= TYPE_START or expected >= ATTRIBUTE_START or "OPNAME" in expected:
        return None
    if "DIM" in expected or "UNRANKED" in expected:
        if is_word:
            return f"unknown element type '{word}'", _shape_hint(word) or type_hint(word)
        ends = word in (">", "") or (word.isdigit() and spot.after.lstrip().startswith(">"))
        wanted = "the element type" if ends else "a dimension such as 4x or ?x, or the element type"
        hint = "a dimension that is not known is written ?" if word.startswith("-") else None
        if word.isdigit() and re.match(r"\s+x\b", spot.after):
            hint = "a shape is written without blanks: tensor<4x?xf32>"
        return f"unexpected {spot.shown}, expected {wanted}", hint or "a shape is written with x: tensor<4x?xf32>"
    if word.startswith("#"):
        return f"unexpected '{word}', expected a type", "the name of a type starts with !, that of an attribute with #"
    return (f"unknown type '{word}'", type_hint(word)) if is_word else None


def _shape_hint(word: str) -> str | None:
    """Help for a shape with a dimension that is a name, or with none in front of an ``x``."""
    found = re.fullmatch(r"([A-Za-z_]\w*?|)x((?:\d+x)*(?:[su]?i\d+|b?f\d+|index))", word, re.ASCII)
    if word[0] == "x" and (word[1:2].isdigit() or word[1:] in _TYPE_WORDS):
        return "remove the 'x' in front"
    return f"a dimension that is not known is written ?: ?x{found[2]}" if found and found[1] else None


def type_hint(word: str) -> str | None:
    """What a person who wrote `word` for a type may have meant."""
    foreign = _FOREIGN_TYPES.get(word.lower())
    return f"did you mean '{foreign}'?" if foreign else did_you_mean(word, _TYPE_WORDS)


def _attribute(spot: Spot) -> Advice | None:
    expected, word = spot.expected, spot.word
    if not expected >= ATTRIBUTE_START:
        if "TRUE" in expected and "NUMBER" in expected and _INF.match(word):
            return f"'{word}' is not a number of the text format", "write its bits: 0x7F800000 is infinity in f32"
        return None
    if _INF.match(word):
        return f"'{word}' is not a number of the text format", "write its bits: 0x7F800000 : f32 is infinity"
    if word.startswith("%"):
        return f"'{word}' is a value, and an attribute is a constant", None
    if _WORD.fullmatch(word) is None:
        return None
    message = f"'{word}' is not an attribute's value"
    if word in _ATTRIBUTE_WORDS:
        return message, f"it is written {word}<...>"
    if word == "opaque":
        return (
            message,
            'it is written opaque<"dialect", "text">, and that of a dialect that is not loaded #dialect<...>',
        )
    if word.lower() in ("yes", "on", "no", "off"):
        return message, f"did you mean '{'true' if word.lower() in ('yes', 'on') else 'false'}'?"
    foreign = type_hint(word) if word.lower() in _FOREIGN_TYPES else None
    hint = foreign or did_you_mean(word, [*_ATTRIBUTE_WORDS, *_TYPE_WORDS])
    return message, hint or f'a string stands in double quotes: "{word}"'


def hint(spot: Spot) -> str | None:
    """What helps besides the list of what was expected."""
    expected, word, before, after = spot[:4]
    if word[:1] in (")", "]", "}", ">") and before.rstrip().endswith(","):
        return "remove the ',' before it"
    if expected - {"COLON"} == {"COMMA", "RBRACE"}:
        return "entries of a dictionary are separated by ',' and it ends in '}'"
    if word.startswith("^") and expected == {"VALUE"} and before.rstrip().endswith(","):
        return f"blocks stand in brackets behind the operands and attributes: [{word}]"
    if expected == {"COMMA", "RSQB"}:
        return "items of a list are separated by ',' and it ends in ']'"
    if expected == {"LPAR"} and re.search(r"\)\s*:\s*$", before):
        return "the generic form states the types of operands and results: (tensor<4xf32>) -> tensor<4xf32>"
    if word[:1] in ("@", "$") and re.match(r"\s*=(?!=)", after):
        return f"a result's name starts with %: %{word[1:]} ="
    if word.startswith("$") and "VALUE" in expected:
        return f"did you mean '%{word[1:]}'?"
    if word == "-" and re.match(r"\s+>", after):
        return "an arrow is written without a blank: ->"
    if "ATTRIBUTES" in expected and did_you_mean(word, ["attributes"]):
        return "did you mean 'attributes'?"
    if "VISIBILITY" in expected and did_you_mean(word, ["private", "public"]):
        return did_you_mean(word, ["private", "public"])
    if word.startswith("-") and "EQUAL" in expected and re.search(r"[{,]\s*[\w.$]+$", before):
        return "names of attributes are made of letters, digits and _, or stand in quotes"
    if expected in ({"SYMBOL"}, {"SYMBOL", "VISIBILITY"}):
        return "a function is named by a symbol: func.func @main(...)"
    if "EQUAL" in expected and word == ":":
        return "attributes are written {name = value}"
    if "KEY" in expected and (word[:1] in ("%", "^") or "." in word):
        return "a region stands in parentheses: ({ ... })"
    if word.startswith("%") and before.endswith("["):
        indexed = re.search(r"([A-Za-z_]\w*\.[\w.]+)\s+(%[\w$.-]+(?:\s*,\s*%[\w$.-]+)*)\s*\[$", before, re.ASCII)
        if indexed is None or find_op(indexed[1]) is None:
            return (indexed and form(indexed[1])) or "indices are operands: memref.load %m, %i"
        rest = re.match(r"[^\]\n]*", after)
        return f"indices are operands: {indexed[1]} {indexed[2]}, {word}{rest[0] if rest else ''}"
    if word == "{" and before.rstrip().endswith("})"):
        return "attributes stand before the regions"
    if re.match(r"\s*=(?!=)", after) and _WORD.fullmatch(word):
        return "attributes stand in braces: {" + word + " = ...}"
    return _number_hint(spot)


def _number_hint(spot: Spot) -> str | None:
    expected, word, before, after = spot[:4]
    if re.search(r"=\s*\($", before) and _NUMBER.match(word):
        return f"a list stands in brackets: [{word}]"
    op = _OP.search(before)
    if (op is not None or re.search(r"%[\w$.-]+\s*=\s*$", before)) and _NUMBER.match(word):
        if op is not None and "LBRACE" in expected:
            typed = re.match(r"\s*:\s*[a-z]+\d*(?![\w<])", after)
            return f"a number is an attribute: {op[1]} {{value = {word}{' ' + typed[0].lstrip() if typed else ''}}}"
        return f"a number is an op of its own: %c = nd.constant {{value = dense<{word}> : tensor<f32>}}"
    if not ("NUMBER" in expected or expected >= ATTRIBUTE_START):
        return None
    if re.match(r"[-+]?\d[\d_]*_\d", word):
        return f"digits are not grouped: {word.replace('_', '')}"
    if word in ("-", "+") and _NUMBER.match(after.lstrip()):
        return "a sign stands right before its number"
    if re.match(r"[-+]?(?:\.\d|\d+[eE])|[-+.]$", word):
        return "a float has digits, a dot and perhaps an exponent: 1.0e-05"
    return None
