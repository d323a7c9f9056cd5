"""Passes, textual pipelines, and the manager that runs them.

A pass is a dataclass: its fields are the options, its docstring the help.

    @dataclass
    class Fuse(Pass, name="fuse"):
        '''Group array ops into kernels.'''

        max_ops: int = option(32, "ops in one kernel at most", least=1)

        def run(self, module: Module) -> None:
            self.stats["kernels"] += 1

In a pipeline the option is written ``max-ops``: ``"lower-nn,fuse{max-ops=8},plan-memory"``.
"""

from __future__ import annotations

import dataclasses
import time
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlir.ir.dialects.builtin import Module
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.tables import Table, unknown
from dlir.ir.verifier import verify


class Pass:
    """Base of all passes.  `stats` counts what the pass did in this run."""

    name: ClassVar[str] = ""
    stats: Counter[str]

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            cls.name = name

    def run(self, module: Module) -> None:
        """Change `module` in place."""
        raise TypeError(f"pass '{self.name}' does not define run")

    def __str__(self) -> str:
        """The pass as it is written in a pipeline, with the options that differ from their defaults."""
        parts = []
        for item in dataclasses.fields(typing.cast(Any, self)):
            value = getattr(self, item.name)
            if value != item.default:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                parts.append(f"{item.name.replace('_', '-')}={text}")
        return self.name + ("{" + " ".join(parts) + "}" if parts else "")


def option(default: Any, help: str, least: int | None = None, choices: Sequence[str] = ()) -> Any:
    """A field that is an option: its default, one line of help, and what it may be."""
    return field(default=default, metadata={"help": help, "least": least, "choices": tuple(choices)})


#: Pass name -> the module that defines it, in the order of the default pipeline.
PASSES = Table(
    "pass",
    "dlir.passes",
    {
        "bind-shapes": "dlir.passes.bind_shapes",
        "inline": "dlir.passes.inline",
        "lower-nn": "dlir.passes.lower_nn",
        "canonicalize": "dlir.passes.canonicalize",
        "cse": "dlir.passes.cse",
        "dce": "dlir.passes.dce",
        "fuse": "dlir.passes.fuse",
        "schedule": "dlir.passes.schedule",
        "bufferize": "dlir.passes.bufferize",
        "plan-memory": "dlir.passes.plan_memory",
        "lower-kernels": "dlir.passes.lower_kernels",
        "map": "dlir.passes.map",
    },
)


def find_pass(name: str) -> type[Pass]:
    """The class of the pass called `name`; DlirError with a suggestion if there is none."""
    if PASSES.find(name) is None:
        raise unknown(PASSES, name)
    found = PASSES.load(name)
    for item in (found, *vars(found).values()):
        if isinstance(item, type) and issubclass(item, Pass) and item.name == name:
            return item
    raise DlirError(f"{PASSES.source(name)} does not define pass '{name}'")


# ---------------------------------------------------------------- textual pipelines


def parse_pipeline(text: str) -> list[Pass]:
    """The passes that a pipeline text names; DlirError that says which word is wrong."""
    return [_make_pass(name, options) for name, options in split_pipeline(text)]


def split_pipeline(text: str) -> list[tuple[str, str]]:
    """``"a,b{x=1 y=2},c"`` as ``[("a", ""), ("b", "x=1 y=2"), ("c", "")]``."""
    items: list[tuple[str, str]] = []
    start = position = 0
    while position <= len(text):
        char = text[position : position + 1]
        if char == "{":
            close = text.find("}", position)
            if close < 0:
                raise DlirError(f"the pipeline's '{{' after '{text[start:position].strip()}' is never closed")
            following = text[close + 1 :].lstrip()
            if following and following[0] != ",":
                raise DlirError(f"expected ',' after '{text[start : close + 1].strip()}' in the pipeline")
            items.append((text[start:position].strip(), text[position + 1 : close]))
            position = len(text) - len(following) + 1
            start = position
            if not following:
                break
        elif char in (",", ""):
            name = text[start:position].strip()
            if name:
                items.append((name, ""))
            elif char == "," or (items and text.rstrip().endswith(",")):
                raise DlirError("a pass name is missing in the pipeline", hint="remove the extra ','")
            position += 1
            start = position
        elif char == "}":
            raise DlirError(f"the pipeline has a '}}' with no '{{' after '{text[start:position].strip()}'")
        else:
            position += 1
    return items


