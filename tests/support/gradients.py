"""Functions, their gradients and how they move, run op by op with each op's NumPy meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dlir.ir.builder import at_end
from dlir.ir.core import Block, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.op import Op
from dlir.ir.ops import diff, func
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.passes.manager import PassManager

Build = Callable[..., Any]


def type_of(array: Any) -> TensorType:
    return TensorType(np.shape(array), dtype_from_numpy(np.asarray(array).dtype))


def function_of(build: Build, arrays: Sequence[Any], passes: str = "differentiate") -> Func:
    """``@main`` with what `build` makes of arguments like `arrays`, after `passes`."""
    module = Module.empty()
    main = Func.make("main", [type_of(array) for array in arrays])
    module.body.append(main)
    with at_end(main.body):
        func.return_(*many(build(*main.body.args)))
    main.update_type()
    PassManager.from_text(passes).run(module)
    return main


def run(main: Func, *arrays: Any) -> list[np.ndarray]:
    """What the straight-line function `main` returns."""
    return run_block(main.body, arrays)


def run_block(block: Block, arrays: Sequence[Any]) -> list[np.ndarray]:
    values: dict[Value, Any] = dict(zip(block.args, arrays, strict=True))
    for op in block.ops:
        assert isinstance(op, Op), op
        operands = [values[operand] for operand in op.operands]
        if op.is_terminator:
            return [np.asarray(value) for value in operands]
        for result, value in zip(op.results, op.evaluate(operands), strict=True):
            assert type_of(value) is result.type, f"{op.name} gives {type_of(value)}, not {result.type}"
            values[result] = value
    raise AssertionError("the block has no terminator")


def many(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, tuple | list) else (values,)


def gradient(outputs: Any, cotangents: Any, inputs: Any) -> tuple[Value, ...]:
    """One result for each input, of ``diff.gradient``."""
    return many(diff.gradient(many(outputs), many(cotangents), many(inputs)))


def jvp(outputs: Any, inputs: Any, tangents: Any) -> tuple[Value, ...]:
    """One result for each output, of ``diff.jvp``."""
    return many(diff.jvp(many(outputs), many(inputs), many(tangents)))


def slope(function: Callable[..., Sequence[Any]], arrays: Sequence[Any], step: Sequence[Any], h: float) -> list[Any]:
    """How the results of `function` move per unit of `step` at `arrays`: a central difference of fourth order.

    None stands for an array that stays.
    """

    def at(scale: float) -> list[Any]:
        moved = [a if d is None else a + scale * d for a, d in zip(arrays, step, strict=True)]
        return [np.asarray(found, np.float64) for found in function(*moved)]

    far, near = zip(at(2 * h), at(-2 * h), strict=True), zip(at(h), at(-h), strict=True)
    return [(8 * (b1 - b0) - (a1 - a0)) / (12 * h) for (a1, a0), (b1, b0) in zip(far, near, strict=True)]
