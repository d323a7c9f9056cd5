"""What there is to draw: graphs of nodes, and functions at the levels of tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from dlir.frontends.drawing.picture import Box, Picture
from dlir.frontends.symbolic.node import CONSTANT, LEAVES, PARAMETER, RESULT, Node, sorted_nodes
from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.types import ShapedType

#: Ops of a kernel whose names are written in its box.
_SHOWN = 12
#: Ops that are not written there.
_SILENT = ("kernel.yield", "nd.constant", "nd.broadcast_to")


def picture_of_nodes(roots: Iterable[Node]) -> Picture:
    """The graph that `roots` need.  A result of an op with several is not a box of its own."""
    picture = Picture()
    numbers: dict[Node, int] = {}
    for node in sorted_nodes(roots):
        sources = [numbers[item] for item in node.inputs if item is not None]
        numbers[node] = sources[0] if node.op == RESULT else picture.add(_node_box(node), sources)
    return picture


def _node_box(node: Node) -> Box:
    if node.op == CONSTANT:
        value = node.attributes["value"]
        shape = "x".join(map(str, np.shape(value)))
        return Box((node.name or f"constant {shape}x{value.dtype}",), "constant")
    if node.op in LEAVES:
        return Box((node.name,), "parameter" if node.op == PARAMETER else "input")
    kind = "backward" if node.op.startswith("diff.") else "op"
    return Box((node.name, node.op) if node.name else (node.op,), kind)


def picture_of_function(function: Func, backward: Collection[Operation] = ()) -> Picture:
    """The ops of a function, or after ``fuse`` its kernels; `backward` are drawn as those that compute gradients."""
    picture = Picture()
    numbers: dict[Value, int] = {}
    for argument in function.body.args:
        text = f"%{argument.name or f'arg{argument.index}'}"
        numbers[argument] = picture.add(Box((text, _spell(argument)), "input"), [])
    for op in function.body.ops:
        sources = [numbers[value] for value in op.operands if value in numbers]
        if op.is_terminator:
            for position, source in enumerate(sources):
                picture.add(Box((f"result {position}",), "output"), [source])
            continue
        number = picture.add(_op_box(op, op in backward), sources)
        numbers.update((result, number) for result in op.results)
    return picture


def _op_box(op: Operation, is_backward: bool) -> Box:
    types = tuple(_spell(result) for result in op.results)
    if op.name == "kernel.region":
        inner = [item.name for item in op.body.ops if item.name not in _SILENT]
        more = (f"... {len(inner) - _SHOWN} more",) if len(inner) > _SHOWN else ()
        return Box((*inner[:_SHOWN], *more, *types), "backward" if is_backward else "kernel")
    if op.name in ("state.read", "state.write"):
        return Box((f"{'write' if op.name == 'state.write' else 'read'} @{op['variable']}", *types), "parameter")  # type: ignore[index]
    value = op.attributes.get("value")
    if isinstance(value, DenseElementsAttr) and op.name == "nd.constant":
        is_short = len(str(value)) < 40
        return Box((str(value) if is_short else "constant", *(() if is_short else types)), "constant")
    return Box((op.name, *types), "backward" if is_backward else "op")


def _spell(value: Value) -> str:
    if not isinstance(value.type, ShapedType):
        return str(value.type)
    return "x".join(["?" if dim is None else str(dim) for dim in value.type.shape] + [str(value.type.dtype)])
