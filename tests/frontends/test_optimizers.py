"""Optimisers are torch's: the same parameters after 100 steps."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends import optimizers as ours
from dlir.frontends.symbolic import Parameter, Variable, compile, load_function, nd, nn

torch = pytest.importorskip("torch")
STEPS = 100

CASES = {
    "sgd": (lambda: ours.SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "sgd-default": (lambda: ours.SGD(), lambda p: torch.optim.SGD(p)),
    "momentum": (lambda: ours.SGD(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "nesterov": (
        lambda: ours.SGD(0.05, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    ),
    "dampening": (
        lambda: ours.SGD(0.05, momentum=0.9, dampening=0.3, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.01),
    ),
    "rmsprop": (lambda: ours.RMSprop(), lambda p: torch.optim.RMSprop(p)),
    "rmsprop-centered": (
        lambda: ours.RMSprop(1e-3, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, lr=1e-3, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1),
    ),
    "adagrad": (lambda: ours.Adagrad(), lambda p: torch.optim.Adagrad(p)),
    "adagrad-decay": (
        lambda: ours.Adagrad(0.1, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.1),
        lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.1),
    ),
    "adam": (lambda: ours.Adam(), lambda p: torch.optim.Adam(p)),
    "adam-decay": (
        lambda: ours.Adam(0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    ),
    "adamw": (lambda: ours.AdamW(), lambda p: torch.optim.AdamW(p)),
    "adamw-decay": (
        lambda: ours.AdamW(0.01, weight_decay=0.3),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.3),
    ),
}


class Task:
    """A small network in both libraries, with the same first weights and data."""

    def __init__(self, dtype: str) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((32, 8)).astype(dtype)
        self.y = rng.standard_normal((32, 1)).astype(dtype)
        first = {"w1": rng.standard_normal((8, 16)) / 3, "b1": np.zeros(16), "w2": rng.standard_normal((16, 1)) / 4}
        self.ours = {name: Parameter(name, value.astype(dtype)) for name, value in first.items()}
        self.theirs = {name: torch.tensor(value.astype(dtype), requires_grad=True) for name, value in first.items()}
        w1, b1, w2 = self.ours.values()
        self.loss = nn.mse_loss(nd.matmul(nn.dense(Variable("x"), w1, b1, activation="tanh"), w2), Variable("y"))

    def torch_gradients(self) -> None:
        for tensor in self.theirs.values():
            tensor.grad = None
        w1, b1, w2 = self.theirs.values()
        found = torch.tanh(torch.tensor(self.x) @ w1 + b1) @ w2
        torch.nn.functional.mse_loss(found, torch.tensor(self.y)).backward()

    def difference(self) -> float:
        pairs = [(self.ours[name].value, tensor.detach().numpy()) for name, tensor in self.theirs.items()]
        return max(float(np.abs(mine - theirs).max()) for mine, theirs in pairs)


def difference_after(name: str, dtype: str, backend: str) -> float:
    """Between our parameters and torch's, after a hundred steps."""
    make, make_theirs = CASES[name]
    task = Task(dtype)
    theirs = make_theirs(list(task.theirs.values()))
    step = compile(task.loss, updates=make().updates(task.loss), backend=backend)
    for _ in range(STEPS):
        step(x=task.x, y=task.y)
        task.torch_gradients()
        theirs.step()
    return task.difference()


@pytest.mark.parametrize("name", CASES)
def test_a_hundred_steps_are_torchs(name):
    assert difference_after(name, "float64", "ref") < 1e-9


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw"])
def test_a_hundred_steps_are_torchs_in_f32(name):
    assert difference_after(name, "float32", "cpu") < 1e-6


