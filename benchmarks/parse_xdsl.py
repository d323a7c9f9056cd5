"""How fast text becomes IR: dlir against xDSL, on the same modules in MLIR's generic form, in one process.

    python benchmarks/parse_xdsl.py [--ops 10000] [--repeats 3]

xDSL is pip-installable (``xdsl==0.74.0``).  Times are CPU seconds, the best of the repeats, with a fresh context each time.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable
from typing import Any


class Generator:
    """Writes one function of about so many ops, in MLIR's generic form."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.count = 0

    def result(self, text: str) -> str:
        """Write an op with a result, and give its name."""
        name = f"%{self.count}"
        self.lines.append(f"    {name} = {text}")
        self.count += 1
        return name

    def module(self, ops: int, body: Callable[[Generator, int], str], argument: str) -> str:
        """The text of a module whose function body `body` writes."""
        used = body(self, ops)
        type = f"({argument}) -> {argument}"
        head = f'"builtin.module"() ({{\n  "func.func"() <{{function_type = {type}, sym_name = "main"}}> ({{\n'
        tail = f'    "func.return"({used}) : ({argument}) -> ()\n  }}) : () -> ()\n}}) : () -> ()\n'
        return head + f"  ^bb0(%x: {argument}):\n" + "\n".join(self.lines) + "\n" + tail


def scalars(to: Generator, ops: int) -> str:
    """Straight-line integer arithmetic."""
    values = ["%x"]
    while to.count < ops:
        if to.random.random() < 0.1:
            values.append(to.result(f'"arith.constant"() <{{value = {to.random.randrange(1000)} : i32}}> : () -> i32'))
            continue
        name = to.random.choice(["addi", "subi", "muli"])
        first, second = to.random.choice(values[-20:]), to.random.choice(values[-20:])
        flags = "<{overflowFlags = #arith.overflow<none>}>"
        values.append(to.result(f'"arith.{name}"({first}, {second}) {flags} : (i32, i32) -> i32'))
    return values[-1]


TENSOR = "tensor<8x64x56x56xf32>"


def layers(to: Generator, ops: int) -> str:
    """Big ops of an unregistered dialect, with dictionaries of attributes."""
    values = ["%x"]
    while to.count < ops:
        first, second = to.random.choice(values[-8:]), to.random.choice(values[-8:])
        one, two = f": ({TENSOR}) -> {TENSOR}", f": ({TENSOR}, {TENSOR}) -> {TENSOR}"
        texts = [
            f'"dl.conv2d"({first}, {second}) <{{groups = 1 : i64, pads = array<i64: 1, 1, 1, 1>, strides = array<i64: 1, 1>}}>'
            f' {{layer = "l{to.count}", act = #dl.act<relu>}} {two}',
            f'"dl.add"({first}, {second}) {two}',
            f'"dl.leaky_relu"({first}) {{alpha = {to.random.random():.6e} : f32}} {one}',
            f'"dl.batch_norm"({first}) {{epsilon = 1.000000e-05 : f32, mode = "inference", dims = [0, 2, 3]}} {one}',
            f'"dl.transpose"({first}) {{perm = dense<[0, 1, 3, 2]> : tensor<4xi64>}} {one}',
        ]
        values.append(to.result(to.random.choice(texts)))
    return values[-1]


LOOP = """"dl.loop"(VALUE) ({
    ^bb0(%iN: TENSOR):
      %bN = "dl.mul"(%iN, VALUE) : (TENSOR, TENSOR) -> TENSOR
      %cN = "dl.if"(%bN) ({
        %dN = "dl.neg"(%bN) : (TENSOR) -> TENSOR
        "dl.yield"(%dN) : (TENSOR) -> ()
      }, {
        "dl.yield"(%bN) : (TENSOR) -> ()
      }) : (TENSOR) -> TENSOR
      "dl.yield"(%cN) : (TENSOR) -> ()
    }) {step = N : i64} : (TENSOR) -> TENSOR"""


def loops(to: Generator, ops: int) -> str:
    """Regions inside regions, seven ops at a time."""
    value = "%x"
    while to.count < ops:
        text = LOOP.replace("TENSOR", TENSOR).replace("VALUE", value).replace("N", str(to.count))
        value = to.result(text)
        to.count += 6
    return value


KINDS = {"scalars": (scalars, "i32"), "layers": (layers, TENSOR), "loops": (loops, TENSOR)}


def generate(kind: str, ops: int, seed: int = 0) -> str:
    """A module of about so many ops."""
    body, argument = KINDS[kind]
    return Generator(seed).module(ops, body, argument)


def best(parse: Callable[[str], Any], text: str, repeats: int) -> tuple[float, Any]:
    """CPU seconds of the fastest run, and what it gave."""
    fastest, module = float("inf"), None
    for _ in range(repeats):
        module = None
        gc.collect()
        start = time.process_time()
        module = parse(text)
        fastest = min(fastest, time.process_time() - start)
    return fastest, module


def parse_with_xdsl(text: str) -> Any:
    """The module as xDSL's."""
    from xdsl.context import Context
    from xdsl.dialects import get_all_dialects
    from xdsl.parser import Parser

    context = Context(allow_unregistered=True)
    for name, load in get_all_dialects().items():
        context.register_dialect(name, load)
    return Parser(context, text).parse_module()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    from dlir.textir import parse

    print(f"{'module':10} {'ops':>7} {'dlir ops/s':>11} {'xDSL ops/s':>11} {'ratio':>6}")
    for kind in KINDS:
        text = generate(kind, arguments.ops)
        ours, module = best(parse, text, arguments.repeats)
        theirs, other = best(parse_with_xdsl, text, arguments.repeats)
        count = sum(1 for _ in module.walk())
        assert count == sum(1 for _ in other.walk()), "the two parsers disagree"
        print(f"{kind:10} {count:7} {count / ours:11.0f} {count / theirs:11.0f} {theirs / ours:6.1f}")


if __name__ == "__main__":
    main()
