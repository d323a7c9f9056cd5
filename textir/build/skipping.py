"""Going on behind a piece of text that could not be read."""

from __future__ import annotations

import re

from dlir.ir.builder import InsertionPoint
from dlir.ir.core import UnregisteredOp
from dlir.textir.build.base import Token
from dlir.textir.build.making import UNKNOWN_OP, MakingActions, result_names
from dlir.textir.build.types import POISON
from dlir.textir.gap import Gap
from dlir.textir.source import Source

#: A name, or the sign of one that is missing.
_NAMED = re.compile(r"[%@^#!][\w$.-]*", re.ASCII)
#: The name of a result or an argument without its sign.
_BARE = re.compile(r"(?:^|[(,])\s*(\w+)\s*[=:]", re.ASCII)
_RESULTS = re.compile(r"%[\w$.-]+(?:\s*:\s*\d+)?(?:\s*,\s*%[\w$.-]+(?:\s*:\s*\d+)?)*\s*=(?!=)", re.ASCII)
_ARGUMENT = re.compile(r"%([\w$.-]+)\s*[:=](?![:=])", re.ASCII)


class SkippingActions(MakingActions):
    """What happens to the IR around a piece of text that is passed over.

    Nothing that follows from not knowing that piece is reported: its names may be used, and mean anything.
    """

    def __init__(self, source: Source, point: InsertionPoint) -> None:
        super().__init__(source, point)
        #: Where the ops stand that could not be read and whose regions are read next.
        self._openers: list[tuple[int, int]] = []

    def pass_over(self, gap: Gap) -> None:
        """Leave out a piece of the text."""
        while len(self.frames) > gap.regions + 1:
            self.frames.pop().leave()
        del self.heads[gap.heads :]
        self.entry_arguments = []
        self.frame = self.frames[-1]
        region = self.frame.region
        self.point.block = region.blocks[-1] if region.blocks else self.frame.entry
        start = gap.start
        text = self.source.text[start : gap.end]
        self.passed_over.update(_NAMED.findall(text))
        self.passed_over.update(f"%{name}" for name in _BARE.findall(text))
        self._reported = len(self.diagnostics)
        self._openers = [(start, gap.end)] * gap.opens
        if text.startswith("^"):
            self._assume(_ARGUMENT.findall(text), start)
        results = _RESULTS.match(text)
        for name, count in result_names((results[0], start)) if results is not None else ():
            self._assume([name, *(f"{name}#{index}" for index in range(min(count, 64) if count > 1 else 0))], start)

    def region_open(self, brace: Token) -> None:
        if not self._openers:
            super().region_open(brace)
            return
        self.heads[-1] = self.heads[-1]._replace(info=UNKNOWN_OP)
        super().region_open(brace)
        start, end = self._openers.pop()
        self._assume(_ARGUMENT.findall(self.source.text[start:end]), start)

    def _assume(self, names: list[str], start: int) -> None:
        """Define names as values of which nothing is known."""
        op = UnregisteredOp("dlir.error", result_types=(POISON,) * len(names))
        for name, result in zip(names, op.results, strict=True):
            if name not in self.frame.values:
                self.define(name, result, start)
