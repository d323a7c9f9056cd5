"""Functions, structured control flow and kernels: the ops that run blocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.backends.ref.code import FLAT_DEPTH, Code, Environment, Step, Task, runs
from dlir.backends.ref.evaluation import eval_step
from dlir.backends.ref.machine import Machine
from dlir.ir.dialects import scf
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.kernel import KernelRegion, Matmul
from dlir.ir.dialects.regions import only_block
from dlir.ir.errors import DlirError
from dlir.ir.op import Op, Region


def _define(environment: Environment, op: Op, values: Sequence[Any]) -> None:
    environment.update(zip(op.results, values, strict=True))


@runs("func.call")
def call(machine: Machine, op: Call) -> Step:
    operands, name = op.operands, op["callee"]

    def run(environment: Environment) -> Task:
        function = machine.symbol(name, Func, op.location)
        found = yield machine.call(function, [environment[operand] for operand in operands], op.location)
        _define(environment, op, found)

    return Step(run, is_task=True)


# ---------------------------------------------------------------- loops and branches


@runs("scf.for")
def for_(machine: Machine, op: scf.For) -> Step:
    bounds, inits = op.operands[:3], op.inits
    code = machine.code(only_block(op))

    def counts(environment: Environment) -> list[Any]:
        lower, upper, step = (environment[bound] for bound in bounds)
        return [type(lower)(at) for at in _range(op, lower, upper, step)]

    def run(environment: Environment) -> None:
        carried = [environment[init] for init in inits]
        for at in counts(environment):
            carried = code.execute(environment, [at, *carried])
        _define(environment, op, carried)

    def task(environment: Environment) -> Task:
        carried = [environment[init] for init in inits]
        for at in counts(environment):
            carried = yield code.task(environment, [at, *carried])
        _define(environment, op, carried)

    is_task = not code.is_flat or code.depth >= FLAT_DEPTH
    return Step(task, is_task=True) if is_task else Step(run, depth=code.depth + 1)


def _range(op: Op, lower: Any, upper: Any, step: Any) -> range:
    """What a loop counts; DlirError for a step that does not count up."""
    if step <= 0:
        raise DlirError(f"the step of '{op.name}' must be positive, got {step}", op.location)
    return range(int(lower), int(upper), int(step))


@runs("scf.if")
def if_(machine: Machine, op: scf.If) -> Step:
    condition = op.operands[0]
    then, otherwise = (machine.code(only_block(op, i)) if op.regions[i].blocks else None for i in (0, 1))

    def run(environment: Environment) -> Task:
        code = then if environment[condition] else otherwise
        if code is not None:
            _define(environment, op, (yield code.task(environment, ())))

    return Step(run, is_task=True)


@runs("scf.while")
def while_(machine: Machine, op: scf.While) -> Step:
    inits = op.operands
    before, after = (machine.code(only_block(op, i)) for i in (0, 1))

    def run(environment: Environment) -> Task:
        values = [environment[init] for init in inits]
        while True:
            goes_on, *values = yield before.task(environment, values)
            if not goes_on:
                break
            values = yield after.task(environment, values)
        _define(environment, op, values)

    return Step(run, is_task=True)


@runs("scf.parallel")
def parallel(machine: Machine, op: scf.Parallel) -> Step:
    lowers, uppers, steps, inits = op.groups
    code = machine.code(only_block(op))
    combine = [_combiner(machine, region) for region in code.ending.regions]

    def run(environment: Environment) -> Task:
        bounds = ([environment[value] for value in group] for group in (lowers, uppers, steps))
        ranges = [_range(op, *bound) for bound in zip(*bounds, strict=True)]
        totals = [environment[init] for init in inits]
        for point in itertools.product(*ranges):
            arguments = [np.int64(at) for at in point]
            if code.is_flat:
                values = code.execute(environment, arguments)
            else:
                values = yield code.task(environment, arguments)
            for index, (reduction, value) in enumerate(zip(combine, values)):
                (totals[index],) = yield reduction.task(environment, [totals[index], value])
        _define(environment, op, totals)

    return Step(run, is_task=True)


def _combiner(machine: Machine, region: Region) -> Code:
    return machine.code(region.block)


# ---------------------------------------------------------------- kernels


@runs("kernel.region")
def kernel(machine: Machine, op: KernelRegion) -> Step:
    ins, destinations = op.ins, op.destinations
    code = machine.code(only_block(op))

    def run(environment: Environment) -> Task:
        found = yield code.task(environment, [environment[value] for value in ins])
        if not op.is_bufferized:
            _define(environment, op, found)
            return
        # A result may be a view of an input that lives in a destination: take all before any is written.
        if len(found) > 1:
            found = [np.array(value) for value in found]
        for destination, value in zip(destinations, found, strict=True):
            target = environment[destination]
            if not target.flags.writeable:
                raise DlirError(f"'{op.name}' writes to an input or a constant", op.location)
            target[...] = value

    return Step(run, is_task=True)


@runs("kernel.matmul")
def multiply(machine: Machine, op: Matmul) -> Step:
    operands = op.operands

    def run(environment: Environment) -> None:
        if not environment[op.group("into")].flags.writeable:
            raise DlirError(f"'{op.name}' writes to an input or a constant", op.location)
        op.compute([environment[value] for value in operands])

    return Step(run)


@runs("gpu.launch_func")
def launch(machine: Machine, op: Op) -> Step:
    raise DlirError(
        "the reference interpreter does not run GPU kernels", op.location, hint="use the backend cuda or cuda-sim"
    )


@runs("arith.constant")
def constant(machine: Machine, op: Op) -> Step:
    """As its ``eval``, but once."""
    once: Environment = {}
    eval_step(machine, op).run(once)
    return Step(lambda environment: environment.update(once))
