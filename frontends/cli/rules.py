"""Rules in a file of one's own: ``--patterns`` applies them, ``--check-patterns`` tries them on random programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from dlir.frontends.cli.common import OK

if TYPE_CHECKING:
    from dlir.passes.manager import Pass, PassManager


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the command line of dlir-opt."""
    parser.add_argument(
        "--patterns", action="append", default=[], metavar="FILE", help="rules for canonicalize to apply as well"
    )
    parser.add_argument(
        "--check-patterns",
        action="append",
        default=[],
        metavar="FILE",
        help="try each rule of a file on random programs and inputs, and do nothing else",
    )


def use_patterns(manager: PassManager, paths: Sequence[str], sources: dict[str, str]) -> None:
    """Let every ``canonicalize`` of a pipeline apply the rules in these files as well.

    DlirError if there is none, or for rules that make no sense; `sources` receives their texts.
    """
    if not paths:
        return
    from dlir.ir.errors import DlirError
    from dlir.passes.canonicalize import Canonicalize
    from dlir.passes.patterns import load_patterns

    patterns = [pattern for path in paths for pattern in load_patterns(path, sources)]
    found = [item for item in _flat(manager.passes) if isinstance(item, Canonicalize)]
    if not found:
        raise DlirError("--patterns adds rules to canonicalize, which no pass here is", hint="add -p canonicalize")
    for item in found:
        item.patterns = patterns


def _flat(passes: Iterable[Pass]) -> Iterator[Pass]:
    from dlir.passes.manager import Nested

    for item in passes:
        if isinstance(item, Nested):
            yield from _flat(item.passes)
        else:
            yield item


def check(paths: Iterable[str], sources: dict[str, str]) -> int:
    """Check the rules in these files and print a line for each; DlirError tells all that are wrong."""
    from dlir.ir.errors import DlirError
    from dlir.passes.patterns.proof import check_patterns

    problems = []
    for path in paths:
        report = check_patterns(path, sources=sources)
        print(report if report.verdicts else f"{path}: no rules")
        problems += report.problems
    sys.stdout.flush()
    if problems:
        raise DlirError(problems)
    return OK
