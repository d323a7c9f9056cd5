"""The grammar run by lark itself: the yardstick for dlir's own driver."""

from __future__ import annotations

from typing import Any

import lark
from lark.utils import TextSlice

from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Block
from dlir.ir.errors import DlirError
from dlir.ir.location import UNKNOWN
from dlir.textir.build.module import ModuleActions
from dlir.textir.grammar import STARTS, grammar_text, lark_options
from dlir.textir.source import Source


class _Adapter:
    """The actions as a lark transformer."""

    actions: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if not name.isupper():
            return lambda parts: getattr(self.actions, name)(*parts)

        def convert(token: lark.Token) -> Any:
            action = getattr(self.actions, name, None)
            pair = (str(token), token.start_pos)
            return pair if action is None else action(*pair)

        return convert


class StockParser:
    """Parses a text with lark's own lexer and LALR loop, with or without the grammar's short-cuts."""

    def __init__(self, short_cuts: bool) -> None:
        self._adapter = _Adapter()
        options = lark_options(STARTS)
        self._lark = lark.Lark(grammar_text(short_cuts), transformer=self._adapter, **options)

    def parse(self, text: str) -> Any:
        """The module; lark's UnexpectedInput or DlirError for a wrong text."""
        point = InsertionPoint(Block(), None, UNKNOWN)
        actions = ModuleActions(Source("<input>", text), point)
        actions.subparse = lambda start, begin, end: self._lark.parse(TextSlice(text, begin, end), start=start)
        self._adapter.actions = actions
        with insertion_point(point):
            self._lark.parse(text, start="start")
            module = actions.finish()
        if actions.diagnostics:
            raise DlirError(actions.diagnostics)
        return module
