"""The ``arith`` dialect: arithmetic on scalars and vectors, as upstream.

Integers are signless: signedness lies in the op (``divui``, ``extui``).  A Python number among the operands becomes a
constant of the other operands' type: ``arith.addf(x, 1.0)``.
"""

from dlir.ir.dialects.arith import casts, compare, constant, floats, integers
from dlir.ir.dialects.arith.compare import FLOAT_PREDICATES, INTEGER_PREDICATES
from dlir.ir.dialects.arith.constant import constant_value
from dlir.ir.dialects.enums import fastmath

__all__ = [
    "FLOAT_PREDICATES",
    "INTEGER_PREDICATES",
    "casts",
    "compare",
    "constant",
    "constant_value",
    "fastmath",
    "floats",
    "integers",
]
