"""Random programs with loops and branches over arrays of small integers, which wrap around and so are exact everywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dlir.ir.attributes import UNIT, DenseElementsAttr
from dlir.ir.builder import at_end
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, find_function
from dlir.ir.dialects.scf import for_loop, if_else, while_loop
from dlir.ir.ops import arith, func, nd, state, tensor
from dlir.ir.types import I32, INDEX, TensorType

SCALAR = TensorType((), I32)


def loop_program(seed: int, side: int = 3, variables: int = 0) -> Module:
    """A function @main over a few arrays of `side` by `side`, some of which are donated, and some variables.

    From a side of 16 on rows begin where buffers do, so that slices and what is joined may be parts of others.
    """
    chance = random.Random(seed)
    square, row = TensorType((side, side), I32), TensorType((side,), I32)
    types = [chance.choice([square, square, row]) for _ in range(chance.randint(1, 3))]
    module = Module.empty()
    with at_end(module.body):
        for number in range(variables):
            type = chance.choice([square, row])
            state.variable(sym_name=f"v{number}", init=_splat(type, number + 1), type=type)
    known = {op.get("sym_name"): op.get("type") for op in module.body.ops}
    function = Func.make("main", types, names=[f"x{i}" for i in range(len(types))])
    function.location = module.location
    module.body.append(function)
    donated = [{"dlir.donated": UNIT} if chance.random() < 0.4 else {} for _ in types]
    function.set_arg_attributes(donated)
    maker = Maker(chance, square, row, known)
    with at_end(function.body):
        values = list(function.body.args)
        maker.fill(values, chance.randint(2, 5), depth=0)
        for name, type in known.items():
            if chance.random() < 0.7:
                state.write(maker.pick(values, type), variable=name)
        results = chance.sample(values, min(len(values), chance.randint(1, 3)))
        func.return_(values[-1], *results)
    function.update_type()
    return module


def inputs_for(module: Module, seed: int) -> list[np.ndarray]:
    """Arrays for the function's arguments."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-4, 5, type.shape).astype(np.int32) for type in find_function(module, "main").type.inputs]


