"""The ops of `modules` as a dialect `known` that dlir and xDSL both have: without effects, so that a pass may touch them."""

from __future__ import annotations

from typing import Any

from dlir.ir.attributes import Attribute
from dlir.ir.op import Declared, Op, Region, Type

PURE = ("conv2d", "add", "leaky_relu", "batch_norm", "transpose", "mul", "neg", "make")
WITH_REGIONS = ("loop", "if")


def register_with_dlir() -> None:
    """Make the ops known to dlir."""

    class Pure:
        """Any operands and results, and the attributes that `modules` writes."""

        __slots__ = ()

        @staticmethod
        def infer(
            *inputs: Type,
            groups: int | None = None,
            pads: tuple[int, ...] | None = None,
            strides: tuple[int, ...] | None = None,
            dims: list[Any] | None = None,
            layer: str | None = None,
            mode: str | None = None,
            alpha: float | None = None,
            epsilon: float | None = None,
            act: Attribute | None = None,
            perm: Attribute | None = None,
        ) -> Declared: ...

    class WithRegions:
        """Ops that do what their regions do."""

        __slots__ = ()
        terminated_by = "known.yield"

        @staticmethod
        def infer(*inputs: Type, step: int | None = None, bodies: tuple[Region, ...]) -> Declared: ...

    class Yield:
        """Ends a region."""

        __slots__ = ()
        is_terminator = True

        @staticmethod
        def infer(*values: Type) -> None: ...

    for names, base in ((PURE, Pure), (WITH_REGIONS, WithRegions), (("yield",), Yield)):
        for name in names:
            type(Op)(name.title(), (base, Op), {"__doc__": base.__doc__}, name=f"known.{name}")


def register_with_xdsl(context: Any) -> None:
    """Make the ops known to an xDSL context."""
    from xdsl.ir import Attribute as XdslAttribute
    from xdsl.ir import Dialect
    from xdsl.irdl import (
        IRDLOperation,
        irdl_op_definition,
        opt_prop_def,
        traits_def,
        var_operand_def,
        var_region_def,
        var_result_def,
    )
    from xdsl.traits import IsTerminator, Pure, RecursiveMemoryEffect

    def define(name: str, members: dict[str, Any]) -> Any:
        body = {"__module__": __name__, "name": f"known.{name}", "inputs": var_operand_def(), **members}
        return irdl_op_definition(type(name.title(), (IRDLOperation,), body))

    ops = []
    for name in PURE:
        properties = {key: opt_prop_def(XdslAttribute) for key in ("groups", "pads", "strides")}
        ops.append(define(name, {"outputs": var_result_def(), "traits": traits_def(Pure()), **properties}))
    for name in WITH_REGIONS:
        members = {"outputs": var_result_def(), "bodies": var_region_def()}
        ops.append(define(name, {**members, "traits": traits_def(RecursiveMemoryEffect())}))
    ops.append(define("yield", {"traits": traits_def(IsTerminator(), Pure())}))
    context.register_dialect("known", lambda: Dialect("known", ops, []))
