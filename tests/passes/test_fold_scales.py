"""fold-scales: scales and shifts of channels go into frozen weights, and into nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dlir.backends.ref.reference import Reference
from dlir.ir.traversal import clone
from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager
from dlir.textir import parse

CONV = """
  %w = nd.constant {value = dense<[[[[0.5, -1.0], [2.0, 0.25]]], [[[1.0, 3.0], [-2.0, 0.125]]]]> : tensor<2x1x2x2xf32>}
  %y = nd.conv %x, %w
"""
VECTORS = """
  %g = nd.constant {value = dense<[1.5, -2.0]> : tensor<2xf32>}
  %b = nd.constant {value = dense<[0.5, 3.0]> : tensor<2xf32>}
  %m = nd.constant {value = dense<[0.25, -1.0]> : tensor<2xf32>}
  %v = nd.constant {value = dense<[4.0, 0.5]> : tensor<2xf32>}
"""
NORM = "%r = nn.batch_norm %y, %g, %b, %m, %v"


def folded(body, header="%x: tensor<3x1x4x5xf32>", prelude=""):
    """The ops between the arguments and the result that depend on the arguments; the results before and after agree."""
    numbers = dict.fromkeys(re.findall(r"(?<=[ ])(?:\d+\.\d)(?=$|,)", body, re.M))
    for number in numbers:
        body = re.sub(rf"(?<= ){number}(?=$|,)", f"%n{number[0]}", body, flags=re.M)
    body = "\n".join(f"%n{n[0]} = nd.constant {{value = dense<{n}> : tensor<f32>}}" for n in numbers) + "\n" + body
    text = prelude + f"func.func @main({header}) {{\n{body}\nreturn %r\n}}"
    module = parse(text)
    module.body.last.update_type()
    PassManager.from_text("lower-nn,canonicalize,cse").run(verified(module))
    after = clone(module)
    PassManager.from_text("fold-scales").run(after)
    verified(after)
    rng = np.random.default_rng(0)
    function = next(op for op in after.body.ops if op.name == "func.func")
    arrays = [rng.normal(size=arg.shape).astype(arg.dtype.numpy) for arg in function.body.args]
    one, two = (Reference(item).run("main", arrays)[0] for item in (module, after))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
    depends = dict.fromkeys(function.body.args)
    names = []
    for op in function.body.ops:
        if any(value in depends for value in op.operands):
            depends.update(dict.fromkeys(op.results))
            names.append(op.name.removeprefix("nd."))
    return names[:-1]


def test_batch_norm_behind_a_convolution_leaves_one_addition():
    assert folded(CONV + VECTORS + NORM) == ["conv", "add"]


def test_a_bias_before_it_joins():
    shape = "%s = nd.reshape %m {shape = [2, 1, 1]}\n%z = nd.add %y, %s\n"
    assert folded(CONV + VECTORS + shape + NORM.replace("%y", "%z")) == ["conv", "add"]


@pytest.mark.parametrize(
    ("flag", "shape"), [("", "4x2"), (" {transpose_b = true}", "2x4"), (" {transpose_a = true}", "3x2")]
)
def test_batch_norm_behind_a_product(flag, shape):
    weights = (
        f"%w = nd.iota {{shape = [{shape.replace('x', ', ')}], axis = 0, dtype = f32}}\n%y = nd.matmul %x, %w{flag}"
    )
    assert folded(weights + VECTORS + NORM, "%x: tensor<3x4xf32>") == ["matmul", "add"]


def test_several_steps_in_any_order():
    steps = "%1 = nd.mul 2.0, %y\n%2 = nd.sub %1, 3.0\n%3 = nd.div %2, 4.0\n%r = nd.add 1.0, %3"
    assert folded(CONV + steps) == ["conv", "add"]


def test_two_shifts_become_one():
    assert folded(CONV + "%1 = nd.add %y, 1.0\n%r = nd.sub %1, 3.0") == ["conv", "add"]


@pytest.mark.parametrize(
    ("what", "body", "left"),
    [
        ("one shift is no gain", CONV + "%r = nd.add %y, 1.0", ["conv", "add"]),
        (
            "a scale for each place",
            CONV + "%s = nd.iota {shape = [3, 4], axis = 1, dtype = f32}\n%r = nd.mul %y, %s",
            ["conv", "mul"],
        ),
        ("a quotient of it", CONV + "%r = nd.div 1.0, %y", ["conv", "div"]),
        ("a difference from it", CONV + "%1 = nd.sub 1.0, %y\n%r = nd.mul %1, 2.0", ["conv", "sub", "mul"]),
        ("itself", CONV + "%r = nd.mul %y, %y", ["conv", "mul"]),
        ("what is used elsewhere", CONV + "%1 = nd.mul %y, 2.0\n%r = nd.add %1, %y", ["conv", "mul", "add"]),
    ],
)
def test_what_stays(what, body, left):
    assert folded(body) == left, what


def test_weights_that_are_inputs_stay():
    header = "%x: tensor<3x1x4x5xf32>, %w: tensor<2x1x2x2xf32>"
    assert folded("%y = nd.conv %x, %w\n%r = nd.mul %y, 2.0", header) == ["conv", "mul"]


STATE = "state.variable @w {init = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>, type = tensor<2x2xf32>}\n"
PRODUCT = "%w = state.read @w : tensor<2x2xf32>\n%y = nd.matmul %x, %w\n%r = nd.mul %y, 2.0"


def test_only_variables_that_nobody_writes():
    assert folded(PRODUCT, "%x: tensor<3x2xf32>", STATE) == ["matmul"]


def test_two_byte_floats_stay():
    body = "%w = nd.iota {shape = [1, 1], axis = 0, dtype = f16}\n%y = nd.matmul %x, %w\n%r = nd.mul %y, %w"
    assert folded(body, "%x: tensor<2x1xf16>") == ["matmul", "mul"]
