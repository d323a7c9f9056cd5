"""Both sides of a rule on one program: run on inputs, and inputs made simple while the sides still differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dlir.ir.core import Operation, Value
from dlir.ir.errors import DlirError
from dlir.ir.op import Op
from dlir.passes.patterns.proof.compare import difference, holds, suggestion
from dlir.passes.patterns.proof.maker import Example

#: Elements of an input that are tried to be made simple.
SIMPLIFIED = 64

Inputs = dict[Value, Any]


class Difference(NamedTuple):
    """How the sides differ, in words, and what would have to be ignored for them not to (None: nothing would do)."""

    what: str
    word: str | None = None


@dataclass
class Sides:
    """The matched op of `example`, and the `values` that the rule makes in place of its results."""

    example: Example
    values: Sequence[Value]
    ignores: Collection[str]
    needed: Collection[Operation]
    _left: list[Operation] = field(init=False)
    _right: list[Operation] = field(init=False)

    def __post_init__(self) -> None:
        ops = [op for op in self.example.block.ops if not op.is_terminator]
        self._left = [op for op in ops if op in self.needed]
        self._right = [op for op in ops if op not in self.needed]

    def run(self, inputs: Inputs) -> Difference | bool:
        """How the sides differ on `inputs`; True if they do not, False if the inputs do not count."""
        known = dict(inputs)
        if not _evaluate(self._left, known):
            return False
        on_the_way = list(known.values())
        if any(what in self.ignores and holds(on_the_way, what) for what in ("nan", "inf")):
            return False
        if not _evaluate(self._right, known):
            return Difference("makes what cannot be computed")
        for value, result in zip(self.values, self.example.op.results, strict=True):
            found, wanted = np.asarray(known[value]), np.asarray(known[result])
            if found.shape != wanted.shape:
                return Difference(f"gives the shape {found.shape} in place of {wanted.shape}")
            differs = difference(found, wanted, self.ignores, on_the_way)
            if differs is not None:
                return _different(found, wanted, differs)
        return True

    def simplified(self, inputs: Inputs, found: Difference) -> tuple[Inputs, Difference]:
        """The inputs with 1 for every element on which nothing hangs, and how the sides differ on them."""
        for arg, array in inputs.items():
            one = np.ones((), np.asarray(array).dtype)
            for index in list(np.ndindex(np.shape(array)))[:SIMPLIFIED]:
                candidate = np.array(inputs[arg])
                candidate[index] = one
                simpler = {**inputs, arg: candidate}
                outcome = self.run(simpler)
                if isinstance(outcome, Difference) and outcome.word == found.word:
                    inputs, found = simpler, outcome
        return inputs, found


def needed_for(op: Operation) -> set[Operation]:
    """`op` and all that its operands come from."""
    found = {op}
    waiting = [op]
    while waiting:
        for value in waiting.pop().operands:
            source = value.defining_op
            if source is not None and source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _different(found: np.ndarray, wanted: np.ndarray, differs: np.ndarray) -> Difference:
    index = tuple(int(at) for at in np.argwhere(differs)[0])
    one, two = found[index], wanted[index]
    at = f" at {list(index)}" if index else ""
    return Difference(f"changes the result: {_spell(two)} becomes {_spell(one)}{at}", suggestion(one, two))


def _evaluate(ops: Iterable[Operation], known: dict[Value, Any]) -> bool:
    """Compute the results of `ops`; False if one cannot be computed."""
    for op in ops:
        assert isinstance(op, Op)
        try:
            results = op.evaluate([known[value] for value in op.operands])
        except (DlirError, ArithmeticError, ValueError):
            return False
        known.update(zip(op.results, results, strict=True))
    return True


def _spell(number: Any) -> str:
    return str(number.item() if number.dtype.kind in "biuf" else float(number))


def spell_array(array: Any) -> str:
    """An array on one line."""
    text = np.array2string(np.asarray(array).astype(object), separator=", ", threshold=16)
    return " ".join(text.split())
