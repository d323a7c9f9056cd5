"""What ``dlir-opt`` shows of a run on stderr: the IR between passes, their times, what they counted."""

from __future__ import annotations

import difflib
import json
import sys
from typing import TYPE_CHECKING, Any

from dlir.frontends.cli.common import use_color
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError, did_you_mean
from dlir.passes.manager import PASSES, Nested, Pass, PassManager

if TYPE_CHECKING:
    from dlir.ir.core import Operation

_WHENS = ("changed", "all")
_COLORS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}


class IRPrinter:
    """Prints the IR around passes: after each (``all``), where it changed (``changed``), or after those named (``fuse,cse``).

    That is the module, and the function for a pass inside func(...).  With `diff`, what changed is shown as a unified diff.
    """

    def __init__(self, when: str, diff: bool) -> None:
        self.names = [name.strip() for name in when.split(",")]
        for name in self.names if when not in _WHENS else ():
            if PASSES.find(name) is None:
                hint = did_you_mean(name, [*_WHENS, *PASSES.discover()])
                raise DlirError(
                    f"--print-ir: unknown pass '{name}'", hint=hint or "'changed', 'all' or names of passes"
                )
        self.when = when
        self.diff = diff
        #: What a pass is given -> its text before the pass.
        self.last: dict[Operation, str] = {}

    def attach(self, manager: PassManager) -> None:
        """Be called by `manager`."""
        manager.before, manager.after = self._before, self._after
        manager.before_nested, manager.after_nested = self._before, self._after

    def _before(self, item: Pass, root: Operation) -> None:
        if self.when == "changed" or self.diff:
            self.last[root] = _text(root)

    def _after(self, item: Pass, root: Operation) -> None:
        if isinstance(item, Nested) or not (self.when in _WHENS or item.name in self.names):
            return
        where = f" on @{root.symbol}" if isinstance(root, Func) else ""
        text = _text(root)
        if self.when == "changed" and text == self.last[root]:
            print(f"// ---- after {item}{where}: unchanged", file=sys.stderr)
        else:
            print(f"// ---- after {item}{where}", file=sys.stderr)
            print(self._difference(self.last[root], text) if self.diff else text, file=sys.stderr, end="")

    def _difference(self, before: str, text: str) -> str:
        old = before.splitlines(keepends=True)
        lines = list(difflib.unified_diff(old, text.splitlines(keepends=True), n=2))[2:]
        if use_color(sys.stderr):
            lines = [f"{_COLORS[line[0]]}{line}\033[0m" if line[0] in _COLORS else line for line in lines]
        return "".join(lines)


def _text(root: Operation) -> str:
    from dlir.textir import to_text

    return to_text(root).rstrip("\n") + "\n"


def print_timing(manager: PassManager, read: float, written: float | None) -> None:
    """A table of times: reading, the passes, with those inside func(...) indented under it, verifying, and writing if it
    came to that."""
    rows = [(read, "", "(read)")]
    rows += [(t.seconds, f"{t.ops_before} -> {t.ops_after}", "  " * t.depth + t.name) for t in manager.timings]
    rows += [(manager.verifying, "", "(verify after passes)")] if manager.verify_each else []
    rows += [(written, "", "(write)")] if written is not None else []
    nested = sum(t.seconds for t in manager.timings if t.depth)
    total = sum(seconds for seconds, _, _ in rows) - nested or 1e-9
    print(f"{'ms':>9}  {'%':>4}  {'ops':>15}  pass", file=sys.stderr)
    for seconds, ops, name in [*rows, (total, "", "total")]:
        print(f"{seconds * 1e3:9.2f}  {seconds / total:4.0%}  {ops:>15}  {name}", file=sys.stderr)


def print_stats(manager: PassManager, form: str) -> None:
    """What each pass counted, as text or as JSON."""
    passes: list[Pass] = []
    for item in manager.passes:
        passes += item.passes if isinstance(item, Nested) else [item]
    counted: list[dict[str, Any]] = [{"pass": str(item), "stats": dict(getattr(item, "stats", {}))} for item in passes]
    if form == "json":
        print(json.dumps(counted), file=sys.stderr)
        return
    for entry in counted:
        listed = ", ".join(f"{key} {value}" for key, value in entry["stats"].items())
        print(f"{entry['pass']}: {listed or 'nothing'}", file=sys.stderr)
