"""Every differentiable op, found through the registry, against finite differences of what it means, in float64.

The gradient, how a result moves (``diff.jvp``), and the same for the gradient itself: so each rule is differentiated, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from support.gradients import function_of, gradient, jvp, many, run, slope
from support.registered import sampled_ops

from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.types import F64, FloatType
from dlir.passes.autodiff.activity import has_slope

OPS = {name: cls for name, cls in sampled_ops().items() if name.partition(".")[0] in ("nd", "nn")}
DRAWS = 12
#: Where functions are defined: samples are moved there until results are finite.
RANGES = (
    lambda x: x,
    lambda x: np.abs(x) + 0.3,
    lambda x: 0.9 * np.tanh(x),
    lambda x: np.abs(x) + 1.3,
)


class Question:
    """An op on float64 samples: a function of its float operands, whose results are weighed with random numbers."""

    def __init__(self, cls: Any, arrays: Sequence[Any], attributes: dict[str, Any], rng: np.random.Generator) -> None:
        self.cls = cls
        self.attributes = attributes
        #: Which sample each argument of the function is.
        self.present = [number for number, array in enumerate(arrays) if array is not None]
        self.count = len(arrays)
        self.arrays = [np.asarray(arrays[number]) for number in self.present]
        self.moving = [number for number, array in enumerate(self.arrays) if array.dtype.kind == "f"]
        self.forward = function_of(self.outputs, self.arrays)
        self.cotangents = [rng.normal(size=value.shape) for value in self.values()]

    def outputs(self, *args: Any) -> list[Any]:
        """The float results of the op."""
        operands: list[Any] = [None] * self.count
        for number, arg in zip(self.present, args):
            operands[number] = arg
        return [value for value in many(self.cls.build(*operands, **self.attributes)) if has_slope(value)]

    def gradients(self, *args: Any) -> tuple[Any, ...]:
        """The gradients with regard to the float operands; arguments are these operands, then cotangents."""
        args, cotangents = args[: len(self.arrays)], args[len(self.arrays) :]
        return gradient(self.outputs(*args), cotangents, [args[number] for number in self.moving])

    def values(self) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return run(self.forward, *self.arrays)

    def step(self, rng: np.random.Generator) -> list[Any]:
        """A random direction for the float operands, None for the others."""
        return [rng.normal(size=a.shape) if n in self.moving else None for n, a in enumerate(self.arrays)]


def questions(name: str, draws: int = DRAWS) -> Iterator[tuple[Question, np.random.Generator]]:
    """The op on samples where it is finite and smooth."""
    cls = OPS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(draws):
        arrays, attributes = cls.sample(rng)
        if isinstance(attributes.get("dtype"), FloatType):
            attributes = {**attributes, "dtype": F64}
        for move in RANGES:
            moved = [None if a is None else _as_f64(np.asarray(a), move, rng) for a in arrays]
            question = Question(cls, moved, attributes, rng)
            if not question.moving or not question.cotangents:
                break
            if all(np.isfinite(value).all() for value in question.values()):
                yield question, rng
                break


def _as_f64(array: np.ndarray, move: Any, rng: np.random.Generator) -> np.ndarray:
    """Floats of any width as float64, without special values and without ties; the rest as it is."""
    if array.dtype.kind not in "fV":
        return array
    array = array.astype(np.float64)
    is_plain = np.isfinite(array) & (array != 0)
    noise = rng.normal(0.0, 2.0, array.shape)
    # What is positive stays so: a variance.
    return np.asarray(move(np.where(is_plain, array * np.exp(0.05 * noise), noise)))


def settled(function: Any, arrays: Sequence[Any], step: Sequence[Any]) -> list[Any] | None:
    """The slope of `function` along `step`; None where it does not settle, as beside an edge."""
    with np.errstate(all="ignore"):
        wide, narrow = (slope(function, arrays, step, h) for h in (2e-4, 7e-5))
    for one, other in zip(wide, narrow, strict=True):
        if not np.allclose(one, other, 1e-6, 1e-6):
            return None
    return narrow


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, 1e-6, 1e-6)


@pytest.mark.parametrize("name", OPS)
def test_gradients_are_slopes(name: str) -> None:
    for question, rng in questions(name):
        backward = function_of(question.gradients, [*question.arrays, *question.cotangents])
        found = run(backward, *question.arrays, *question.cotangents)
        for _ in range(2):
            step = question.step(rng)
            wanted = settled(lambda *arrays, q=question: run(q.forward, *arrays), question.arrays, step)
            if wanted is not None:
                total = sum(np.sum(g * step[n]) for g, n in zip(found, question.moving, strict=True))
                close(total, sum(np.sum(c * w) for c, w in zip(question.cotangents, wanted, strict=True)))
        assert all(np.isfinite(g).all() for g in found)


@pytest.mark.parametrize("name", OPS)
def test_results_move_as_jvp_says(name: str) -> None:
    for question, rng in questions(name, 4):
        step = question.step(rng)

        def moved(*args: Any, q: Question = question) -> Any:
            args, tangents = args[: len(q.arrays)], args[len(q.arrays) :]
            return jvp(q.outputs(*args), [args[n] for n in q.moving], tangents)

        tangents = [step[n] for n in question.moving]
        main = function_of(moved, [*question.arrays, *tangents])
        wanted = settled(lambda *arrays, q=question: run(q.forward, *arrays), question.arrays, step)
        if wanted is not None:
            for one, other in zip(run(main, *question.arrays, *tangents), wanted, strict=True):
                close(one, other)


@pytest.mark.parametrize("name", OPS)
def test_gradients_have_gradients(name: str) -> None:
    for question, rng in questions(name, 4):
        arrays = [*question.arrays, *question.cotangents]
        moving = [*question.moving, *range(len(question.arrays), len(arrays))]
        seeds = [rng.normal(size=question.arrays[n].shape) for n in question.moving]

        def second(*args: Any, q: Question = question, count: int = len(arrays), moving: Any = moving) -> Any:
            args, seeds = args[:count], args[count:]
            return gradient(q.gradients(*args), seeds, [args[n] for n in moving])

        first = function_of(question.gradients, arrays)
        found = run(function_of(second, [*arrays, *seeds]), *arrays, *seeds)
        step = [rng.normal(size=a.shape) if n in moving else None for n, a in enumerate(arrays)]
        wanted = settled(lambda *given, f=first: run(f, *given), arrays, step)
        if wanted is not None:
            total = sum(np.sum(g * step[n]) for g, n in zip(found, moving, strict=True))
            close(total, sum(np.sum(s * w) for s, w in zip(seeds, wanted, strict=True)))


COMPOSED = {name: cls for name, cls in OPS.items() if issubclass(cls, Decomposed) and cls.vjp is not None}


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("dtype, tolerance", [("f4", 1e-5), ("f8", 1e-10)])
def test_a_rule_of_its_own_is_the_gradient_of_the_decomposition(
    name: str, dtype: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for question, _ in questions(name, 8):
        arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in [*question.arrays, *question.cotangents]]
        own = run(function_of(question.gradients, arrays), *arrays)
        with monkeypatch.context() as patch:
            patch.setattr(OPS[name], "vjp", None)
            through = run(function_of(question.gradients, arrays), *arrays)
        for one, other in zip(own, through, strict=True):
            scale = max(1.0, np.abs(other).max(initial=0.0))
            np.testing.assert_allclose(one, other, tolerance, tolerance * scale)
