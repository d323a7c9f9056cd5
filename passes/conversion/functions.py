"""Converting functions: their arguments and results, calls and returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlir.ir.attributes import ArrayAttr, Attribute
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func
from dlir.ir.types import FunctionType, Type
from dlir.passes.conversion.pattern import MODIFIED, Answer, ConversionPattern, NoMatch
from dlir.passes.conversion.rewriter import ConversionRewriter
from dlir.passes.conversion.signature import SignatureConversion
from dlir.passes.conversion.target import ConversionTarget
from dlir.passes.conversion.types import TypeConverter


def add_function_conversion(target: ConversionTarget, converter: TypeConverter) -> list[ConversionPattern]:
    """Patterns that give functions, their entry blocks, calls and returns the types of `converter`.

    `target` learns that these ops are legal when their types are.  Where a type becomes several, so do arguments, results
    and operands, and each has the attributes of the old one.
    """

    def is_converted(op: Operation) -> bool:
        return converter.is_signature_legal(op.type) if isinstance(op, Func) else converter.is_legal_op(op)

    names = ("func.func", "func.call", "func.return")
    target.add_dynamically_legal_op(*names, legal=is_converted, why="it has types that must be converted")

    def signature(op: Any, operands: Sequence[Any], rewriter: ConversionRewriter) -> Answer:
        inputs = converter.convert_signature_args(op.type.inputs)
        results = converter.convert_signature_args(op.type.results)
        if inputs is None or results is None:
            return NoMatch(f"{op.type} has a type that cannot be converted")
        rewriter.modify(op)
        if not op.is_declaration:
            rewriter.apply_signature_conversion(op.body, inputs, converter)
        op.set("function_type", FunctionType(inputs.converted_types, results.converted_types))
        for name, changed in (("arg_attrs", inputs), ("res_attrs", results)):
            if name in op.attributes:
                op.attributes[name] = _spread(op.attributes[name], changed)
        return MODIFIED

    def call(op: Any, operands: Sequence[Any], rewriter: ConversionRewriter) -> Answer:
        results = converter.convert_signature_args(op.result_types)
        if results is None:
            return NoMatch("a result has a type that cannot be converted")
        made = _call(op["callee"], [value for group in operands for value in group], results.converted_types)
        return [[made[place] for place in results.get_input_mapping(number)] for number in range(len(results))]

    def return_(op: Any, operands: Sequence[Any], rewriter: ConversionRewriter) -> Answer:
        func.return_(*[value for group in operands for value in group])
        return ()

    patterns = (signature, call, return_)
    return [
        ConversionPattern(f"convert-{name}", (name,), apply, converter, one_to_n=True)
        for name, apply in zip(names, patterns)
    ]


def _call(callee: str, operands: Sequence[Value], types: Sequence[Type]) -> tuple[Value, ...]:
    made = func.call(*operands, callee=callee, result_types=types)
    return () if not types else (made,) if len(types) == 1 else made


def _spread(attributes: Attribute, signature: SignatureConversion) -> Attribute:
    """The attributes of each old argument for all that take its place."""
    assert isinstance(attributes, ArrayAttr)
    return ArrayAttr(
        entry for number, entry in enumerate(attributes.items) for _ in signature.get_input_mapping(number)
    )
