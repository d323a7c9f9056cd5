"""lower-nn: layers become the array ops that define them."""

from __future__ import annotations

import numpy as np
import pytest
from support.buffers import make_function

from dlir.ir.dialects.decompose import Decomposed
from dlir.ir.location import file_location
from dlir.ir.registry import dialect_ops
from dlir.ir.traversal import clone, structurally_equal
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.passes.lower_nn import LowerNn
from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text

NETWORK = """
func.func @main(%x: tensor<4x8xf32>, %w: tensor<8x3xf32>, %b: tensor<3xf32>) -> tensor<4x3xf32> {
  %h = nn.dense %x, %w, %b {activation = "relu"}
  %y = nn.softmax %h
  return %y
}
"""


def lower(module):
    manager = PassManager([LowerNn()])
    manager.run(module)
    return manager.passes[0].stats


def test_layers_become_array_ops_that_keep_their_names():
    module = parse(NETWORK)
    assert lower(module)["lowered"] == 2
    text = to_text(module)
    assert "nn." not in text
    assert "%h = nd.relu" in text and "return %y" in text


def test_named_formulas_of_nd_stay():
    module = parse(NETWORK)
    lower(module)
    assert "%y = nd.softmax %h" in to_text(module)


def test_the_new_ops_stand_where_the_layer_stood():
    module = parse(NETWORK, "net.dlir")
    layer = next(op for op in module.walk() if op.name == "nn.dense")
    lower(module)
    made = [op for op in module.walk() if op.name in ("nd.matmul", "nd.add", "nd.relu")]
    assert len(made) == 3
    assert {file_location(op.location) for op in made} == {file_location(layer.location)}


def test_what_is_below_is_left_as_it_is():
    module = parse(NETWORK)
    lower(module)
    again = clone(module)
    assert lower(again)["lowered"] == 0
    assert structurally_equal(module, again)


LAYERS = [name for name, cls in dialect_ops("nn").items() if issubclass(cls, Decomposed)]


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_lowers_to_ops_of_other_dialects(name):
    cls = dialect_ops("nn")[name]
    operands, attributes = cls.sample(np.random.default_rng(0))
    types = [TensorType(a.shape, dtype_from_numpy(a.dtype)) for a in operands if a is not None]

    def body(*args):
        given = iter(args)
        return cls.build(*[None if a is None else next(given) for a in operands], **attributes)

    module = make_function(types, body)
    want = module.body.first.type.results
    assert lower(module)["lowered"] >= 1
    assert not any(op.name.startswith("nn.") for op in module.walk())
    assert module.body.first.body.terminator.operand_types == want