SCHEDULES = {
    "step": (ours.step_decay(0.2, every=7, factor=0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.5), 0.2),
    "cosine": (
        ours.cosine(0.2, steps=STEPS, least=0.01),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, 0.01),
        0.2,
    ),
    "warmup": (
        ours.warmup(0.2, steps=10, start=0.25),
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.25, 1.0, 10),
        0.2,
    ),
    "constant": (ours.constant(0.2), lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0), 0.2),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_torchs(name):
    schedule, make_theirs, rate = SCHEDULES[name]
    task = Task("float64")
    theirs = torch.optim.SGD(list(task.theirs.values()), lr=rate, momentum=0.9)
    scheduler = make_theirs(theirs)
    step = compile(task.loss, updates=ours.SGD(schedule, momentum=0.9).updates(task.loss), backend="ref")
    for _ in range(STEPS):
        step(x=task.x, y=task.y)
        task.torch_gradients()
        theirs.step()
        scheduler.step()
    assert task.difference() < 1e-9


def rates(schedule, steps):
    f = compile(schedule(Variable("t")))
    return np.array([float(f(t=float(t))) for t in steps])


def test_warmup_leads_into_the_schedule_and_cosine_stays_at_its_end():
    found = rates(ours.warmup(ours.cosine(1.0, steps=10), steps=5, start=0.0), range(20))
    np.testing.assert_allclose(found[:6], np.arange(6) / 5)
    want = (1 + np.cos(np.pi * np.minimum(np.arange(15), 10) / 10)) / 2
    np.testing.assert_allclose(found[5:], want, atol=1e-15)


CLIPS = {
    "value": (ours.by_value(0.05), lambda p: torch.nn.utils.clip_grad_value_(p, 0.05)),
    "norm": (ours.by_global_norm(0.1), lambda p: torch.nn.utils.clip_grad_norm_(p, 0.1)),
    "large norm": (ours.by_global_norm(100.0), lambda p: torch.nn.utils.clip_grad_norm_(p, 100.0)),
}


@pytest.mark.parametrize("name", CLIPS)
def test_clipping_is_torchs(name):
    clip, clip_theirs = CLIPS[name]
    task = Task("float64")
    theirs = torch.optim.AdamW(list(task.theirs.values()))
    step = compile(task.loss, updates=ours.AdamW(clip=clip).updates(task.loss), backend="ref")
    for _ in range(30):
        step(x=task.x, y=task.y)
        task.torch_gradients()
        clip_theirs(list(task.theirs.values()))
        theirs.step()
    assert task.difference() < 1e-9


def test_a_learning_rate_may_be_a_parameter_that_is_set_between_steps():
    w, rate = Parameter("w", np.ones(3)), Parameter("rate", np.float64(0.5), trainable=False)
    loss = nd.sum(w)
    step = compile(loss, updates=ours.SGD(rate).updates(loss))
    step()
    rate.value = 0.0
    step()
    assert np.array_equal(w.value, np.full(3, 0.5))


def test_only_the_chosen_parameters_are_trained():
    a, b, frozen = Parameter("a", np.ones(2)), Parameter("b", np.ones(2)), Parameter("c", np.ones(2), trainable=False)
    loss = nd.sum(a * b * frozen)
    assert [target for target, _ in ours.SGD(0.1).updates(loss)] == [a, b]
    compile([], updates=ours.SGD(0.1).updates(loss, [b]))()
    assert np.array_equal(a.value, np.ones(2)) and np.array_equal(frozen.value, np.ones(2))
    assert np.allclose(b.value, 0.9)


def test_the_state_is_made_of_parameters_that_are_saved_with_the_rest(tmp_path):
    task = Task("float64")
    adam = ours.Adam(0.01)
    step = compile(task.loss, updates=adam.updates(task.loss))
    names = [f"{name}.{what}" for name in ("w1", "b1", "w2") for what in ("exp_avg", "exp_avg_sq")]
    assert sorted(item.name for item in adam.state) == sorted(["adam.step", *names])
    for _ in range(5):
        step(x=task.x, y=task.y)
    step.save(tmp_path / "training.safetensors")
    again = load_function(tmp_path / "training.safetensors")
    assert [again(x=task.x, y=task.y) for _ in range(5)] == [step(x=task.x, y=task.y) for _ in range(5)]
    loaded = {item.name: item for item in again.parameters}
    assert loaded["adam.step"].value == 10 and not loaded["adam.step"].trainable and loaded["w1"].trainable
