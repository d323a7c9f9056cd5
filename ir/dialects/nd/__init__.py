"""The ``nd`` dialect: array maths with NumPy's names and meaning.

Every op gives its shapes (`infer`), its meaning on NumPy arrays (`eval`), and either a `decompose` into other ops of
this dialect or what kernel lowering needs (see :mod:`dlir.ir.dialects.nd.base`).
"""

from dlir.ir.dialects.nd import (
    activation,
    adaptive,
    arithmetic,
    attention,
    bits,
    contraction,
    conversion,
    creation,
    dynamic,
    gather,
    joining,
    logic,
    movement,
    normalization,
    packing,
    patches,
    pooling,
    reduction,
    scan,
    scatter,
    search,
    special,
    unary,
)

__all__ = [
    "activation",
    "adaptive",
    "arithmetic",
    "attention",
    "bits",
    "contraction",
    "conversion",
    "creation",
    "dynamic",
    "gather",
    "joining",
    "logic",
    "movement",
    "normalization",
    "packing",
    "patches",
    "pooling",
    "reduction",
    "scan",
    "scatter",
    "search",
    "special",
    "unary",
]