@dataclass
class Maker:
    """Emits random steps at the insertion point."""

    chance: random.Random
    square: TensorType
    row: TensorType
    variables: dict[str, TensorType] = field(default_factory=dict)
    budget: int = field(default=14)

    def fill(self, values: list[Value], steps: int, depth: int) -> None:
        """Append the results of some steps to `values`."""
        for _ in range(steps):
            self.budget -= 1
            nested = depth < 3 and self.budget > 0 and self.chance.random() < 0.45
            values += self.control(values, depth) if nested else [self.compute(values)]
            if self.variables and self.chance.random() < 0.3:
                name = self.chance.choice(list(self.variables))
                values.append(state.read(self.variables[name], variable=name))

    def pick(self, values: Sequence[Value], type: TensorType | None = None) -> Value:
        fitting = [value for value in values if value.type is (type or value.type)]
        if not fitting:
            return nd.constant(value=_splat(type or self.square, self.chance.randint(-2, 2)))
        recent = fitting[-3:] if self.chance.random() < 0.6 else fitting
        return self.chance.choice(recent)

    def compute(self, values: Sequence[Value]) -> Value:
        """One array op: most can be in place, some cannot."""
        x = self.pick(values)
        y = self.pick(values, x.type)
        side = self.square.shape[0]
        match self.chance.randint(0, 9):
            case 0:
                return nd.add(x, y)
            case 1:
                return nd.sub(x, y)
            case 2:
                return nd.mul(x, y)
            case 3:
                return nd.maximum(x, nd.neg(y))
            case 4 if x.type is self.square:
                return nd.matmul(x, y)
            case 5 if x.type is self.square:
                return nd.sub(x, nd.transpose(y, perm=(1, 0)))
            case 6 if x.type is self.square:
                return nd.sum(x, axes=(self.chance.randint(0, 1),))
            case 7 if x.type is self.square:
                at = self.chance.randint(1, side - 1)
                return nd.concat(self.rows(x, at, side), self.rows(y, 0, at), axis=0)
            case 8 if x.type is self.square:
                at = self.chance.randint(1, side - 1)
                return nd.concat(nd.neg(self.rows(x, 0, at)), nd.matmul(self.rows(y, at, side), x), axis=0)
            case 9 if x.type is self.square:
                at = self.chance.randint(0, side - 1)
                return nd.reshape(self.rows(x, at, at + 1), shape=(side,))
            case _:
                return nd.add(nd.neg(x), nd.constant(value=_splat(x.type, self.chance.randint(-3, 3))))

    def rows(self, x: Value, start: int, stop: int) -> Value:
        """Some rows of a square: a piece of its memory."""
        return nd.slice(x, start=(start, 0), stop=(stop, x.shape[1]))

    def control(self, values: Sequence[Value], depth: int) -> Sequence[Value]:
        make = self.chance.choice([self.for_, self.for_, self.if_, self.while_])
        return make(values, depth)

    def carried(self, values: Sequence[Value]) -> list[Value]:
        return [self.pick(values) for _ in range(self.chance.randint(1, 3))]

    def yielded(self, values: Sequence[Value], inits: Sequence[Value], args: Sequence[Value]) -> list[Value]:
        """A value of the right type for each init: what was computed, one passed on, or two that change places."""
        found = []
        for init in inits:
            among = args if self.chance.random() < 0.25 else values
            found.append(self.pick(among, init.type))
        return found

    def for_(self, values: Sequence[Value], depth: int) -> Sequence[Value]:
        inits = self.carried(values)

        def body(counter: Value, *args: Value) -> list[Value]:
            here = [*values, *args]
            if self.chance.random() < 0.3:
                here.append(self.number_as_row(arith.index_cast(counter, I32)))
            self.fill(here, self.chance.randint(0, 3), depth + 1)
            return self.yielded(here, inits, args)

        return for_loop(0, self.chance.randint(0, 3), 1, inits, body)

    def number_as_row(self, number: Value) -> Value:
        made = tensor.from_elements(*[number] * self.row.shape[0], result_types=[self.row])
        assert isinstance(made, Value)
        return made

    def if_(self, values: Sequence[Value], depth: int) -> Sequence[Value]:
        inits = self.carried(values)

        def branch() -> list[Value]:
            here = list(values)
            self.fill(here, self.chance.randint(0, 2), depth + 1)
            return self.yielded(here, inits, inits)

        return if_else(self.is_odd(self.pick(values)), branch, branch)

    def is_odd(self, value: Value) -> Value:
        number = tensor.extract(value, *[arith.constant(1, INDEX) for _ in value.type.shape])
        return arith.cmpi(arith.andi(number, arith.constant(1, I32)), arith.constant(1, I32), predicate="eq")

    def while_(self, values: Sequence[Value], depth: int) -> Sequence[Value]:
        """A loop that counts in an array; what it hands over may not be what it carries."""
        inits = [nd.constant(value=_splat(SCALAR, 0)), *self.carried(values)]
        limit = self.chance.randint(0, 3)

        def before(count: Value, *args: Value) -> list[Value]:
            here = [*values, *args]
            self.fill(here, self.chance.randint(0, 1), depth + 1)
            number = tensor.extract(count)
            goes_on = arith.cmpi(number, arith.constant(limit, I32), predicate="slt")
            handed = list(args) if self.chance.random() < 0.5 else self.yielded(here, inits[1:], args)
            return [goes_on, count, *handed]

        def after(count: Value, *args: Value) -> list[Value]:
            here = [*values, *args]
            self.fill(here, self.chance.randint(0, 2), depth + 1)
            one = nd.constant(value=_splat(SCALAR, 1))
            return [nd.add(count, one), *self.yielded(here, inits[1:], args)]

        return while_loop(inits, before, after)


def _splat(type: TensorType, number: int) -> DenseElementsAttr:
    return DenseElementsAttr(np.broadcast_to(np.int32(number), type.shape), type)
