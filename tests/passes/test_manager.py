"""Textual pipelines and the pass manager."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.ops import func, nd
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PASSES, BrokenModule, Nested, Pass, PassManager, find_pass
from dlir.passes.pipeline_text import parse_pipeline
from dlir.passes.pipelines import PIPELINES, pipeline_for


def test_a_pipeline_prints_as_it_was_written():
    text = "lower-nn,canonicalize{max-rewrites=500},fuse{max-ops=32},map{target=cuda}"
    again = str(PassManager.from_text(" lower-nn , canonicalize{ max-rewrites=500 },fuse{max-ops=32},map{target=cuda}"))
    assert again == str(PassManager.from_text(text))


@pytest.mark.parametrize(
    "text,message,hint",
    [
        ("lower-nm", "unknown pass 'lower-nm'", "lower-nn"),
        ("fuse{max-opps=3}", "has no option 'max-opps'", "max-ops"),
        ("fuse{max-ops=many}", "must be a whole number, got 'many'", None),
        ("fuse{max-ops=0}", "must be at least 1", None),
        ("fuse{max-ops}", "needs a value", None),
        ("fuse{max-ops=1 max-ops=2}", "given twice", None),
        ("fuse{max-ops=1", "never closed", None),
        ("fuse}", "no '{'", None),
        ("func(cse", "'func(' is never closed", None),
        ("cse)", "closes nothing", None),
        ("func(cse,)", "missing before ')'", None),
        ("func(bufferize)", "needs the whole module", None),
        ("fuse(cse)", "holds no passes", None),
        ("cse dce", "expected ',' before 'dce'", None),
        ("(cse)", "does not follow a name", None),
        ("cse,,dce", "pass name is missing", None),
        ("cse,", "pass name is missing", None),
        ("fuse{max-ops=1}dce", "expected ','", None),
        ("map{target=tpu}", "must be one of", None),
    ],
)
def test_a_wrong_pipeline_says_what_is_wrong(text, message, hint):
    with pytest.raises(DlirError) as caught:
        parse_pipeline(text)
    assert message in caught.value.message
    assert hint is None or hint in caught.value.diagnostics[0].hint


def test_nesting_runs_on_functions_and_prints_as_written():
    manager = PassManager.from_text("builtin.module(inline,func.func(canonicalize{seed=2},cse))")
    assert str(manager) == "inline,func(canonicalize{seed=2},cse)"
    module = Module.empty()
    for name in ("f", "g"):
        function = Func.make(name, [TensorType((2,), F32)])
        module.body.append(function)
        with at_end(function.body):
            nd.exp(nd.exp(function.body.args[0]))
            func.return_()
    manager.run(module)
    assert [len(list(op.body.ops)) for op in module.body.ops] == [1, 1]
    assert [(t.name, t.depth) for t in manager.timings][2:] == [("canonicalize{seed=2}", 1), ("cse", 1)]
    assert manager.passes[1].passes[0].stats["dead"] == 4


def functions(*names: str) -> Module:
    """A module of functions, each with an op twice."""
    module = Module.empty()
    for name in names:
        function = Func.make(name, [TensorType((2,), F32)])
        module.body.append(function)
        with at_end(function.body):
            nd.add(nd.exp(function.body.args[0]), nd.exp(function.body.args[0]))
            func.return_()
    return module


def test_what_passes_count_on_several_functions_is_added_up():
    manager = PassManager.from_text("func(cse)")
    manager.run(functions("f", "g"))
    assert manager.passes[0].passes[0].stats["merged"] == 2


def test_passes_on_functions_are_watched_one_by_one():
    seen = []
    manager = PassManager.from_text("func(cse,dce),dce")
    manager.after = lambda item, root: seen.append((item.name, root.name))
    manager.after_nested = lambda item, root: seen.append((item.name, root.symbol))
    manager.run(functions("f", "g"))
    wanted = [
        ("cse", "f"),
        ("dce", "f"),
        ("cse", "g"),
        ("dce", "g"),
        ("func", "builtin.module"),
        ("dce", "builtin.module"),
    ]
    assert seen == wanted


@dataclass
class Thief(Pass, name="thief"):
    """Takes away what functions return with."""

    runs_on_functions = True

    def run(self, function):
        function.body.terminator.erase()


@dataclass
class Stumbler(Pass, name="stumbler"):
    """Fails."""

    runs_on_functions = True

    def run(self, function):
        raise ZeroDivisionError("oh no")


def test_a_pass_on_functions_that_breaks_one_is_named_itself():
    manager = PassManager([Nested([find_pass("cse")(), Thief(), find_pass("dce")()])])
    with pytest.raises(BrokenModule, match="pass 'thief' made the module invalid"):
        manager.run(functions("f"))
    with pytest.raises(ZeroDivisionError) as caught:
        PassManager([Nested([Stumbler(), find_pass("dce")()])]).run(functions("f", "g"))
    assert caught.value.__notes__ == ["in pass 'stumbler' on '@f'"]


def test_an_empty_pipeline_has_no_passes():
    assert parse_pipeline("") == [] and parse_pipeline("  ") == []


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_has_its_name_and_help(name):
    cls = find_pass(name)
    assert cls.name == name and cls.__doc__ and "dataclass" not in cls.__doc__


@pytest.mark.parametrize("level", PIPELINES)
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_named_pipelines_parse(level, target):
    parse_pipeline(pipeline_for(level, target))


def test_a_pass_that_breaks_the_module_is_named():
    @dataclass
    class Vandal(Pass, name="vandal"):
        """Makes an invalid module."""

        def run(self, module):

            module.body.append(Func.make("f", []))

    with pytest.raises(BrokenModule, match="vandal"):
        PassManager([Vandal()]).run(Module.empty())
