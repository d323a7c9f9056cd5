"""What gradients ask about: checked here, where the values have the names that their author gave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.frontends.symbolic.node import CONSTANT, PARAMETER, RESULT, VARIABLE, Node
from dlir.ir.core import Value
from dlir.ir.errors import DlirError, Note
from dlir.ir.types import TensorType, is_float

#: For each question: which group of operands are the outputs, which the inputs, and which has one for each of what others.
_GROUPS = {"diff.gradient": (0, 2, (1, 0)), "diff.jvp": (0, 1, (2, 1))}


def is_question(node: Node) -> bool:
    """Whether a node asks for gradients."""
    return node.op in _GROUPS


def seeds_of(node: Node) -> tuple[int, int]:
    """The group of the cotangents or tangents of a question, and the group that has one value for each of them."""
    return _GROUPS[node.op][2]


def check_question(node: Node, groups: Sequence[Sequence[Any]]) -> None:
    """DlirError, with the names of nodes, unless a question is one about floats and has one answer.

    `groups` are the values of its operands.
    """
    outputs, inputs, (seeds, _) = _GROUPS[node.op]
    nodes = node.groups
    for position, what in ((outputs, "differentiate"), (inputs, "differentiate with regard to")):
        for item, value in zip(nodes[position], groups[position], strict=True):
            type = value.type if isinstance(value, Value) else None
            if isinstance(type, TensorType) and not is_float(type.dtype):
                message = f"cannot {what} {spell(item)}, which is {type}: only floats have gradients"
                raise DlirError(message, node.location, notes=_made_at(item), hint=_remedy(item, position == outputs))
    if node.op == "diff.gradient" and len(nodes[outputs]) > 1 and not nodes[seeds]:
        for item, value in zip(nodes[outputs], groups[outputs], strict=True):
            if isinstance(value, Value) and isinstance(value.type, TensorType) and value.type.rank:
                message = (
                    f"{spell(item)} is {value.type} and no scalar, and without cotangents it is not clear what counts"
                )
                hint = (
                    "give a cotangent for each output, or add up what is to be differentiated, with nd.sum or nd.mean"
                )
                raise DlirError(message, node.location, notes=_made_at(item), hint=hint)


def spell(node: Node) -> str:
    """What a node is, in words."""
    if node.op == CONSTANT:
        return "a constant"
    if node.op in (VARIABLE, PARAMETER):
        return f"{'input' if node.op == VARIABLE else 'parameter'} '{node.name}'"
    source = node.inputs[0] if node.op == RESULT else node
    op = source.op if source is not None else node.op
    return f"'{node.name}', the result of {op}" if node.name else f"the result of {op}"


def _made_at(node: Node) -> list[Note]:
    return [Note("it is made here", node.location)]


def _remedy(node: Node, is_output: bool) -> str:
    if is_output and node.op not in (VARIABLE, PARAMETER):
        return "differentiate a float that it is made from"
    if node.op == VARIABLE:
        return f"give floats for '{node.name}', or differentiate with regard to nd.cast({node.name}, dtype='float32')"
    return "make it of floats"
