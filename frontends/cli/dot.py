"""A module as a drawing in Graphviz' language."""

from __future__ import annotations

from dlir.ir.core import Operation, Value


def to_dot(module: Operation) -> str:
    """Each op is a box, each value an arrow to its users; ops with regions are frames around what is inside them."""
    lines = ["digraph {", "  compound=true; node [shape=box, fontname=monospace];"]
    names: dict[Operation | Value, str] = {}
    stack: list[tuple[Operation | None, int]] = [(module, 1)]
    edges: list[tuple[Value, Operation]] = []
    while stack:
        op, depth = stack.pop()
        if op is None:
            lines.append("  " * depth + "}")
            continue
        name = names[op] = f"n{len(names)}"
        pad = "  " * depth
        if not op.regions:
            lines.append(f"{pad}{name} [label={_label(op)}];")
        else:
            lines.append(f"{pad}subgraph cluster_{name} {{")
            lines.append(f"{pad}  label={_label(op)}; {name} [label={_label(op)}, style=dashed];")
            stack.append((None, depth))
            for block in [block for region in op.regions for block in region.blocks][::-1]:
                for arg in block.args:
                    names[arg] = f"n{len(names)}"
                    lines.append(f'{pad}  {names[arg]} [label="%{arg.name or arg.index}", shape=ellipse];')
                stack += [(inner, depth + 1) for inner in reversed(list(block.ops))]
        edges += [(value, op) for value in op.operands]
    for value, user in edges:
        source = names.get(value.owner if value.defining_op is not None else value)
        if source is not None:
            lines.append(f"  {source} -> {names[user]} [label={_quoted(str(value.type))}, fontsize=9];")
    return "\n".join([*lines, "}"]) + "\n"


def _label(op: Operation) -> str:
    symbol = op.get("sym_name")
    return _quoted(op.name + (f" @{symbol}" if symbol else ""))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
