"""What ``dlir-opt`` shows of a run on stderr: the IR between passes, their times, what they counted."""

from __future__ import annotations

import difflib
import json
import sys
from typing import TYPE_CHECKING, Any

from dlir.frontends.cli.common import use_color
from dlir.passes.manager import Nested, Pass, PassManager, find_pass

if TYPE_CHECKING:
    from dlir.ir.dialects.builtin import Module

_COLORS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}


class IRPrinter:
    """Prints the module around passes: after each (``all``), where it changed (``changed``), or after the pass named.

    With `diff`, what changed is shown as a unified diff instead of the whole module.
    """

    def __init__(self, when: str, diff: bool) -> None:
        if when not in ("changed", "all"):
            find_pass(when)
        self.when = when
        self.diff = diff
        self.last: str | None = None

    def attach(self, manager: PassManager) -> None:
        """Be called by `manager`."""
        manager.before, manager.after = self._before, self._after

    def _before(self, item: Pass, module: Module) -> None:
        if self.last is None and (self.when == "changed" or self.diff):
            self.last = _text(module)

    def _after(self, item: Pass, module: Module) -> None:
        names = {item.name, *(inner.name for inner in item.passes)} if isinstance(item, Nested) else {item.name}
        text = _text(module)
        if self.when in ("changed", "all") or self.when in names:
            if self.when == "changed" and text == self.last:
                print(f"// ---- after {item}: unchanged", file=sys.stderr)
            else:
                print(f"// ---- after {item}", file=sys.stderr)
                print(self._difference(text) if self.diff else text, file=sys.stderr, end="")
        self.last = text

    def _difference(self, text: str) -> str:
        old = (self.last or "").splitlines(keepends=True)
        lines = list(difflib.unified_diff(old, text.splitlines(keepends=True), n=2))[2:]
        if use_color(sys.stderr):
            lines = [f"{_COLORS[line[0]]}{line}\033[0m" if line[0] in _COLORS else line for line in lines]
        return "".join(lines)


def _text(module: Module) -> str:
    from dlir.textir import to_text

    return to_text(module).rstrip("\n") + "\n"


def print_timing(manager: PassManager) -> None:
    """A table of the passes' times; those inside func(...) are indented under it."""
    total = sum(t.seconds for t in manager.timings if t.depth == 0) or 1e-9
    print(f"{'ms':>9}  {'%':>4}  {'ops':>15}  pass", file=sys.stderr)
    for t in manager.timings:
        ops = f"{t.ops_before} -> {t.ops_after}"
        name = "  " * t.depth + t.name
        print(f"{t.seconds * 1e3:9.2f}  {t.seconds / total:4.0%}  {ops:>15}  {name}", file=sys.stderr)
    print(f"{total * 1e3:9.2f}  100%  {'':>15}  total", file=sys.stderr)


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
