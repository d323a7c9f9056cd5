"""Losses: how far predictions are from what was wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import (
    need_kind,
    need_shape,
    normalize_axis,
    reduced_shape,
    same_dtype,
    same_shape,
)
from dlir.ir.dialects.nd.composite import narrowed, widened
from dlir.ir.dialects.nd.reduction import refuse_empty
from dlir.ir.dialects.nd.samples import pick, random_array, random_dtype, random_shape
from dlir.ir.dialects.nn.base import Layer, need_floats
from dlir.ir.dialects.nn.normalization import element_count
from dlir.ir.op import InferError, Tensor
from dlir.ir.ops import nd
from dlir.ir.types import I32, I64, is_float

Reduction = Literal["mean", "sum", "none"]


class CrossEntropy(Layer, name="nn.cross_entropy"):
    """-log(softmax(logits)) at the label, along `axis`: PyTorch's ``cross_entropy``.

    `labels` are class indices, integers with the shape of the logits less `axis`, or probabilities, floats with the
    shape and dtype of the logits: then it is -sum(labels * log_softmax(logits)).  `reduction` is over all of them;
    `none` gives a loss for each.  Labels equal to `ignore_index` count as nothing, also in the mean.  A label that is no
    class gives inf.  f16 and bf16 are computed in f32, and the result is rounded once.
    """

    @staticmethod
    def infer(
        logits: Tensor,
        labels: Tensor,
        *,
        axis: int = 1,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
    ) -> Tensor:
        need_kind(logits.dtype, "f")
        need_kind(labels.dtype, "iuf")
        axes = (normalize_axis(axis, logits.rank),)
        refuse_empty(logits.shape, axes)
        shape = reduced_shape(logits.shape, axes, False)
        if is_float(labels.dtype):
            same_dtype(logits, labels)
            need_shape("labels", labels, logits.shape, f"probabilities for logits {logits}")
            if ignore_index is not None:
                raise InferError("'ignore_index' is for class indices, and labels are probabilities")
        else:
            need_shape(
                "labels", labels, shape, f"class indices for logits {logits}, of which axis {axes[0]} is classes"
            )
        return logits.with_shape(shape if reduction == "none" else ())

    @staticmethod
    def decompose(
        logits: Value,
        labels: Value,
        *,
        axis: int = 1,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
    ) -> Value:
        wide = widened(logits)
        below = nd.sub(wide, nd.max(wide, axes=(axis,), keepdims=True))
        total = nd.log(nd.sum(nd.exp(below), axes=(axis,), keepdims=True))
        if is_float(labels.dtype):
            loss = nd.sum(nd.mul(widened(labels), nd.sub(total, below)), axes=(axis,))
            return narrowed(_reduced(loss, reduction), logits)
        index, label = _comparable(wide, labels, axis)
        is_label = nd.equal(index, label)
        at_label = nd.sum(nd.select(is_label, below, 0.0), axes=(axis,), keepdims=True)
        is_class = _is_class(is_label, label, axis)
        loss = _without(nd.select(is_class, nd.sub(total, at_label), math.inf), axis)
        if ignore_index is None:
            return narrowed(_reduced(loss, reduction), logits)
        is_counted = nd.not_equal(nd.cast(labels, dtype=I64), ignore_index)
        loss = nd.select(is_counted, loss, 0.0)
        if reduction != "mean":
            return narrowed(_reduced(loss, reduction), logits)
        return narrowed(nd.div(nd.sum(loss), nd.sum(nd.cast(is_counted, dtype=loss.dtype))), logits)

    def vjp(self, cotangents: Sequence[Value | None], needs: Sequence[bool]) -> list[Value | None]:
        """softmax less what was wanted of it, times the weight of each loss; labels that do not count have none."""
        (g,) = cotangents
        assert g is not None
        logits, labels = self.operands
        axis, wide = self["axis"], widened(logits)
        if is_float(labels.dtype):
            weight = self._weight(g, wide, None)
            wanted = widened(labels)
            share = nd.mul(nd.softmax(wide, axis=axis), nd.sum(wanted, axes=(axis,), keepdims=True))
            of_labels = nd.neg(nd.mul(nd.log_softmax(wide, axis=axis), weight)) if needs[1] else None
            return [
                narrowed(nd.mul(nd.sub(share, wanted), weight), logits) if needs[0] else None,
                None if of_labels is None else narrowed(of_labels, labels),
            ]
        index, label = _comparable(wide, labels, axis)
        is_label = nd.equal(index, label)
        weight = self._weight(g, wide, _is_class(is_label, label, axis))
        softmax = nd.softmax(wide, axis=axis)
        return [narrowed(nd.mul(nd.select(is_label, nd.sub(softmax, 1.0), softmax), weight), logits), None]

    def _weight(self, g: Value, wide: Value, is_class: Value | None) -> Value:
        """How much the loss of each row of logits counts, with extent 1 along the axis; 0 unless `is_class`."""
        axis, labels = self["axis"], self.operands[1]
        g = widened(g)
        kept = tuple(
            1 if n == axis % wide.rank else -1 if extent is None else extent for n, extent in enumerate(wide.shape)
        )
        if self["reduction"] == "none":
            g = nd.reshape(g, shape=kept)
        if self["ignore_index"] is None:
            if self["reduction"] == "mean":
                g = nd.div(g, _rows(wide, axis))
            return g if is_class is None else nd.select(is_class, g, 0.0)
        assert is_class is not None
        is_counted = nd.reshape(nd.not_equal(nd.cast(labels, dtype=I64), self["ignore_index"]), shape=kept)
        if self["reduction"] == "mean":
            # With no label that counts the loss is NaN, but it stays so whatever the logits are.
            g = nd.div(g, nd.maximum(nd.sum(nd.cast(is_counted, dtype=g.dtype)), 1.0))
        return nd.select(nd.logical_and(is_class, is_counted), g, 0.0)

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape = pick(rng, [(2, 3), (1, 4), (5, 1), (0, 3), (2, 3, 2), (2, 4, 1, 2), (3, 10)])
        axis = pick(rng, [1, 1 - len(shape)])
        logits = random_array(rng, shape, random_dtype(rng, "f"))
        attributes = {"axis": axis, "reduction": pick(rng, ["mean", "sum", "none"])}
        if rng.random() < 0.3:
            return [logits, np.abs(random_array(rng, shape)).astype(logits.dtype)], attributes
        labels = rng.integers(0, shape[1], (shape[0], *shape[2:])).astype(pick(rng, ["i8", "i8", "i4", "u1"]))
        return [logits, labels], {**attributes, "ignore_index": pick(rng, [None, None, 0])}


class MseLoss(Layer, name="nn.mse_loss"):
    """The mean of (x - target) ** 2, their sum, or with `none` each of them: PyTorch's ``mse_loss``.

    f16 and bf16 are computed in f32, and the result is rounded once.
    """

    @staticmethod
    def infer(x: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
        need_floats(x, target)
        same_shape(x, target)
        return x.with_shape(x.shape if reduction == "none" else ())

    @staticmethod
    def decompose(x: Value, target: Value, *, reduction: Reduction = "mean") -> Value:
        difference = nd.sub(widened(x), widened(target))
        return narrowed(_reduced(nd.mul(difference, difference), reduction), x)

    def vjp(self, cotangents: Sequence[Value | None], needs: Sequence[bool]) -> list[Value | None]:
        (g,) = cotangents
        assert g is not None
        x, target = map(widened, self.operands)
        double = nd.mul(widened(g), 2.0)
        if self["reduction"] == "mean":
            double = nd.div(double, element_count(x, tuple(range(x.rank))))
        slope = narrowed(nd.mul(nd.sub(x, target), double), self.operands[0])
        return [slope, nd.neg(slope) if needs[1] else None]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        shape, dtype = random_shape(rng), random_dtype(rng, "f")
        arrays = [random_array(rng, shape, dtype) for _ in range(2)]
        return arrays, {"reduction": pick(rng, ["mean", "sum", "none"])}


def _rows(logits: Value, axis: int) -> Value | float:
    """How many losses there are: one for each row along `axis`."""
    axis = normalize_axis(axis, logits.rank)
    return element_count(logits, tuple(other for other in range(logits.rank) if other != axis))


def _reduced(loss: Value, reduction: Reduction) -> Value:
    match reduction:
        case "mean":
            return nd.mean(loss)
        case "sum":
            return nd.sum(loss)
        case "none":
            return loss


def _comparable(logits: Value, labels: Value, axis: int) -> tuple[Value, Value]:
    """The class of each element of `logits`, and labels that broadcast against them, in one integer type.

    That is i32 where the classes fit, which is as wide as a float: labels beyond are held at the edge, where no class is.
    """
    classes = logits.shape[axis]
    extents = [-1 if extent is None else extent for extent in logits.shape]
    dtype = I64 if classes is None or classes > np.iinfo(np.int32).max else I32
    index = nd.iota(logits if -1 in extents else None, shape=tuple(extents), axis=axis, dtype=dtype)
    if dtype is I32 and labels.dtype.bytes >= I32.bytes and labels.dtype is not I32:
        labels = nd.minimum(nd.maximum(nd.cast(labels, dtype=I64), -1), classes)
    extents[axis] = 1
    return index, nd.reshape(nd.cast(labels, dtype=dtype), shape=tuple(extents))


def _is_class(is_label: Value, label: Value, axis: int) -> Value:
    """Whether each label is a class."""
    classes = is_label.shape[axis]
    if classes is None:
        return nd.any(is_label, axes=(axis,), keepdims=True)
    return nd.logical_and(nd.greater_equal(label, 0), nd.less(label, classes))


def _without(x: Value, axis: int) -> Value:
    """`x` less a dimension of extent 1."""
    axis = normalize_axis(axis, x.rank)
    return nd.reshape(x, shape=tuple(-1 if n is None else n for i, n in enumerate(x.shape) if i != axis))
