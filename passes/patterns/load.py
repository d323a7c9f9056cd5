"""Reading rule files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.ir.location import FileLoc
from dlir.passes.patterns.pattern import TextPattern, compile_rule
from dlir.passes.patterns.syntax import Rule
from dlir.textir.source import Source, decode, read_bytes


def load_patterns(path: str | Path, sources: dict[str, str] | None = None) -> list[TextPattern]:
    """The patterns in a file of rules, in the order of the text.

    `sources` receives the text, also when it has mistakes, for `dlir.textir.diagnostics.render`.  DlirError with all mistakes
    that were found, or if the file cannot be read.
    """
    name = str(path)
    text = decode(read_bytes(path), name)
    if sources is not None:
        sources[name] = text
    return parse_patterns(text, name)


def parse_patterns(text: str, file: str = "<rules>") -> list[TextPattern]:
    """The patterns in `text`; `file` is its name in diagnostics.  DlirError holds all mistakes that were found."""
    # Needed for text only; lark takes its time to import.
    from dlir.passes.patterns.check import check_rule
    from dlir.passes.patterns.parser import parse_rules

    source = Source(file, text)
    rules, problems = parse_rules(source)
    seen: dict[str, Rule] = {}
    for rule in rules:
        first = seen.setdefault(rule.name, rule)
        if first is not rule:
            note = Note("the first one is here", source.location(first.start))
            place = source.location(rule.start)
            problems.append(Diagnostic(f"pattern '@{rule.name}' is defined twice", place, notes=[note]))
        problems += check_rule(rule, source)
    if problems:
        raise DlirError(sorted(problems, key=_place))
    return compile_all(rules, source)


def compile_all(rules: Iterable[Rule], source: Source) -> list[TextPattern]:
    """The patterns of rules that have no mistakes."""
    return [compile_rule(rule, source.location(rule.start)) for rule in rules]


def _place(problem: Diagnostic) -> tuple[int, int]:
    place = problem.location
    return (place.line, place.column) if isinstance(place, FileLoc) else (0, 0)
