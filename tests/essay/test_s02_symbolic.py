"""S2: a symbolic program is built without computing anything, then compiled and called."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Constant, Variable, compile
from dlir.ir.registry import dialect_ops


def essay_graph():
    a, b = Variable("A"), Variable("B")
    c = b * a
    return a, b, c, c + Constant(1)


def test_building_the_graph_computes_nothing(monkeypatch, measured):
    for cls in dialect_ops("nd").values():
        monkeypatch.setattr(cls, "eval", staticmethod(lambda *a, **k: pytest.fail("something was computed")))
    monkeypatch.setattr(
        "dlir.frontends.symbolic.function.compile_module", lambda *a, **k: pytest.fail("something was compiled")
    )
    compile(essay_graph()[-1])
    measured("building computes nothing (spied on all ops)")


def test_the_compiled_function_gives_the_essays_answer(measured):
    f = compile(essay_graph()[-1])
    found = f(A=np.ones(10), B=np.ones(10) * 2)
    assert np.array_equal(found, np.full(10, 3.0))
    measured(f"compile(D)(A, B) = {found[0]:g}")


def test_the_graph_prints_and_draws():
    d = essay_graph()[-1]
    product, total = str(d).splitlines()
    assert product.endswith("= nd.mul(B, A)") and total.endswith(f"= nd.add({product.split()[0]}, 1)")
    drawing = d.dot()
    assert drawing.startswith("digraph") and drawing.count("->") == 4 and "nd.mul" in drawing


def test_the_program_prints_as_ir_that_reads_back():
    from dlir.ir.traversal import structurally_equal
    from dlir.textir import parse, to_text

    program = compile(essay_graph()[-1]).lower(A=np.ones(10), B=np.ones(10))
    assert structurally_equal(program.module, parse(to_text(program.module)))


def test_python_control_flow_on_symbolic_values_is_a_clear_error():
    a = Variable("A")
    with pytest.raises(TypeError, match="truth value"):
        bool(a > 1)
    with pytest.raises(TypeError, match="iterated"):
        list(a)
