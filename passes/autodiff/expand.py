"""What a ``diff`` op stands for: the ops that compute it."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.builder import before, insert
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.decompose import Decomposed, decompose_op
from dlir.ir.dialects.diff import Gradient, Jvp
from dlir.ir.errors import DlirError, Note
from dlir.ir.op import Op
from dlir.passes.autodiff.activity import Between
from dlir.passes.autodiff.reverse import filled, pull_back
from dlir.passes.lower_nn import hand_on_group


def expand(op: Gradient | Jvp) -> Sequence[Value]:
    """The values of the results of `op`, made before it.

    Composite ops that are differentiated and have no rule of their own are replaced by what they are made of; DlirError
    for an op that has neither.
    """
    return _as_gradients(op) if isinstance(op, Jvp) else _expand_gradient(op)


def _as_gradients(op: Jvp) -> Sequence[Value]:
    """A gradient is linear in the cotangents; so its own gradient with regard to them is what tangents are pushed to.

    (Jamie Townsend, "A new trick for calculating Jacobian vector products", 2017.)
    """
    outputs, inputs, tangents = op.groups
    with before(op):
        # Any numbers do: nothing depends on them in the end.
        cotangents = [filled(output, 0.0) for output in outputs]
        slopes = Gradient.create(outputs, cotangents, inputs)
        moved = Gradient.create(insert(slopes).results, tangents, cotangents)
        return insert(moved).results


def _expand_gradient(op: Gradient) -> Sequence[Value]:
    _give_rules(op)
    outputs, cotangents, inputs = op.groups
    if not cotangents:
        with before(op):
            cotangents = [filled(output, 1.0) for output in outputs]
    return pull_back(Between(outputs, inputs), outputs, cotangents, inputs, op)


def _give_rules(op: Gradient) -> None:
    """Replace composite ops without a rule between the outputs and inputs of `op` until all ops there have one."""
    while True:
        region = Between(op.group("outputs"), op.group("inputs"))
        ruleless = [inner for inner in region.active if not isinstance(inner, Op) or inner.vjp is None]
        if not ruleless:
            return
        for inner in ruleless:
            if not isinstance(inner, Decomposed):
                raise _no_rule(inner, op)
            with before(inner):
                values = decompose_op(inner)
            hand_on_group(inner, values, inner.operands)
            inner.replace_by(values)


def _no_rule(op: Operation, place: Operation) -> DlirError:
    """The error for an op that cannot be differentiated."""
    if op.regions:
        reason = "only straight-line code is differentiated"
        hint = (
            "compute both sides and choose with nd.select"
            if op.name == "scf.if"
            else "write its steps one after the other"
        )
    elif not op.is_registered:
        reason, hint = "nothing is known of it", "load the plugin of its dialect"
    else:
        reason = "it has no gradient rule"
        hint = "give its class a vjp, or build the value from nd and nn ops"
    notes = [Note("the gradient is asked for here", place.location)]
    return DlirError(f"cannot differentiate '{op.name}': {reason}", op.location, notes=notes, hint=hint)
