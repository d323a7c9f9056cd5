"""S24: 1 / (1 + exp(-x)) and its commuted forms are found to be a sigmoid; what only looks like it is not."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.symbolic import Variable, compile, nd

X = np.linspace(-4, 4, 9, dtype=np.float32)


def recognised(node, **arrays):
    """The array ops in the kernels that `node` becomes, and its value."""
    from dlir.backends.compiler import lower_module
    from dlir.passes.manager import PassManager

    nodes = node if isinstance(node, list) else [node]
    program = compile(nodes).lower(**(arrays or {"x": X}))
    module = lower_module(program.module, None)
    PassManager.from_text("canonicalize,cse,recognise").run(module)
    return [op.name for op in module.walk() if op.name.startswith("nd.") and op.name != "nd.constant"]


def forms():
    x = Variable("x")
    e = nd.exp(-x)
    return {"1/(1+e)": 1.0 / (1.0 + e), "1/(e+1)": 1.0 / (e + 1.0), "by ops": nd.div(1.0, nd.add(e, 1.0))}


@pytest.mark.parametrize("form", list(forms()))
def test_every_form_is_a_sigmoid(form, measured):
    node = forms()[form]
    measured(f"{form} -> {recognised(node)[0]}")
    assert recognised(node) == ["nd.sigmoid"]
    np.testing.assert_allclose(compile(node)(x=X), 1 / (1 + np.exp(-X.astype(np.float64))), rtol=1e-6)


def lookalikes():
    x = Variable("x")
    return {
        "2/(1+e)": (2.0 / (1.0 + nd.exp(-x)), lambda x: 2 / (1 + np.exp(-x))),
        "1/(1+exp(x))": (1.0 / (1.0 + nd.exp(x)), lambda x: 1 / (1 + np.exp(x))),
        "1/(1-e)": (1.0 / (1.5 - nd.exp(-x)), lambda x: 1 / (1.5 - np.exp(-x))),
    }


@pytest.mark.parametrize("form", list(lookalikes()))
def test_what_only_looks_like_it_is_none(form, measured):
    node, want = lookalikes()[form]
    measured(f"{form} -> {', '.join(recognised(node))}")
    assert "nd.sigmoid" not in recognised(node)
    np.testing.assert_allclose(compile(node)(x=X), want(X.astype(np.float64)), rtol=1e-5)


def test_a_temporary_that_is_used_elsewhere_stays():
    x = Variable("x")
    below = 1.0 + nd.exp(-x)
    sigmoid, other = compile([1.0 / below, below * 2.0])(x=X)
    assert "nd.sigmoid" not in recognised([1.0 / below, below * 2.0])
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-X)), rtol=1e-6)
    np.testing.assert_allclose(other, 2 * (1 + np.exp(-X)), rtol=1e-6)