def _make_pass(name: str, options: str) -> Pass:
    cls = find_pass(name)
    fields = {item.name.replace("_", "-"): item for item in dataclasses.fields(typing.cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for word in options.replace(",", " ").split():
        key, equals, text = word.partition("=")
        if key not in fields:
            known = ", ".join(fields) or "none"
            hint = did_you_mean(key, fields) or f"options of '{name}': {known}"
            raise DlirError(f"pass '{name}' has no option '{key}'", hint=hint)
        if fields[key].name in values:
            raise DlirError(f"option '{key}' of pass '{name}' is given twice")
        item = fields[key]
        values[item.name] = _convert(name, item, hints[item.name], text if equals else None)
    return cls(**values)


def _convert(name: str, item: Any, hint: Any, text: str | None) -> Any:
    key = item.name.replace("_", "-")
    if hint is bool:
        if text in (None, "true", "1"):
            return True
        if text in ("false", "0"):
            return False
        raise DlirError(f"option '{key}' of pass '{name}' must be true or false, got '{text}'")
    if text is None:
        raise DlirError(f"option '{key}' of pass '{name}' needs a value")
    if hint is str:
        choices = item.metadata.get("choices", ())
        if choices and text not in choices:
            listed = ", ".join(choices)
            raise DlirError(f"option '{key}' of pass '{name}' must be one of {listed}; got '{text}'")
        return text
    try:
        value = hint(text)
    except ValueError:
        raise DlirError(f"option '{key}' of pass '{name}' must be of type {hint.__name__}, got '{text}'") from None
    least = item.metadata.get("least")
    if least is not None and value < least:
        raise DlirError(f"option '{key}' of pass '{name}' must be at least {least}, got {text}")
    return value


# ---------------------------------------------------------------- running


@dataclass
class Timing:
    """Seconds that one pass took, and the ops before and after it."""

    name: str
    seconds: float
    ops_before: int
    ops_after: int


@dataclass
class PassManager:
    """Runs passes in order, verifying the module after each.

    `before` and `after` are called around each pass with (pass, module); `timings` and the passes' `stats` tell
    what happened.
    """

    passes: list[Pass]
    verify_each: bool = True
    before: Callable[[Pass, Module], None] | None = None
    after: Callable[[Pass, Module], None] | None = None
    timings: list[Timing] = field(default_factory=list)

    @classmethod
    def from_text(cls, text: str, **options: Any) -> PassManager:
        """A manager for a textual pipeline."""
        return cls(parse_pipeline(text), **options)

    def run(self, module: Module) -> Module:
        """Run all passes on `module`, in place, and return it."""
        for item in self.passes:
            self.run_pass(item, module)
        return module

    def run_pass(self, item: Pass, module: Module) -> None:
        """Run one pass."""
        item.stats = Counter()
        if self.before is not None:
            self.before(item, module)
        ops = _count_ops(module)
        start = time.perf_counter()
        item.run(module)
        self.timings.append(Timing(str(item), time.perf_counter() - start, ops, _count_ops(module)))
        if self.after is not None:
            self.after(item, module)
        if self.verify_each:
            problems = verify(module)
            if problems:
                raise BrokenModule(item, problems)

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))


class BrokenModule(Exception):
    """A pass left a module that does not verify: a bug of the pass, not of its input."""

    def __init__(self, item: Pass, problems: Iterable[Any]) -> None:
        self.guilty = item.name
        self.problems = list(problems)
        super().__init__(f"pass '{item.name}' made the module invalid: " + "; ".join(map(str, self.problems[:3])))


def _count_ops(module: Module) -> int:
    return sum(1 for _ in module.walk())
