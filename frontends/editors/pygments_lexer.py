"""Highlighting with Pygments, which finds the lexer by the name ``dlir`` once dlir is installed."""

from __future__ import annotations

import re

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Whitespace,
)

_KEYWORDS = ("module", "builtin.module", "func", "func.func", "return", "attributes", "private", "public", "nested")
_CONSTANTS = ("true", "false", "unit", "unknown")
_BUILDERS = "dense sparse dense_resource array affine_map affine_set strided distinct loc fused callsite at to".split()
_END = r"(?![\w$.])"


class DlirLexer(RegexLexer):
    """The text IR of dlir, and MLIR's generic form."""

    name = "dlir"
    aliases = ["dlir"]
    filenames = ["*.dlir"]
    mimetypes = ["text/x-dlir"]
    flags = re.ASCII | re.MULTILINE

    tokens = {
        "root": [
            (r"\s+", Whitespace),
            (r"//[^\n]*", Comment.Single),
            # The name of an op in the generic form.
            (r'"[A-Za-z_][\w$]*(?:\.[\w$]+)+"(?=\s*\()', Name.Builtin),
            (r'"', String.Double, "string"),
            (r"%[\w$.-]+(?:#\d+)?", Name.Variable),
            (r"\^[\w$.-]+", Name.Label),
            (r'@[A-Za-z_$][\w$.]*|@"[^"\\\n]*(?:\\.[^"\\\n]*)*"', Name.Function),
            (r"![A-Za-z_][\w$.-]*", Name.Class),
            (r"#[A-Za-z_][\w$.-]*", Name.Decorator),
            # A name with a value behind it, or a dotted one without, is an attribute's.
            (r"[A-Za-z_][\w$.]*(?=\s*=(?!=))", Name.Attribute),
            (r"[A-Za-z_][\w$]*(?:\.[\w$]+)+(?=[ \t]*[,}])", Name.Attribute),
            (words(_KEYWORDS, suffix=_END), Keyword),
            (words(_CONSTANTS, suffix=_END), Keyword.Constant),
            (words(_BUILDERS, suffix=_END), Keyword.Pseudo),
            (
                r"(tensor|memref|vector)(\s*)(<)(\s*)((?:(?:\d+|\?|\*|\[\d+\])x)*)",
                bygroups(Keyword.Type, Whitespace, Punctuation, Whitespace, Number.Integer),
            ),
            (rf"(?:tensor|memref|vector|complex|tuple|index|none|bf16|tf32){_END}", Keyword.Type),
            (rf"(?:[su]?i\d+|f\d+(?:E\w+)?){_END}", Keyword.Type),
            (r"([A-Za-z_][\w$]*(?:\.[\w$]+)*)(\.)([\w$]+)", bygroups(Name.Namespace, Punctuation, Name.Builtin)),
            (r"[A-Za-z_][\w$.]*", Name),
            (r"-?0x[0-9a-fA-F]+", Number.Hex),
            (r"[-+]?\d+\.\d*(?:[eE][-+]?\d+)?", Number.Float),
            (r"-?\d+", Number.Integer),
            (r"->|[<>=]=|[=+*/?|&-]", Operator),
            (r"\{-#|#-\}|[\[\](){}<>,:;.'`~!@#$%^\\]", Punctuation),
        ],
        "string": [
            (r'[^"\\\n]+', String.Double),
            (r'\\[nt\\"]|\\[0-9a-fA-F]{2}', String.Escape),
            (r'"', String.Double, "#pop"),
            # A string ends on its line; the parser says that this one does not.
            (r"\n", Whitespace, "#pop"),
        ],
    }
