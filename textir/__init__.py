"""The text IR: parser, printer, diagnostics and weights."""

from dlir.textir.parser import ParsedModule, parse, parse_file, parse_stream, parse_text
from dlir.textir.printer import print_module, to_text
from dlir.textir.weights import WeightStore

__all__ = [
    "ParsedModule",
    "WeightStore",
    "parse",
    "parse_file",
    "parse_stream",
    "parse_text",
    "print_module",
    "to_text",
]
