"""A graph as text."""

from __future__ import annotations

from collections.abc import Iterable

from dlir.frontends.symbolic.node import LEAVES, RESULT, Node, sorted_nodes


def listing(roots: Iterable[Node]) -> str:
    """The graph as text, one op a line, operands before their users; ``%3#1`` is the second result of ``%3``."""
    outputs = list(roots)
    names: dict[Node, str] = {}
    lines: list[str] = []
    for node in sorted_nodes(outputs):
        if node.op == RESULT:
            names[node] = f"{_name(node.inputs[0], names)}#{node.attributes['index']}"
            continue
        names[node] = node.name or (_spell(node) if node.op in LEAVES else f"%{len(lines)}")
        if node.op not in LEAVES:
            parts = [_group(group, names) for group in node.groups]
            parts += [f"{key}={value!r}" for key, value in node.attributes.items()]
            lines.append(f"{names[node]} = {node.op}({', '.join(parts)})")
    return "\n".join(lines) or " ".join(names[node] for node in outputs)


def _group(group: object, names: dict[Node, str]) -> str:
    if isinstance(group, list):
        return "[" + ", ".join(_name(item, names) for item in group) + "]"
    return _name(group, names)


def _name(node: object, names: dict[Node, str]) -> str:
    return names[node] if isinstance(node, Node) else "None"


def _spell(node: Node) -> str:
    """A constant array without its elements."""
    value = node.attributes["value"]
    return f"constant<{'x'.join(map(str, value.shape))}x{value.dtype}>"
