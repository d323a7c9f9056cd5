"""The essay's claims, each held against what is measured now: ``python benchmarks/essay.py``.

Every row is a file of ``tests/essay/``: what is promised stands in its docstring, its tests say what they measured, and the row
is ok if all of them pass.  Rows that have no file yet are listed below the table.

    python benchmarks/essay.py [ROW...]        all rows, or some: S6 S14
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent / "tests" / "essay"
ROWS = 37
_PROMISED, _MEASURED = 46, 62


@dataclass
class Row:
    """One claim."""

    id: str
    promised: str
    measured: list[str] = field(default_factory=list)
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0

    @property
    def verdict(self) -> str:
        """``yes`` if something was shown and nothing failed."""
        return "NO" if self.failed else "yes" if self.passed else "skipped"

    def text(self) -> str:
        """The row as lines of a table."""
        shown = self.measured or [f"{self.passed} checks pass"]
        if self.failed:
            shown = [f"{len(self.failed)} of {self.passed + len(self.failed)} checks fail", *self.failed]
        found = [line for item in shown for line in textwrap.wrap(item, _MEASURED)]
        promised = textwrap.wrap(self.promised, _PROMISED)
        lines = max(len(found), len(promised))
        cells = zip(
            [self.id, *[""] * (lines - 1)],
            promised + [""] * (lines - len(promised)),
            found + [""] * (lines - len(found)),
            [self.verdict, *[""] * (lines - 1)],
            strict=True,
        )
        return "\n".join(
            f"{id:4} {left:{_PROMISED}}  {right:{_MEASURED}}  {ok}".rstrip() for id, left, right, ok in cells
        )


class Collector:
    """A pytest plugin that sorts what happens by row."""

    def __init__(self, rows: dict[Path, Row]) -> None:
        self.rows = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self.rows.get(TESTS / Path(report.fspath).name)
        if row is None:
            return
        if report.failed:
            row.failed.append(report.nodeid.partition("::")[2])
        elif report.skipped:
            row.skipped += 1
        elif report.when == "call":
            row.passed += 1
            found = [str(text) for name, text in report.user_properties if name == "measured"]
            row.measured = list(dict.fromkeys([*row.measured, *found]))


def read_rows() -> dict[Path, Row]:
    """The rows that have tests, by file, in order."""
    rows = {}
    for path in sorted(TESTS.glob("test_s*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        id, _, promised = docstring.split("\n\n")[0].replace("\n", " ").partition(": ")
        rows[path] = Row(id.split(",")[0], promised)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these, as in S6 S14")
    args = parser.parse_args()
    known = read_rows()
    wanted = {path: row for path, row in known.items() if not args.rows or row.id in args.rows}
    if unknown := set(args.rows) - {row.id for row in known.values()}:
        parser.error(f"no tests for {', '.join(sorted(unknown))}")
    chatter = io.StringIO()
    with contextlib.redirect_stdout(chatter):
        status = pytest.main(["-n0", "-q", "-p", "no:cacheprovider", *map(str, wanted)], plugins=[Collector(wanted)])
    print(f"{'id':4} {'promised':{_PROMISED}}  {'measured':{_MEASURED}}  ok")
    for row in wanted.values():
        print(row.text())
    if not args.rows:
        numbers = {int(row.id[1:]) for row in known.values()}
        missing = [f"S{number}" for number in range(1, ROWS + 1) if number not in numbers]
        print(f"\n{len(numbers)} of {ROWS} rows stand; not yet: {', '.join(missing) or 'none'}")
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        print(chatter.getvalue(), file=sys.stderr)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
