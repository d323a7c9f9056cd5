"""Every op of every dialect answers operands and attributes that make no sense with a diagnostic, never with an exception."""

from __future__ import annotations

import random

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.location import file_location
from dlir.ir.registry import DIALECTS, dialect_ops
from dlir.textir import parse

TYPES = [
    *("tensor<4xf32>", "tensor<?x4xf32>", "tensor<i1>", "tensor<0xf16>", "tensor<2x3x4x5xi8>"),
    *(
        "tensor<4xcomplex<f32>>",
        "tensor<4xf80>",
        "tensor<4xi4>",
        "tensor<4xvector<4xf32>>",
        "tensor<2xf32, #d.e>",
        "tensor<4x!d.t>",
        "tensor<*xf32>",
    ),
    *("f32", "i1", "index", "memref<4xf32>", "vector<4xf32>", "!d.t", "none", "(() -> ())"),
    "tensor<9000000000x9000000000xf32>",
]
SOURCES = "".join(f'%v{number} = "d.c"() : () -> {type}\n' for number, type in enumerate(TYPES))
VALUES = ["7", "-1", "[9, 9]", "[-5]", "[0, 0]", "[]", "0.5", "f32", "i4", '"x"', "true", "@f", "[@f]"]
VALUES += ["dense<1> : tensor<2xi4>", "9223372036854775807"]


def odd_line(name: str, names: list[str], count: int, choose: random.Random) -> str:
    """A use of an op with random operands and attributes."""
    count = max(0, count + choose.choice([0, 0, 0, -1, 1]))
    operands = ", ".join(f"%v{choose.randrange(len(TYPES))}" for _ in range(count))
    some = choose.sample(names, choose.randrange(min(len(names), 3) + 1))
    attributes = ", ".join(f"{key} = {choose.choice(VALUES)}" for key in some)
    return f"{name} {operands} {{{attributes}}}\n"


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect not in ("builtin", "func")])
def test_odd_operands(dialect):
    choose = random.Random(0)
    refused = 0
    for name, cls in dialect_ops(dialect).items():
        schema = cls.schema()
        names = list(schema.attributes)
        lines = [odd_line(name, names, len(schema.operands), choose) for _ in range(80)]
        lines += [f"{name} {', '.join([f'%v{n}'] * len(schema.operands))}\n" for n in range(len(TYPES))]
        try:
            parse(SOURCES + "".join(lines), "odd.dlir")
        except DlirError as error:
            refused += 1
            for diagnostic in error.diagnostics:
                place = file_location(diagnostic.location)
                assert diagnostic.message and place is not None and place.file == "odd.dlir", name
    assert refused, "nothing was odd enough"
