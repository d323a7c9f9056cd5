"""Making random programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.builder import at_end
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func, nd
from dlir.ir.types import ScalarType, TensorType
from dlir.passes.patterns.proof.inputs import DTYPES, random_shape, related_shape


class Unfit(Exception):
    """The program that was begun cannot be finished."""


@dataclass
class Example:
    """A module with a function in whose `block` `op` is what the rule is to match."""

    module: Module
    block: Block
    op: Operation
    #: The shapes that its tensor inputs really have.
    extents: dict[Value, tuple[int, ...]]
    #: The dtype that most of it has.
    dtype: ScalarType


@dataclass
class Maker:
    """Makes one random program, most of it in `dtype`; `small` asks for single elements."""

    rng: np.random.Generator
    small: bool = False
    dtype: Any = None
    block: Block = field(default_factory=Block)
    #: Shapes that came up, and those that the inputs really have.
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    extents: dict[Value, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dtype = self.dtype or self.pick(DTYPES)
        self.shape = random_shape(self.rng, self.small)
        #: Dimensions of this extent are dynamic.  (One extent only: different ones would be equal where `?` meets `?`.)
        self.dynamic = self.pick(self.shape) if self.shape and not self.small and self.chance(0.15) else None
        self.function = Func.make("main", [])
        self.block = self.function.body

    def pick(self, choices: Iterable[Any]) -> Any:
        """One of `choices`."""
        found = list(choices)
        return found[int(self.rng.integers(len(found)))]

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self.rng.random() < share)

    def input(
        self, dtype: ScalarType | None = None, shape: tuple[int, ...] | None = None, name: str | None = None
    ) -> Value:
        """A new argument of the function."""
        shape = related_shape(self.rng, self.shape) if shape is None else shape
        self.shapes.append(shape)
        known = [None if extent == self.dynamic else extent for extent in shape]
        arg = self.block.add_arg(TensorType(known, dtype or self.dtype), name)
        self.extents[arg] = shape
        return arg

    def constant(self, number: Any, dtype: ScalarType | None = None, shape: tuple[int, ...] | None = None) -> Value:
        """A constant that is `number` everywhere, perhaps by way of broadcast_to."""
        shape = related_shape(self.rng, self.shape) if shape is None else shape
        dtype = dtype or self.dtype
        with np.errstate(all="ignore"):
            element = np.asarray(number).astype(dtype.numpy)
        if self.chance(0.3):
            return nd.broadcast_to(nd.constant(value=DenseElementsAttr(element, TensorType((), dtype))), shape=shape)
        return nd.constant(value=DenseElementsAttr(element, TensorType(shape, dtype)))

    def finish(self, op: Operation) -> Example:
        """The program with the results of `op` as its results."""
        with at_end(self.block):
            func.return_(*op.results)
        self.function.update_type()
        module = Module.empty()
        module.body.append(self.function)
        return Example(module, self.block, op, self.extents, self.dtype)


#: Makes the op that a pattern is to match, with the methods of a `Maker` and the builder functions.
Build = Callable[[Maker], Value]
