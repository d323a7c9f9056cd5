"""Ops whose meaning is a decomposition into smaller ops."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.builder import at_end
from dlir.ir.core import Block, Value
from dlir.ir.op import Op, spread_groups
from dlir.ir.types import TensorType, dtype_from_numpy


class Decomposed(Op):
    """Base of ops that are defined by ``decompose``; lowering, ``eval`` and gradients all follow from it."""

    @staticmethod
    def decompose(*operands: Any, **keywords: Any) -> Any:
        """Make the smaller ops at the insertion point and return the result, or the tuple of results.

        Gets Values in the places where ``infer`` gets types, and the attributes as plain values.
        """
        raise TypeError("an op must define decompose")

    @classmethod
    def eval(cls, *arrays: Any, **keywords: Any) -> Any:
        """The meaning: what the decomposition computes."""
        return eval_by_decomposition(cls, arrays, keywords)


def decompose_op(op: Op) -> tuple[Value, ...]:
    """Make the decomposition of `op` at the insertion point; the values that stand for its results."""
    found = type(op).decompose(*spread_groups(op.schema(), op.groups), **op.keywords)  # type: ignore[attr-defined]
    return found if isinstance(found, tuple) else (found,)


def eval_by_decomposition(cls: Any, arrays: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """Run an op by running the ops of its decomposition.

    `arrays` are the positional arguments of ``eval``: arrays, or None for an absent optional operand.
    """
    types = tuple(None if a is None else TensorType(np.shape(a), dtype_from_numpy(np.asarray(a).dtype)) for a in arrays)
    specs = cls.schema().attributes
    attributes = tuple((name, specs[name].encode(value)) for name, value in keywords.items() if value is not None)
    args, block, results = _decomposition(cls, types, attributes)
    values = dict(zip(args, [np.asarray(a) for a in arrays if a is not None], strict=True))
    for op in block.ops:
        assert isinstance(op, Op)
        values.update(zip(op.results, op.evaluate([values[operand] for operand in op.operands]), strict=True))
    found = tuple(values[result] for result in results)
    return found[0] if len(found) == 1 else found


@lru_cache(maxsize=256)
def _decomposition(
    cls: Any, types: tuple[TensorType | None, ...], attributes: tuple[tuple[str, Attribute], ...]
) -> tuple[list[Value], Block, tuple[Value, ...]]:
    """The decomposition of an op with these operand types: arguments, ops and results."""
    block = Block(type for type in types if type is not None)
    args = iter(block.args)
    operands = [None if type is None else next(args) for type in types]
    keywords = {name: spec.default for name, spec in cls.schema().attributes.items()}
    keywords.update((name, attribute.value) for name, attribute in attributes)
    with at_end(block):
        found = cls.decompose(*operands, **keywords)
    return list(block.args), block, found if isinstance(found, tuple) else (found,)
