"""Random array programs, and inputs on which every backend must agree bit for bit.

On small integers, programs of exact ops (+, -, *, max, min, select, movement, sum, cumsum, matmul) whose partial sums stay below
2**20 have one right answer in f32, f64, i32 and i64, whatever the order of summation.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dlir.ir.builder import at_end
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func, nd
from dlir.ir.types import F32, F64, I32, I64, TensorType, is_float

ACTIVATIONS = ["gelu", "silu", "hardswish", "hardsigmoid", "elu", "leaky_relu"]
#: Formulas along the last axis.
OF_ROWS = ["softmax", "log_softmax", "rms_norm"]
#: No value of an exact program may be able to exceed this.
EXACT_LIMIT = 1 << 20
SHAPES = [(), (1,), (0, 3), (5,), (3, 4), (1, 4), (3, 1), (2, 3, 4), (17,), (4, 4), (2, 1, 3)]


@dataclass
class Program:
    """A module with a function @main, and what its inputs are."""

    module: Module
    types: list[TensorType]
    exact: bool


@dataclass
class Maker:
    """Grows one random program."""

    rng: random.Random
    exact: bool
    #: The largest magnitude that each value can have.
    bounds: dict[Value, int] = field(default_factory=dict)

    def program(self, size: int) -> Program:
        rng = self.rng
        dtype = rng.choice([F32, F32, F64, I32, I64] if self.exact else [F32, F64])
        shape = rng.choice(SHAPES)
        types = [TensorType(self.related(shape), dtype) for _ in range(rng.randint(1, 3))]
        function = Func.make("main", types, names=[f"x{i}" for i in range(len(types))])
        module = Module.empty()
        module.body.append(function)
        values: list[Value] = list(function.body.args)
        self.bounds = dict.fromkeys(values, 4)
        with at_end(function.body):
            while len(values) < size + len(types):
                made = self.step(values)
                if made is not None:
                    values.append(made)
            count = rng.randint(1, 3)
            # The last value always counts; others make intermediates into outputs, or return an input unchanged.
            results = [values[-1], *rng.sample(values, min(count, len(values)) - 1)]
            func.return_(*results)
        function.update_type()
        return Program(module, types, self.exact)

    def related(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """`shape`, or one that broadcasts with it."""
        if self.rng.random() < 0.5:
            return shape
        return tuple(1 if self.rng.random() < 0.3 else extent for extent in shape)[self.rng.randint(0, len(shape)) :]

    def step(self, values: list[Value]) -> Value | None:
        """One more op on some of `values`; None when the choice does not fit them."""
        recent = values[-6:] if self.rng.random() < 0.7 else values
        value = self.rng.choice(recent)
        kinds = [self.binary, self.binary, self.unary, self.reduce, self.move, self.move, self.select]
        kinds += [self.product, self.scan]
        return self.rng.choice(kinds)(value, values)

    def bounded(self, bound: int, make) -> Value | None:
        if self.exact and bound > EXACT_LIMIT:
            return None
        made = make()
        self.bounds[made] = bound
        return made

    def binary(self, a: Value, values: list[Value]) -> Value | None:
        b = self.rng.choice([v for v in values if broadcasts(a.shape, v.shape)])
        name = self.rng.choice(["add", "sub", "mul", "maximum", "minimum"] + ([] if self.exact else ["div"]))
        one, two = self.bounds[a], self.bounds[b]
        bound = {"add": one + two, "sub": one + two, "mul": one * two}.get(name, max(one, two))
        return self.bounded(bound, lambda: getattr(nd, name)(a, b))

    def unary(self, a: Value, values: list[Value]) -> Value | None:
        names = ["neg", "abs"]
        if not self.exact and is_float(a.dtype):
            names += ["exp", "tanh", "sigmoid", "sqrt", "erf", *ACTIVATIONS, *OF_ROWS]
        name = self.rng.choice(names)
        if name in OF_ROWS:
            if a.rank == 0 or a.shape[-1] == 0:
                return None
            return self.bounded(1, lambda: getattr(nd, name)(a))
        source = nd.abs(a) if name == "sqrt" else a
        self.bounds[source] = self.bounds[a]
        return self.bounded(self.bounds[a], lambda: getattr(nd, name)(source))

    def reduce(self, a: Value, values: list[Value]) -> Value | None:
        if a.rank == 0:
            return None
        axes = tuple(sorted(self.rng.sample(range(a.rank), self.rng.randint(1, a.rank))))
        count = math.prod(a.shape[axis] for axis in axes)
        name = self.rng.choice(["sum", "max", "min"] + ([] if self.exact else ["mean"]))
        if count == 0 and name != "sum":
            return None
        bound = self.bounds[a] * max(1, count) if name == "sum" else self.bounds[a]
        keepdims = self.rng.random() < 0.5
        return self.bounded(bound, lambda: getattr(nd, name)(a, axes=axes, keepdims=keepdims))

    def scan(self, a: Value, values: list[Value]) -> Value | None:
        if a.rank == 0:
            return None
        axis, (exclusive, reverse) = self.rng.randrange(a.rank), self.rng.choices([False, True], k=2)
        make = partial(nd.cumsum, a, axis=axis, exclusive=exclusive, reverse=reverse)
        return self.bounded(self.bounds[a] * max(1, a.shape[axis]), make)

    def select(self, a: Value, values: list[Value]) -> Value | None:
        b = self.rng.choice([v for v in values if v.shape == a.shape])
        bound = max(self.bounds[a], self.bounds[b])
        return self.bounded(bound, lambda: nd.select(nd.less(a, b), b, a))

    def product(self, a: Value, values: list[Value]) -> Value | None:
        if a.rank < 2:
            return None
        bound = self.bounds[a] ** 2 * max(1, a.shape[-1])
        return self.bounded(bound, lambda: nd.matmul(a, a, transpose_b=True))

    def move(self, a: Value, values: list[Value]) -> Value | None:
        rng, shape = self.rng, a.shape
        kind = rng.choice(["transpose", "reshape", "broadcast", "slice", "concat", "pad"])
        make = None
        if kind == "transpose":
            perm = tuple(rng.sample(range(a.rank), a.rank))
            make = partial(nd.transpose, a, perm=perm)
        elif kind == "reshape":
            flat = rng.random() < 0.5
            make = partial(nd.reshape, a, shape=(math.prod(shape),) if flat else (1, *shape))
        elif kind == "broadcast" and math.prod(shape) < 100:
            make = partial(nd.broadcast_to, a, shape=(2, *shape))
        elif kind == "slice" and a.rank:
            start = tuple(rng.randint(0, extent) for extent in shape)
            stop = tuple(rng.randint(low, extent) for low, extent in zip(start, shape, strict=True))
            step = tuple(rng.randint(1, 2) for _ in shape)
            make = partial(nd.slice, a, start=start, stop=stop, step=step)
        elif kind == "concat" and a.rank:
            make = partial(nd.concat, a, a, axis=rng.randrange(a.rank))
        elif kind == "pad" and a.rank:
            low, high = (tuple(rng.randint(0, 2) for _ in shape) for _ in range(2))
            make = partial(nd.pad, a, low=low, high=high)
        return None if make is None else self.bounded(self.bounds[a], make)


def broadcasts(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
    """Whether two shapes broadcast together."""
    return all(a == b or 1 in (a, b) for a, b in zip(reversed(one), reversed(two), strict=False))


def make_program(seed: int, exact: bool, size: int = 8) -> Program:
    """The random program of this seed."""
    return Maker(random.Random(seed), exact).program(size)


def make_inputs(program: Program, seed: int, special: bool = False) -> list[np.ndarray]:
    """Inputs: integers in -4 .. 4 for an exact program, else normal numbers; `special` mixes in NaN, Inf and zeros."""
    rng = np.random.default_rng(seed)
    arrays = []
    for type in program.types:
        if program.exact:
            array = rng.integers(-4, 5, type.shape).astype(type.dtype.numpy)
        else:
            array = rng.standard_normal(type.shape).astype(type.dtype.numpy)
        if special and is_float(type.dtype):
            odd = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], type.dtype.numpy), type.shape)
            array = np.where(rng.random(type.shape) < 0.3, odd, array)
        arrays.append(np.asarray(array))
    return arrays
