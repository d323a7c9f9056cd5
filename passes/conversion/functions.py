"""Converting functions: their arguments and results, calls and returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func
from dlir.ir.types import FunctionType
from dlir.passes.conversion.pattern import MODIFIED, Answer, ConversionPattern, NoMatch
from dlir.passes.conversion.rewriter import ConversionRewriter
from dlir.passes.conversion.target import ConversionTarget
from dlir.passes.conversion.types import TypeConverter


def add_function_conversion(target: ConversionTarget, converter: TypeConverter) -> list[ConversionPattern]:
    """Patterns that give functions, their entry blocks, calls and returns the types of `converter`.

    `target` learns that these ops are legal when their types are.
    """

    def is_converted(op: Operation) -> bool:
        if isinstance(op, Func):
            return converter.is_legal(*op.type.inputs, *op.type.results)
        return converter.is_legal_op(op)

    names = ("func.func", "func.call", "func.return")
    target.add_dynamically_legal_op(*names, legal=is_converted, why="it has types that must be converted")

    def signature(op: Any, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        inputs, results = converter.convert_all(op.type.inputs), converter.convert_all(op.type.results)
        if inputs is None or results is None:
            return NoMatch(f"{op.type} has a type that cannot be converted")
        rewriter.modify(op)
        if not op.is_declaration:
            rewriter.convert_signature(op.body, converter)
        op.set("function_type", FunctionType(inputs, results))
        return MODIFIED

    def call(op: Any, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        results = converter.convert_all(op.result_types)
        if results is None:
            return NoMatch("a result has a type that cannot be converted")
        made = func.call(*operands, callee=op["callee"], result_types=results)
        return made if results else ()

    def return_(op: Any, operands: Sequence[Value], rewriter: ConversionRewriter) -> Answer:
        func.return_(*operands)
        return ()

    patterns = (signature, call, return_)
    return [ConversionPattern(f"convert-{name}", (name,), apply, converter) for name, apply in zip(names, patterns)]
