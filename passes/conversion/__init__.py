"""Dialect conversion: from the ops and types of some dialects to those of others, MLIR's model.

    target = ConversionTarget()
    target.add_illegal_dialect("nn")
    apply_partial_conversion(module, target, [decompose_layer])

A target says which ops are legal, patterns make legal ops of others, and a `TypeConverter` says which type takes the place of
which.  Patterns get their operands converted; where one side has the new type and the other the old,
``builtin.unrealized_conversion_cast`` stands between them until both have moved.

A conversion is all or nothing.  There is no backtracking: the first pattern that takes an op decides.  If an op stays
illegal, everything that was made is taken back, the module is as it was, and a DlirError says which ops, why, and what
was tried.
"""

from dlir.passes.conversion.casts import reconcile_unrealized_casts
from dlir.passes.conversion.driver import apply_full_conversion, apply_partial_conversion
from dlir.passes.conversion.functions import add_function_conversion
from dlir.passes.conversion.pattern import MODIFIED, ConversionPattern, NoMatch, conversion
from dlir.passes.conversion.rewriter import ConversionRewriter
from dlir.passes.conversion.signature import SignatureConversion
from dlir.passes.conversion.target import ConversionTarget
from dlir.passes.conversion.types import TypeConverter

__all__ = [
    "MODIFIED",
    "ConversionPattern",
    "ConversionRewriter",
    "ConversionTarget",
    "NoMatch",
    "SignatureConversion",
    "TypeConverter",
    "add_function_conversion",
    "apply_full_conversion",
    "apply_partial_conversion",
    "conversion",
    "reconcile_unrealized_casts",
]
