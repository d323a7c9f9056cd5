"""The ``diff`` dialect: gradients, asked for beside the values that they are of; the pass ``differentiate`` makes them.

A ``diff`` op stands in the block of the values that it names, and differentiates the ops between them: gradients of
gradients are ``diff`` ops that name the results of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.ir.dialects.nd.checks import kind_of
from dlir.ir.dialects.nd.operands import tensors
from dlir.ir.op import InferError, Op, Tensor


class Gradient(Op, name="diff.gradient"):
    """The gradient of the sum of all `outputs`, each times its cotangent, with regard to `inputs`: one for each input.

    Without `cotangents`, one output counts with ones, so that it is the gradient of its sum; several must be scalars.
    With regard to a value that the outputs do not depend on, it is zero.  Without operandSegmentSizes the first operand is
    the output, and all others are inputs.
    """

    @classmethod
    def default_segments(cls, count: int) -> list[int]:
        return [1, 0, max(count - 1, 0)]

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @staticmethod
    def infer(
        outputs: tuple[Tensor, ...], cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        _need_floats("output", outputs, "differentiate the value that it was made from")
        _need_floats("input", inputs, "cast it to a float first, and differentiate with regard to that")
        if not outputs:
            raise InferError("needs an output, the value to differentiate")
        if cotangents:
            _need_same("cotangent", cotangents, "output", outputs)
        elif len(outputs) > 1 and any(output.rank for output in outputs):
            shaped = next(output for output in outputs if output.rank)
            raise InferError(
                f"has {len(outputs)} outputs without cotangents, and one is no scalar but {shaped}",
                hint="give a cotangent for each output, or add up what is to be differentiated",
            )
        return inputs


class Jvp(Op, name="diff.jvp"):
    """How `outputs` change when `inputs` move along `tangents`: the product of the Jacobian with them.

    There is a result for each output, and a tangent for each input.  Without operandSegmentSizes the first operand is the
    output, and inputs come before tangents.
    """

    @classmethod
    def default_segments(cls, count: int) -> list[int]:
        return [1, max(count - 1, 0) // 2, max(count - 1, 0) // 2]

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @staticmethod
    def infer(
        outputs: tuple[Tensor, ...], inputs: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        _need_floats("output", outputs, "differentiate the value that it was made from")
        _need_floats("input", inputs, "cast it to a float first, and differentiate with regard to that")
        if not outputs:
            raise InferError("needs an output, the value to differentiate")
        _need_same("tangent", tangents, "input", inputs)
        return outputs


class StopGradient(Op, name="diff.stop_gradient"):
    """x, which counts as a constant for gradients: JAX's ``stop_gradient``, PyTorch's ``detach``."""

    differentiable = False

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        return tensors(groups)

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        return x


def _need_floats(what: str, types: Sequence[Tensor], remedy: str) -> None:
    """InferError unless all `types` are of floats: only those have slopes."""
    for number, type in enumerate(types):
        if kind_of(type.dtype) != "f":
            raise InferError(f"differentiates floats, and {what} {number} is {type}", hint=remedy)


def _need_same(what: str, given: Sequence[Tensor], of: str, wanted: Sequence[Tensor]) -> None:
    """InferError unless there is one of `given` for each of `wanted`, of its type."""
    if len(given) != len(wanted):
        raise InferError(f"needs one {what} for each {of}: got {len(given)} for {len(wanted)}")
    for number, (mine, theirs) in enumerate(zip(given, wanted, strict=True)):
        if mine is not theirs:
            raise InferError(f"needs a {what} of the {of}'s type: {what} {number} is {mine}, and the {of} {theirs}")
