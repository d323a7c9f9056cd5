"""The ops that test themselves: those of every dialect, installed plugins included, that draw samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.op import spread_groups
from dlir.ir.ops import func
from dlir.ir.registry import DIALECTS, dialect_ops
from dlir.ir.types import TensorType, dtype_from_numpy


def sampled_ops(base: type = object) -> dict[str, Any]:
    """The ops derived from `base` that have ``sample``, by name."""
    ops = {name: cls for dialect in DIALECTS.discover() for name, cls in dialect_ops(dialect).items()}
    return {name: cls for name, cls in ops.items() if issubclass(cls, base) and hasattr(cls, "sample")}


def sample_program(cls, seed: int, count: int):
    """A function that applies the op to `count` samples, with the inputs and the answers of ``eval``."""
    rng = np.random.default_rng(seed)
    samples = [cls.sample(rng) for _ in range(count)]
    inputs = [np.asarray(a) for arrays, _ in samples for a in _flat(arrays) if a is not None]
    types = [TensorType(a.shape, dtype_from_numpy(a.dtype)) for a in inputs]
    module = Module.empty()
    function = Func.make("main", types, names=[f"x{i}" for i in range(len(types))])
    module.body.append(function)
    rest = iter(function.body.args)
    wanted, results = [], []
    with at_end(function.body):
        for arrays, attributes in samples:
            operands = [
                tuple(next(rest) for _ in a) if isinstance(a, tuple | list) else a if a is None else next(rest)
                for a in arrays
            ]
            made = cls.build(*operands, **attributes)
            results += made if isinstance(made, tuple) else [made]
            op = results[-1].owner
            with np.errstate(all="ignore"):
                found = cls.eval(*spread_groups(cls.schema(), _group(cls, arrays)), **op.keywords)
            wanted += found if isinstance(found, tuple) else [found]
        func.return_(*results)
    function.update_type()
    return module, inputs, wanted


def _flat(arrays):
    for item in arrays:
        yield from item if isinstance(item, tuple | list) else [item]


def _group(cls, arrays):
    """Sampled arrays in the op's operand groups: they come one by one for a group declared as ``*xs``."""
    specs = cls.schema().operands
    if specs and specs[-1].spread:
        fixed = len(specs) - 1
        return [*arrays[:fixed], tuple(arrays[fixed:])]
    return [*arrays, *[None] * (len(specs) - len(arrays))]
