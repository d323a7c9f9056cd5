"""What upstream's ops can be and their classes here cannot: read in the generic form, it is kept as it stands.

That is as an op of a dialect that is not loaded, so that nothing here takes it for what it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlir.ir.attributes import Attribute, DenseResourceAttr, OpaqueAttr
from dlir.ir.core import Value
from dlir.ir.types import (
    FunctionType,
    IntegerType,
    MemRefType,
    ScalarType,
    ShapedType,
    TensorType,
    Type,
    UnrankedType,
    VectorType,
)
from dlir.ir.upstream import is_upstream


def is_beyond(name: str, attributes: Mapping[str, Attribute], signature: FunctionType) -> bool:
    """Whether a use of an op that does not fit its class is one that upstream has and dlir does not.

    That is arithmetic on tensors, numbers of types without a NumPy dtype, and what `is_foreign`.
    """
    if not is_upstream(name):
        return False
    types = (*signature.inputs, *signature.results)
    is_of_type = is_foreign(name, signature) or any(isinstance(type, TensorType | UnrankedType) for type in types)
    return is_of_type or any(is_odd(name, item) for item in attributes.values())


def is_foreign(name: str, signature: FunctionType) -> bool:
    """Whether an op of upstream's has operands or results that none of its class has, even if it looks alike."""
    types = (*signature.inputs, *signature.results)
    if name.startswith("arith."):
        # xDSL lets them pass.
        return any(isinstance(type, IntegerType) and type.signedness != "signless" for type in types)
    if not name.startswith(("memref.", "vector.", "gpu.")):
        return False
    return any(map(_is_foreign_type, types)) or (name == "memref.view" and not _is_plain_view(types))


def is_foreign_loop(values: Sequence[Value], attributes: Mapping[str, Attribute]) -> bool:
    """Whether an ``scf.for`` counts with unsigned numbers, or has a step that is not positive, which upstream lets pass."""
    step = values[2].defining_op if len(values) > 2 else None
    number = step.get("value") if step is not None and step.name == "arith.constant" else None
    return "unsignedCmp" in attributes or (isinstance(number, int) and number <= 0)


def is_odd(name: str, attribute: Attribute) -> bool:
    """Whether it is a number, or elements, of a type without a NumPy dtype, or a tensor among the scalars' constants."""
    if isinstance(attribute, OpaqueAttr):
        return attribute.text[0] != "#"
    return isinstance(attribute, DenseResourceAttr) and name == "arith.constant"


def _is_foreign_type(type: Type) -> bool:
    """Whether it is a buffer of other things than numbers, or of unknown rank, a vector of unknown length, a token."""
    if isinstance(type, ShapedType):
        return not isinstance(type.dtype, ScalarType) or (isinstance(type, VectorType) and any(type.scalable))
    return isinstance(type, UnrankedType) or str(type) == "!gpu.async.token"


def _is_plain_view(types: Sequence[Type]) -> bool:
    """Whether a view is from a buffer without a layout to numbers of a known size."""
    buffers = [type for type in types if isinstance(type, MemRefType)]
    return all(type.layout is None and isinstance(type.dtype, ScalarType) and type.dtype.has_numpy for type in buffers)
