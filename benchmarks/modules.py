"""Modules to measure with, in MLIR's generic form: straight arithmetic, big ops with attributes, nested regions, many blocks,
many symbols, and nearly every type new."""

from __future__ import annotations

import random
from collections.abc import Callable


class Generator:
    """Writes one function of about so many ops."""

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
    """Straight-line integer arithmetic, of which the same share is unused and repeated whatever the number of ops."""
    values = ["%x"]
    last = "%x"  # not a constant: with it as the function's result, everything else would be unused
    while to.count < ops:
        if to.random.random() < 0.1:
            values.append(
                to.result(f'"arith.constant"() <{{value = {to.random.randrange(ops // 3)} : i32}}> : () -> i32')
            )
            continue
        name = to.random.choice(["addi", "subi", "muli"])
        first, second = to.random.choice(values[-20:]), to.random.choice(values[-20:])
        flags = "<{overflowFlags = #arith.overflow<none>}>"
        last = to.result(f'"arith.{name}"({first}, {second}) {flags} : (i32, i32) -> i32')
        values.append(last)
    return last


TENSOR = "tensor<8x64x56x56xf32>"


def layers(to: Generator, ops: int) -> str:
    """Big ops with dictionaries of attributes."""
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


def types(to: Generator, ops: int) -> str:
    """Ops nearly every one of which has a type of its own."""
    while to.count < ops:
        i = to.count
        to.result(f'"dl.make"() : () -> tensor<{i % 997 + 1}x{i // 997 + 1}xf32>')
    return "%x"


def blocks(count: int) -> str:
    """One function of many blocks, each with an op and a branch."""
    lines = []
    for i in range(count // 2):
        lines.append(
            f'    %v{i} = "arith.addi"(%x, %x) <{{overflowFlags = #arith.overflow<none>}}> : (i32, i32) -> i32'
        )
        lines.append(f'    "cf.br"()[^b{i}] : () -> ()\n  ^b{i}:')
    body = "\n".join(lines) + '\n    "func.return"(%x) : (i32) -> ()'
    head = '"builtin.module"() ({\n  "func.func"() <{function_type = (i32) -> i32, sym_name = "main"}> ({\n  ^bb0(%x: i32):\n'
    return head + body + "\n  }) : () -> ()\n}) : () -> ()\n"


def symbols(count: int) -> str:
    """Many small functions that call each other."""
    parts = []
    for i in range(count // 3):
        callee = (i * 7919) % (count // 3)
        parts.append(
            f'  "func.func"() <{{function_type = (i32) -> i32, sym_name = "f{i}"}}> ({{\n  ^bb0(%x: i32):\n'
            f'    %0 = "func.call"(%x) <{{callee = @f{callee}}}> : (i32) -> i32\n'
            '    "func.return"(%0) : (i32) -> ()\n  }) : () -> ()'
        )
    return '"builtin.module"() ({\n' + "\n".join(parts) + "\n}) : () -> ()\n"


def _function(body: Callable[[Generator, int], str], argument: str) -> Callable[[int], str]:
    return lambda count: Generator(0).module(count, body, argument)


#: Name -> what makes the text of a module of about so many ops.
MODULES: dict[str, Callable[[int], str]] = {
    "scalars": _function(scalars, "i32"),
    "layers": _function(layers, TENSOR),
    "loops": _function(loops, TENSOR),
    "blocks": blocks,
    "symbols": symbols,
    "types": _function(types, "i32"),
}

#: The kinds whose ops are of the dialect `dl`, which nobody knows.
UNKNOWN = ("layers", "loops", "types")


def with_known_ops(kind: str) -> Callable[[int], str]:
    """The same module, but its ops are of the dialect `known`, which `known_ops` registers with both tools."""
    return lambda count: MODULES[kind](count).replace('"dl.', '"known.')
