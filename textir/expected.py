"""Words for a syntax error: what stands there, and what may stand there."""

from __future__ import annotations

from dlir.textir.habits import ATTRIBUTE_START, TYPE_START, Spot, hint, named

_TYPES = TYPE_START | {"COMPLEX", "TUPLE"}
_ATTRIBUTES = (
    ATTRIBUTE_START
    | _TYPES
    | {"STRING", "FALSE", "UNIT", "LBRACE", "LPAR", "ARRAY", "DENSE", "SPARSE", "RESOURCE", "RAW"}
) | {"ATTR_ID", "LOC"}
#: What may stand between the angle brackets of dense<...> and array<...>.
_LITERAL_START = {"NUMBER", "TRUE", "FALSE"}
_LITERALS = _LITERAL_START | {"STRING", "LPAR", "LSQB"}
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
#: Parts that may nearly always come are not worth a word among what was expected.
_QUIET = {"LOC", "__ANON_0", "__ANON_2"}


def describe(spot: Spot, wanted_end: str | None = None, nothing_open: bool = False) -> tuple[str, str | None]:
    """The message and the hint for what stands at `spot`.

    `wanted_end` closes the bracket that is open, where another one is closed; `nothing_open` says that none is open.
    """
    special = named(spot)
    if special is not None:
        return special
    if nothing_open and spot.word in ("}", ")", "]", ">"):
        return f"unexpected '{spot.word}': it closes nothing", hint(spot)
    if wanted_end is not None and len(spot.expected) > 3:
        return f"unexpected '{spot.word}', expected '{wanted_end}'", hint(spot)
    names = _expected_words(spot.expected)
    listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    wanted = f"expected {listed}" if len(names) < 2 else f"expected one of: {listed}"
    return f"unexpected {spot.shown}, {wanted}", hint(spot)


def _expected_words(expected: set[str]) -> list[str]:
    rest = set(expected)
    names = []
    if rest >= ATTRIBUTE_START:
        names.append("an attribute's value")
        rest -= _ATTRIBUTES
    elif rest >= TYPE_START:
        names.append("a type")
        rest -= _TYPES
    elif rest >= _LITERAL_START:
        names.append("a number")
        rest -= _LITERALS
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
