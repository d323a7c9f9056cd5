"""S20: momentum and Adam as update statements are the imperative ones, over 100 steps."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.optimizers import SGD, Adam
from dlir.frontends.symbolic import Parameter, Variable, compile, nd, nn

STEPS = 100


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((16, 5)), rng.standard_normal((16, 1)), rng.standard_normal((5, 1))


def loss_of(w):
    return nn.mse_loss(nd.matmul(nd.tanh(Variable("x")), w), Variable("y"))


def momentum(w, gradient, state, step):
    state["m"] = 0.9 * state.get("m", 0.0) + gradient
    return w - 0.05 * state["m"]


def adam(w, gradient, state, step):
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * gradient
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * gradient**2
    m, v = state["m"] / (1 - 0.9**step), state["v"] / (1 - 0.999**step)
    return w - 0.01 * m / (np.sqrt(v) + 1e-8)


RULES = {"momentum": (momentum, SGD(0.05, momentum=0.9)), "Adam": (adam, Adam(0.01))}


@pytest.mark.parametrize("rule", RULES)
def test_as_statements_and_imperatively(rule, measured):
    imperative, optimizer = RULES[rule]
    x, y, first = data()
    w, want = Parameter("w", first), first
    loss = loss_of(w)
    step = compile(loss, updates=optimizer.updates(loss))
    # The other way: a gradient is compiled, and what is done with it is Python's business.
    free = Variable("w")
    slope = compile(loss_of(free).grad(free))
    state: dict = {}
    for count in range(1, STEPS + 1):
        step(x=x, y=y)
        want = imperative(want, slope(x=x, y=y, w=want), state, count)
    worst = float(np.abs(w.value - want).max())
    assert worst < 1e-6
    measured(f"{rule}: {STEPS} steps, largest difference {worst:.0e}")
