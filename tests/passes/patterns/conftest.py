"""Programs for rules, and ops that the dialects of dlir have no need of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dlir.ir.op import InferError, Op, Tensor
from dlir.ir.verifier import verified
from dlir.passes.patterns import parse_patterns
from dlir.passes.rewriter import rewrite
from dlir.textir import parse, to_text


class DivMod(Op, name="rules_test.divmod"):
    """Two results."""

    @staticmethod
    def infer(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        if a is not b:
            raise InferError(f"got {a} and {b}")
        return a, a

    @staticmethod
    def eval(a: Any, b: Any) -> Any:
        return np.floor_divide(a, b), np.mod(a, b)


class Sums(Op, name="rules_test.sums"):
    """Any number of operands, and an attribute of each kind."""

    @staticmethod
    def infer(first: Tensor, *rest: Tensor, mode: str = "plain", scale: float = 1.0, flag: bool = False) -> Tensor:
        return first

    @staticmethod
    def eval(first: Any, *rest: Any, mode: str, scale: float, flag: bool) -> Any:
        return (sum(rest, first) * scale).astype(first.dtype)


def make_program(body: str, header: str) -> Any:
    """A module with a function ``@main``; a number among the operands of a line stands for a constant tensor<4xf32>."""
    constants: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        return constants.setdefault(match[0], f"%num{len(constants)}")

    number = r"(?<=[ ,])-?\d+\.\d+(?=,|$)"
    lines = [line if "{" in line else re.sub(number, named, line.strip()) for line in body.splitlines()]
    made = [f"{name} = nd.constant {{value = dense<{number}> : tensor<4xf32>}}" for number, name in constants.items()]
    module = parse(f"func.func @main({header}) {{\n" + "\n".join([*made, *lines]) + "\n}", "a.dlir")
    module.body.first.update_type()
    return module


@pytest.fixture
def program() -> Callable[..., Any]:
    """`make_program`."""
    return lambda body, header="%x: tensor<4xf32>, %y: tensor<4xf32>": make_program(body, header)


@pytest.fixture
def apply() -> Callable[..., list[str]]:
    """Apply rules to a program until none matches; the lines of its body, without types and constants of its own."""

    def run(rules: str, body: str, header: str = "%x: tensor<4xf32>, %y: tensor<4xf32>") -> list[str]:
        module = make_program(body, header)
        rewrite(module, parse_patterns(rules))
        verified(module)
        lines = [line.strip().partition(" : ")[0] for line in to_text(module).splitlines()[2:-2]]
        return [line for line in lines if not re.match(r"%num\d+ =", line)]

    return run
