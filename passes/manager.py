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

from dlir.ir.collection import collection_paused
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.errors import DlirError
from dlir.ir.tables import Table, unknown
from dlir.ir.verifier import verify


class Pass:
    """Base of all passes.  `stats` counts what the pass did in this run."""

    name: ClassVar[str] = ""
    #: Whether `run` may be given a function instead of the module, as ``func(...)`` in a pipeline does.
    runs_on_functions: ClassVar[bool] = False
    stats: Counter[str]

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            cls.name = name

    def run(self, module: Any) -> None:
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


def option(
    default: Any, help: str, least: float | None = None, most: float | None = None, choices: Sequence[str] = ()
) -> Any:
    """A field that is an option: its default, one line of help, and what it may be."""
    return field(default=default, metadata={"help": help, "least": least, "most": most, "choices": tuple(choices)})


#: Pass name -> the module that defines it, in the order of the default pipeline.
PASSES = Table(
    "pass",
    "dlir.passes",
    {
        "bind-shapes": "dlir.passes.bind_shapes",
        "inline": "dlir.passes.inline",
        "differentiate": "dlir.passes.differentiate",
        "check-numerics": "dlir.passes.check_numerics",
        "lower-nn": "dlir.passes.lower_nn",
        "canonicalize": "dlir.passes.canonicalize",
        "cse": "dlir.passes.cse",
        "dce": "dlir.passes.dce",
        "recognise": "dlir.passes.recognise",
        "fold-scales": "dlir.passes.fold_scales",
        "layout": "dlir.passes.layout",
        "hoist-constants": "dlir.passes.hoist",
        "remat": "dlir.passes.remat",
        "fuse": "dlir.passes.fuse",
        "schedule": "dlir.passes.schedule",
        "reorder": "dlir.passes.reorder",
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
            if not dataclasses.is_dataclass(item):
                raise DlirError(
                    f"pass '{name}' of {PASSES.source(name)} is no dataclass", hint="write @dataclass above it"
                )
            return item
    raise DlirError(f"{PASSES.source(name)} does not define pass '{name}'")


def with_plugin(text: str) -> str:
    """A pass as it stands in a pipeline, in quotes, with the plugin that it comes from if there is one."""
    plugin = PASSES.plugins.get(text.partition("{")[0])
    return f"'{text}'" + (f" of plugin '{plugin}'" if plugin is not None else "")


# ---------------------------------------------------------------- running


@dataclass
class Nested(Pass):
    """Passes that run on one function after the other: ``func(...)`` in a pipeline."""

    passes: list[Pass]
    name: ClassVar[str] = "func"

    def __str__(self) -> str:
        return f"func({','.join(map(str, self.passes))})"


@dataclass
class Timing:
    """Seconds that one pass took, and the ops before and after it; `depth` counts the func(...) around it."""

    name: str
    seconds: float
    ops_before: int
    ops_after: int
    depth: int = 0


@dataclass
class PassManager:
    """Runs passes in order, verifying the module after each.

    `before` and `after` are called around each pass with (pass, module), `before_nested` and `after_nested` around each that
    stands inside func(...), with (pass, function); `timings` and the passes' `stats` tell what happened.
    """

    passes: list[Pass]
    verify_each: bool = True
    before: Callable[[Pass, Any], None] | None = None
    after: Callable[[Pass, Any], None] | None = None
    before_nested: Callable[[Pass, Any], None] | None = None
    after_nested: Callable[[Pass, Any], None] | None = None
    timings: list[Timing] = field(default_factory=list)
    #: Seconds that verifying took.
    verifying: float = 0.0

    @classmethod
    def from_text(cls, text: str, **options: Any) -> PassManager:
        """A manager for a textual pipeline."""
        from dlir.passes.pipeline_text import parse_pipeline

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
        timing = Timing(str(item), 0.0, _count_ops(module), 0)
        self.timings.append(timing)
        start = time.perf_counter()
        with collection_paused():
            if isinstance(item, Nested):
                self._run_nested(item, module)
            else:
                item.run(module)
        timing.seconds = time.perf_counter() - start
        timing.ops_after = _count_ops(module)
        if self.after is not None:
            self.after(item, module)
        self._verify(item, module)

    def _verify(self, item: Pass, root: Operation) -> None:
        """Raise BrokenModule if `item` left an invalid module or function."""
        start = time.perf_counter()
        problems = verify(root) if self.verify_each else ()
        self.verifying += time.perf_counter() - start
        if problems:
            raise BrokenModule(item, problems)

    def _run_nested(self, nested: Nested, module: Module) -> None:
        timings = [Timing(str(item), 0.0, 0, 0, depth=1) for item in nested.passes]
        self.timings += timings
        for item in nested.passes:
            item.stats = Counter()
        for function in [op for op in module.body.ops if op.name == "func.func"]:
            for item, timing in zip(nested.passes, timings, strict=True):
                self._run_on_function(item, function, timing)

    def _run_on_function(self, item: Pass, function: Operation, timing: Timing) -> None:
        if self.before_nested is not None:
            self.before_nested(item, function)
        timing.ops_before += _count_ops(function)
        counted, item.stats = item.stats, Counter()
        start = time.perf_counter()
        try:
            item.run(function)
        except Exception as error:
            if not isinstance(error, DlirError):
                error.add_note(f"in pass {with_plugin(item.name)} on '@{function.get('sym_name')}'")
            raise
        timing.seconds += time.perf_counter() - start
        item.stats.update(counted)
        timing.ops_after += _count_ops(function)
        if self.after_nested is not None:
            self.after_nested(item, function)
        self._verify(item, function)

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))


class BrokenModule(Exception):
    """A pass left a module that does not verify: a bug of the pass, not of its input."""

    def __init__(self, item: Pass, problems: Iterable[Any]) -> None:
        self.guilty = item.name
        self.problems = list(problems)
        super().__init__(f"pass '{item.name}' made the module invalid: " + "; ".join(map(str, self.problems[:3])))


def _count_ops(root: Operation) -> int:
    return sum(1 for _ in root.walk())
