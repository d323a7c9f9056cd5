"""The text IR: parser, printer, diagnostics and weights."""

from dlir.textir.parser import ParsedModule, parse, parse_file
from dlir.textir.printer import print_module, to_text

__all__ = ["ParsedModule", "parse", "parse_file", "print_module", "to_text"]
