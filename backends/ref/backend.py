"""The reference interpreter as a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.backends.executable import signature_of
from dlir.backends.ref.reference import Reference
from dlir.backends.variables import VariableStore
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import find_function


class Interpreted:
    """A function that is interpreted op by op."""

    def __init__(self, module: Module, entry: str, weights: Any, variables: VariableStore | None) -> None:
        self.signature = signature_of(find_function(module, entry))
        self._entry = entry
        self._reference = Reference(module, weights, variables=variables)
        self._reference.initialize(entry)

    def __call__(self, *arrays: Any, out: Sequence[np.ndarray] | None = None, **named: Any) -> tuple[np.ndarray, ...]:
        """Run it on one array per input, in order or by name; with `out`, the results are written there."""
        signature = self.signature
        values = signature.arrange(arrays, named)
        inputs = [signature.input_array(number, value) for number, value in enumerate(values)]
        results = tuple(self._reference.run(self._entry, inputs))
        if out is None:
            return results
        targets = signature.check_out(out)
        for target, result in zip(targets, results, strict=True):
            target[...] = result
        return tuple(targets)


def load(module: Module, entry: str, weights: Any, variables: VariableStore | None = None) -> Interpreted:
    """An executable that interprets function `entry`; the values of what calls change are in `variables`."""
    return Interpreted(module, entry, weights, variables)
