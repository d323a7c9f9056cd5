"""The class of an op follows from its iteration space."""

import pytest

from dlir.ir.affine import AffineMap
from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.dialects.nd.base import Primitive, Space
from dlir.ir.op import Tensor
from dlir.ir.ops import arith, nd
from dlir.ir.types import F32, TensorType
from dlir.passes.kernels.classify import FusionClass, fusion_class


def class_of(make, *shapes):
    block = Block([TensorType(shape, F32) for shape in shapes])
    with at_end(block):
        make(*block.args)
    return fusion_class(block.last)


@pytest.mark.parametrize(
    ("make", "shapes", "expected"),
    [
        (lambda x: nd.exp(x), [(3, 4)], FusionClass.ELEMENTWISE),
        (lambda x, y: nd.add(x, y), [(3, 4), (3, 4)], FusionClass.ELEMENTWISE),
        (lambda x, y: nd.concat(x, y, axis=0), [(3, 4), (3, 4)], FusionClass.ELEMENTWISE),
        (lambda: nd.iota(shape=(3,)), [], FusionClass.ELEMENTWISE),
        (lambda x: nd.transpose(x), [(3, 4)], FusionClass.VIEW),
        (lambda x: nd.reshape(x, shape=(12,)), [(3, 4)], FusionClass.VIEW),
        (lambda x: nd.broadcast_to(x, shape=(2, 3, 4)), [(3, 4)], FusionClass.VIEW),
        (lambda x: nd.slice(x, start=(1, 0), stop=(3, 4)), [(3, 4)], FusionClass.VIEW),
        (lambda x: nd.sum(x, axes=(1,)), [(3, 4)], FusionClass.REDUCE),
        (lambda x: nd.max(x), [(3, 4)], FusionClass.REDUCE),
        (lambda x: nd.max_pool(x, kernel=(2, 2)), [(1, 1, 4, 4)], FusionClass.WINDOW),
        (lambda x, y: nd.matmul(x, y), [(3, 4), (4, 5)], FusionClass.CONTRACTION),
        (lambda x, y: nd.matmul(x, y), [(2, 3, 4), (2, 4, 5)], FusionClass.CONTRACTION),
        (lambda x, w: nd.conv(x, w), [(1, 2, 5, 5), (3, 2, 3, 3)], FusionClass.CONTRACTION),
        (lambda x: nd.softmax(x), [(3, 4)], FusionClass.OPAQUE),
    ],
)
def test_the_class_is_derived(make, shapes, expected):
    assert class_of(make, *shapes) is expected


def test_an_op_of_a_plugin_is_classified_by_its_space():
    class Diagonal(Primitive, name="tstk.diagonal"):
        @staticmethod
        def infer(x: Tensor) -> Tensor:
            return x.with_shape(x.shape[:1])

        def space(self):
            (rows,) = self.results[0].shape
            both = AffineMap.identity(1).exprs * 2
            return Space((rows,), maps=(AffineMap(1, both),))

        def element(self, ctx, index):
            return ctx.load(0, [index[0], index[0]])

    class Squares(Diagonal, name="tstk.squares"):
        def element(self, ctx, index):
            found = super().element(ctx, index)
            return arith.mulf(found, found)

    assert class_of(Diagonal.build, (4, 4)) is FusionClass.VIEW
    assert class_of(Squares.build, (4, 4)) is FusionClass.ELEMENTWISE
