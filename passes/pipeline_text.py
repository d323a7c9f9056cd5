"""Pipelines as text: ``"lower-nn,func(canonicalize,cse),fuse{max-ops=8}"``.

``func(...)`` runs what is inside on one function after the other; ``module(...)`` may stand around the whole.  MLIR's
spellings ``func.func`` and ``builtin.module`` mean the same.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable
from typing import Any

from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.location import FileLoc
from dlir.passes.manager import PASSES, Nested, Pass, find_pass

_TOKEN = re.compile(r"\s*(?:([^\s,{}()]+)|\{([^{}]*)\}|([,(){}]))")

#: Words before a parenthesis -> what they anchor to.
ANCHORS = {"func": "func", "func.func": "func", "module": "module", "builtin.module": "module"}


#: The name that a pipeline's text has in diagnostics.
PIPELINE = "<pipeline>"


def parse_pipeline(text: str) -> list[Pass]:
    """The passes that a pipeline text names; DlirError that says which word is wrong, placed in the file `PIPELINE`."""
    reader = _Reader(text)
    try:
        return reader.read()
    except DlirError as error:
        start, end = reader.token
        before = text[:start]
        line, column = before.count("\n") + 1, start - before.rfind("\n")
        raise error.at(FileLoc(PIPELINE, line, column, (line, column + max(end - start, 1)))) from None


class _Reader:
    """Reads a pipeline with a stack of open parentheses."""

    def __init__(self, text: str) -> None:
        self.text = text
        #: Where the token in hand stands, which an error is about.
        self.token = (0, 0)
        #: The anchor and the passes so far of each open parenthesis, outermost (the whole pipeline) first.
        self.open: list[tuple[str, list[Pass], tuple[int, int]]] = [("module", [], (0, 0))]
        #: What was read last: "start", "pass" or ",".
        self.last = "start"

    def read(self) -> list[Pass]:
        position = 0
        end = len(self.text.rstrip())
        while position < end:
            token = _TOKEN.match(self.text, position)
            assert token is not None
            position = token.end()
            self.token = (position - len(token[0].lstrip()), position)
            if token[1] is not None:
                position = self._word(token[1], position)
            else:
                self._sign(token[0].strip()[0])
        if self.last == ",":
            self.token = (end - 1, end)
            raise DlirError("a pass name is missing at the end of the pipeline", hint="remove the last ','")
        if len(self.open) > 1:
            self.token = self.open[-1][2]
            raise DlirError(f"'{self.open[-1][0]}(' is never closed in the pipeline")
        return self.open[0][1]

    def _word(self, word: str, position: int) -> int:
        """A pass with its options, or an anchor with its parenthesis; returns where to read on."""
        if self.last == "pass":
            raise DlirError(f"expected ',' before '{word}' in the pipeline")
        following = _TOKEN.match(self.text, position)
        if following is not None and following[3] == "(":
            if word not in ANCHORS:
                is_pass = PASSES.find(word) is not None
                hint = f"options stand in braces: {word}{{...}}" if is_pass else did_you_mean(word, ANCHORS)
                raise DlirError(f"'{word}' holds no passes: only func(...) and module(...) do", hint=hint)
            self.open.append((ANCHORS[word], [], self.token))
            self.last = "start"
            return following.end()
        separator = next((sign for sign in ";:|+" if sign in word), None)
        if separator is not None:
            raise DlirError(f"unexpected '{separator}' in '{word}'", hint="passes are separated by ','")
        if word in ANCHORS:
            raise DlirError(f"'{word}' holds passes and is none itself", hint=f"write {word}(...), as in {word}(cse)")
        find_pass(word)
        if following is not None and following[2] is not None:
            named, base = self.token, following.start(2)
            made = make_pass(word, following[2], lambda start, end: self._at(base + start, base + end))
            self.token = named
            self._add(made)
            return following.end()
        if following is not None and following[3] == "{":
            raise DlirError(f"the '{{' after '{word}' is never closed in the pipeline")
        self._add(make_pass(word))
        return position

    def _at(self, start: int, end: int) -> None:
        self.token = (start, end)

    def _add(self, item: Pass) -> None:
        if self.open[-1][0] == "func" and isinstance(item, Nested):
            raise DlirError("func(...) cannot stand in func(...): functions hold no functions")
        if self.open[-1][0] == "func" and not item.runs_on_functions:
            raise DlirError(f"pass '{item.name}' needs the whole module: it cannot stand in func(...)")
        self.open[-1][1].append(item)
        self.last = "pass"

    def _sign(self, sign: str) -> None:
        if sign == ",":
            if self.last != "pass":
                raise DlirError("a pass name is missing before ',' in the pipeline", hint="remove the extra ','")
            self.last = ","
        elif sign == ")":
            if len(self.open) == 1:
                raise DlirError("the pipeline has a ')' that closes nothing")
            if self.last == ",":
                raise DlirError("a pass name is missing before ')' in the pipeline", hint="remove the last ','")
            anchor, passes, self.token = self.open.pop()
            if anchor == "func":
                self._add(Nested(passes))
            else:
                self.open[-1][1].extend(passes)
            self.last = "pass"
        elif sign == "}":
            raise DlirError("the pipeline has a '}' with no '{' before it")
        else:
            raise DlirError(f"'{sign}' in the pipeline does not follow a name")


def make_pass(name: str, options: str = "", look_at: Callable[[int, int], None] = lambda start, end: None) -> Pass:
    """The pass called `name` with its options as text: ``"max-ops=8 other=x"``, separated by blanks or commas.

    `look_at` is told where in `options` each one stands, before it is read.
    """
    cls = find_pass(name)
    fields = {item.name.replace("_", "-"): item for item in dataclasses.fields(typing.cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    apart = re.search(r"([^\s,=]*)(?:\s+=\s*|=\s+)([^\s,]+)", options)
    if apart is not None:
        look_at(*apart.span())
        raise DlirError("no blanks stand around the '=' of an option", hint=f"write {apart[1]}={apart[2]}")
    for match in re.finditer(r"[^\s,]+", options):
        look_at(*match.span())
        key, equals, text = match[0].partition("=")
        if key not in fields:
            hint = did_you_mean(key, fields)
            hint = hint or (f"options of '{name}': {', '.join(fields)}" if fields else f"'{name}' has no options")
            raise DlirError(f"pass '{name}' has no option '{key}'", hint=hint)
        item = fields[key]
        if item.name in values:
            raise DlirError(f"option '{key}' of pass '{name}' is given twice")
        values[item.name] = _value(f"option '{key}' of pass '{name}'", item, hints[item.name], text if equals else None)
    return cls(**values)


def _value(what: str, item: Any, hint: Any, text: str | None) -> Any:
    """The value of an option from its text, checked against its type, choices and range."""
    if hint is bool:
        if text in (None, "true", "1"):
            return True
        if text in ("false", "0"):
            return False
        raise DlirError(f"{what} must be true or false, got '{text}'")
    if text is None:
        raise DlirError(f"{what} needs a value")
    choices = item.metadata.get("choices", ())
    if hint is str:
        if choices and text not in choices:
            raise DlirError(
                f"{what} must be one of {', '.join(choices)}; got '{text}'", hint=did_you_mean(text, choices)
            )
        return text
    if hint not in (int, float):
        raise DlirError(f"{what} cannot be given in a text: it is declared as {getattr(hint, '__name__', hint)}")
    text = text if len(text) <= 60 else f"{text[:57]}..."
    try:
        value = hint(text)
    except ValueError:
        words = "a whole number" if hint is int else "a number"
        raise DlirError(f"{what} must be {words}, got '{text}'") from None
    least, most = item.metadata.get("least"), item.metadata.get("most")
    if least is not None and value < least:
        raise DlirError(f"{what} must be at least {least}, got {text}")
    if most is not None and value > most:
        raise DlirError(f"{what} must be at most {most}, got {text}")
    return value
