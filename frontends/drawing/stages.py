"""The drawings of a compiled function: its graph, the graph folded into kernels, and the graph with its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlir.frontends.drawing.picture import Picture
from dlir.frontends.drawing.sources import picture_of_function, picture_of_nodes
from dlir.ir.core import Operation, UnregisteredOp
from dlir.ir.dialects.diff import Gradient, Jvp
from dlir.ir.dialects.func import find_function
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.traversal import clone
from dlir.passes.manager import PassManager

if TYPE_CHECKING:
    from dlir.backends.compiler import Program
    from dlir.frontends.symbolic.graph import Graph

#: What there is to draw.
KINDS = ("graph", "folded", "backward")


def picture_of_graph(graph: Graph) -> Picture:
    """The nodes of a graph, those of its updates, too."""
    return picture_of_nodes(graph.roots)


def picture_of_program(program: Program, kind: str) -> Picture:
    """A drawing of the kind "folded" or "backward"; DlirError for any other."""
    match kind:
        case "folded":
            return picture_of_function(find_function(program.stage("fused"), program.entry))
        case "backward":
            return _backward(program)
    known = ", ".join(KINDS)
    raise DlirError(f"there is no drawing '{kind}'", hint=did_you_mean(kind, KINDS) or f"drawings: {known}")


def _backward(program: Program) -> Picture:
    """The ops of the function with its gradients made, of which those behind the first question are the gradients'."""
    module = PassManager.from_text("inline").run(clone(program.module))
    function = find_function(module, program.entry)
    question = next((op for op in function.walk() if isinstance(op, Gradient | Jvp)), None)
    if question is None or question.parent is None:
        raise DlirError("there is no backward graph: no output or update is a gradient", hint="ask for one with grad")
    before = dict.fromkeys(function.walk())
    mark = UnregisteredOp("drawing.mark")
    question.parent.insert_before(question, mark)
    PassManager.from_text("differentiate,dce").run(module)
    made: list[Operation] = []
    op = mark.next
    while op is not None:
        made += [] if op in before else [op]
        op = op.next
    mark.erase()
    return picture_of_function(function, dict.fromkeys(made))
