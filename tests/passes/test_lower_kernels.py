"""lower-kernels as a conversion: one function for equal kernels, and all or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from support.buffers import make_function, region

from dlir.backends.ref.reference import Reference
from dlir.ir.attributes import DenseElementsAttr, StringAttr
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError
from dlir.ir.location import FileLoc
from dlir.ir.ops import nd
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import F32, TensorType
from dlir.passes.manager import PassManager
from dlir.textir import to_text

ROWS = TensorType((2, 3), F32)
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def run(module, pipeline):
    manager = PassManager.from_text(pipeline)
    manager.run(module)
    return dict(manager.passes[-1].stats)


def two_exps_and_a_negation(x):
    return region(nd.neg, region(nd.exp, x)), region(nd.exp, x)


def calls(module):
    return [op["callee"] for op in module.walk() if op.name == "func.call"]


def test_equal_kernels_are_one_function_whatever_they_work_on():
    module = make_function([ROWS], two_exps_and_a_negation)
    stats = run(module, "bufferize,lower-kernels")
    assert stats["kernels"] + stats["shared"] == 3 and stats["shared"] == 1
    assert calls(module) == ["kernel_0", "kernel_1", "kernel_0"]
    assert [op.symbol for op in module.body.ops] == ["main", "kernel_0", "kernel_1"]
    assert all("dlir.kernel" in op.attributes for op in list(module.body.ops)[1:])
    results = Reference(module).run("main", [X])
    assert np.allclose(results[0], -np.exp(X)) and np.allclose(results[1], np.exp(X))


def test_kernels_with_another_schedule_or_constant_are_not_equal():
    def add(x, number):
        constant = DenseElementsAttr(np.full((2, 3), number, np.float32))
        return region(lambda a: nd.add(a, nd.constant(value=constant)), x)

    def body(x):
        return add(x, 1), add(x, 2), add(x, 1)

    module = make_function([ROWS], body)
    assert run(module, "bufferize,lower-kernels")["kernels"] == 2
    assert calls(module) == ["kernel_0", "kernel_1", "kernel_0"]
    module = make_function([ROWS], lambda x: (region(nd.exp, x), region(nd.exp, x)))
    module.body.first.body.first.attributes["schedule"] = StringAttr("flat")
    stats = run(module, "bufferize,lower-kernels")
    assert (stats["kernels"], stats["shared"]) == (2, 0)


def test_names_that_are_taken_are_left_alone():
    module = make_function([ROWS], two_exps_and_a_negation)
    module.body.append(Func.make("kernel_0", [], private=True))
    module.body.last.regions[0].blocks.clear()
    run(module, "bufferize,lower-kernels")
    assert calls(module) == ["kernel_1", "kernel_2", "kernel_1"]


def test_a_kernel_that_writes_nothing_is_gone():
    empty = TensorType((0, 3), F32)
    module = make_function([empty], lambda x: region(nd.exp, x))
    assert run(module, "bufferize,lower-kernels")["empty"] == 1
    assert [op.name for op in module.walk()] == ["builtin.module", "func.func", "func.return"]


def test_no_kernels_are_left_and_again_there_is_nothing_to_do():
    module = make_function([ROWS], two_exps_and_a_negation)
    run(module, "bufferize,lower-kernels")
    assert not any(op.name.startswith("kernel.") for op in module.walk())
    again = clone(module)
    assert not any(run(again, "lower-kernels").values())
    assert structurally_equal(module, again)


def test_kernels_without_buffers_are_refused_with_what_to_do():
    module = make_function([ROWS], lambda x: region(nd.exp, x))
    module.body.first.body.first.location = FileLoc("a.dlir", 2, 3)
    with pytest.raises(DlirError, match=r"a.dlir:2:3: .*'kernel.region' stayed illegal") as caught:
        run(module, "lower-kernels")
    (found,) = caught.value.diagnostics
    (note,) = found.notes
    assert note.message == "pattern 'kernel-to-call' was tried: it has no buffers: run 'bufferize' first"


def test_a_kernel_that_cannot_be_lowered_takes_the_others_back():
    # softmax is written out as smaller ops on the way.
    module = make_function([ROWS], lambda x: (region(nd.softmax, x), region(nd.exp, x)))
    run(module, "bufferize")
    last = [op for op in module.walk() if op.name == "kernel.region"][-1]
    last.attributes["schedule"] = StringAttr("contraction")
    before, ops = to_text(module, locations=True), list(module.walk())
    with pytest.raises(DlirError, match="this region cannot have its schedule"):
        run(module, "lower-kernels")
    assert to_text(module, locations=True) == before
    assert all(one is two for one, two in zip(ops, module.walk(), strict=True))
