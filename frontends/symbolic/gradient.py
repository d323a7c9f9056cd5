"""Gradients of nodes, which are nodes again: they print, compile, and have gradients themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dlir.frontends.symbolic.arguments import with_known_keywords
from dlir.frontends.symbolic.node import CONSTANT, Node, as_node, results
from dlir.ir.errors import DlirError


@with_known_keywords
def grad(outputs: Node | Sequence[Node], wrt: Any, cotangents: Any = None) -> Any:
    """The gradient of `outputs` with regard to `wrt`, any nodes that they are made of: a node for a node, a list for a list.

    It is that of the sum of all elements, each times its element of `cotangents` (one for each output); without
    these, one output counts with ones, and several must be scalars.  What `outputs` do not depend on has the gradient zero.
    """
    of = _nodes(outputs, "differentiate")
    with_regard_to = _nodes(wrt, "differentiate with regard to", is_input=True)
    given = [] if cotangents is None else cotangents if isinstance(cotangents, list | tuple) else [cotangents]
    if given and len(given) != len(of):
        raise DlirError(f"{len(of)} outputs need {len(of)} cotangents, got {len(given)}")
    seeds = _seeds(given, "cotangent")
    found = results(Node("diff.gradient", [of, seeds, with_regard_to]), len(with_regard_to))
    return found[0] if isinstance(wrt, Node) else list(found)


@with_known_keywords
def jvp(outputs: Node | Sequence[Node], wrt: Any, tangents: Any) -> Any:
    """How `outputs` change when the nodes `wrt` move along `tangents`, one for each: a node for a node, a list for a list."""
    of = _nodes(outputs, "differentiate")
    with_regard_to = _nodes(wrt, "differentiate with regard to", is_input=True)
    along = _seeds(tangents if isinstance(tangents, list | tuple) else [tangents], "tangent")
    if len(along) != len(with_regard_to):
        raise DlirError(f"{len(with_regard_to)} inputs need {len(with_regard_to)} tangents, got {len(along)}")
    found = results(Node("diff.jvp", [of, with_regard_to, along]), len(of))
    return found[0] if isinstance(outputs, Node) else list(found)


def stop_gradient(node: Node) -> Node:
    """The value of `node`, which counts as a constant for gradients."""
    (source,) = _nodes(node, "stop the gradient of")
    return Node("diff.stop_gradient", [source])


def _seeds(items: Sequence[Any], what: str) -> list[Node]:
    """Cotangents or tangents as nodes."""
    found = [as_node(item) for item in items]
    for number, item in enumerate(found):
        if item is None:
            raise DlirError(f"{what} {number} is None", hint=f"give 0.0 for a {what} that does not matter")
    return [item for item in found if item is not None]


def _nodes(items: Any, what: str, is_input: bool = False) -> list[Node]:
    """`items` as a list of nodes; DlirError for anything that cannot be differentiated, or differentiated by."""
    found = list(items) if isinstance(items, Iterable) and not isinstance(items, Node | str) else [items]
    for item in found:
        if not isinstance(item, Node):
            hint = "give the node that Variable(name) or Parameter(name, value) returned"
            raise DlirError(f"cannot {what} {item!r}, which is not a node", hint=hint)
        if is_input and item.op == CONSTANT:
            hint = "name it with Variable(name) to have a gradient with regard to it"
            raise DlirError(f"cannot {what} a constant", item.location, hint=hint)
    if not found:
        raise DlirError(f"there is nothing to {what}")
    return found
