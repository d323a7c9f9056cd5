"""Types: MLIR's builtin types, immutable and interned, so that equal types are the same object.

Shapes are tuples of ints, with None for a dimension known only at run time (``?`` in text).
``str(type)`` is the type's text.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

Shape = tuple[int | None, ...]


class Type:
    """Base class.  Subclasses list their fields in ``__slots__``; construction returns the one instance per value."""

    __slots__ = ("__weakref__", "_text")
    _instances: ClassVar[dict[tuple[Any, ...], Type]] = {}
    _text: str | None

    def __new__(cls, *fields: Any) -> Any:
        fields = cls._normalize(*fields)
        key = (cls, *fields)
        found = Type._instances.get(key)
        if found is None:
            found = object.__new__(cls)
            for name, value in zip(cls._fields(), fields, strict=True):
                object.__setattr__(found, name, value)
            object.__setattr__(found, "_text", None)
            found = Type._instances.setdefault(key, found)
        return found

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        """The names of the constructor's arguments, in order."""
        return tuple(cls.__slots__)

    @classmethod
    def _normalize(cls, *fields: Any) -> tuple[Any, ...]:
        return fields

    def _spell(self) -> str:
        raise TypeError(f"{type(self).__name__} has no spelling")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("types are immutable")

    def __str__(self) -> str:
        text = self._text
        if text is None:  # many types are never spelled
            text = self._spell()
            object.__setattr__(self, "_text", text)
        return text

    def __repr__(self) -> str:
        return str(self)

    def __reduce__(self) -> Any:
        return (type(self), tuple(getattr(self, name) for name in self._fields()))

    def __copy__(self) -> Type:
        return self

    def __deepcopy__(self, memo: Any) -> Type:
        return self


# ---------------------------------------------------------------- scalars


class ScalarType(Type):
    """A type that can be an element of a tensor."""

    __slots__ = ()

    @property
    def numpy(self) -> np.dtype:
        """The NumPy dtype of one element in memory; TypeError if there is none."""
        dtype = _numpy_dtypes().get(str(self))
        if dtype is None:
            raise TypeError(f"{self} has no NumPy dtype")
        return dtype

    @property
    def has_numpy(self) -> bool:
        """Whether there are NumPy arrays with elements of this type."""
        return str(self) in _numpy_dtypes()

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory (a bool takes one)."""
        return self.numpy.itemsize


class IntegerType(ScalarType):
    """``i32`` (signless), ``si32``, ``ui32``."""

    __slots__ = ("signedness", "width")
    width: int
    signedness: str

    def __new__(cls, width: int, signedness: str = "signless") -> IntegerType:
        return super().__new__(cls, signedness, width)

    def _spell(self) -> str:
        return {"signless": "i", "signed": "si", "unsigned": "ui"}[self.signedness] + str(self.width)

    def __reduce__(self) -> Any:
        return (IntegerType, (self.width, self.signedness))


class FloatType(ScalarType):
    """``f32``, ``bf16``, ``f8E4M3FN``, ..."""

    __slots__ = ("name",)
    name: str

    @property
    def width(self) -> int:
        """Bits; a tf32 has 19."""
        digits = self.name.lstrip("bft").partition("E")[0]
        return 19 if self.name == "tf32" else int(digits)

    def _spell(self) -> str:
        return self.name


class IndexType(ScalarType):
    """``index``: as wide as a pointer, 64 bits here."""

    __slots__ = ()

    def _spell(self) -> str:
        return "index"


class ComplexType(ScalarType):
    """``complex<f32>``."""

    __slots__ = ("element",)
    element: Type

    def _spell(self) -> str:
        return f"complex<{self.element}>"


class NoneType(Type):
    """``none``."""

    __slots__ = ()

    def _spell(self) -> str:
        return "none"


# ---------------------------------------------------------------- aggregates


class ShapedType(Type):
    """Base of tensor, memref and vector: a shape and an element type."""

    __slots__ = ()
    shape: Shape
    dtype: Type

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return None not in self.shape

    @property
    def size(self) -> int:
        """The number of elements; ValueError if a dimension is dynamic."""
        if None in self.shape:
            raise ValueError(f"{self} has a dynamic size")
        return math.prod(self.shape)  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Bytes in memory, as a Python int that cannot overflow."""
        assert isinstance(self.dtype, ScalarType)
        return self.size * self.dtype.bytes

    def with_shape(self, shape: Shape) -> Any:
        """The same type with another shape."""
        rest = [getattr(self, name) for name in self._fields()[2:]]
        return type(self)(shape, self.dtype, *rest)

    def with_dtype(self, dtype: Type) -> Any:
        """The same type with another element type."""
        rest = [getattr(self, name) for name in self._fields()[2:]]
        return type(self)(self.shape, dtype, *rest)

    def _dims(self) -> str:
        return "".join(f"{'?' if dim is None else dim}x" for dim in self.shape)


class TensorType(ShapedType):
    """``tensor<4x?xf32>``, with an optional encoding attribute."""

    __slots__ = ("shape", "dtype", "encoding")  # noqa: RUF023 - the constructor's order
    encoding: Any

    @classmethod
    def _normalize(cls, shape: Any, dtype: Any, encoding: Any = None) -> tuple[Any, ...]:
        return tuple(shape), dtype, encoding

    def _spell(self) -> str:
        tail = "" if self.encoding is None else f", {self.encoding}"
        return f"tensor<{self._dims()}{self.dtype}{tail}>"


class UnrankedType(Type):
    """``tensor<*xf32>`` or ``memref<*xf32, 1>``, whose memory space is an attribute or None."""

    __slots__ = ("kind", "dtype", "space")  # noqa: RUF023
    kind: str
    dtype: Type
    space: Any

    @classmethod
    def _normalize(cls, kind: Any, dtype: Any, space: Any = None) -> tuple[Any, ...]:
        return kind, dtype, space

    def _spell(self) -> str:
        tail = "" if self.space is None else f", {self.space}"
        return f"{self.kind}<*x{self.dtype}{tail}>"


class MemRefType(ShapedType):
    """``memref<4x4xf32, strided<[4, 1]>, 3>``: layout and memory space are attributes or None."""

    __slots__ = ("shape", "dtype", "layout", "space")  # noqa: RUF023
    layout: Any
    space: Any

    @classmethod
    def _normalize(cls, shape: Any, dtype: Any, layout: Any = None, space: Any = None) -> tuple[Any, ...]:
        return tuple(shape), dtype, layout, space

    def _spell(self) -> str:
        tail = "".join(f", {part}" for part in (self.layout, self.space) if part is not None)
        return f"memref<{self._dims()}{self.dtype}{tail}>"


class VectorType(ShapedType):
    """``vector<8xf32>``; `scalable` marks the dimensions written in brackets."""

    __slots__ = ("shape", "dtype", "scalable")  # noqa: RUF023
    scalable: tuple[bool, ...]

    @classmethod
    def _normalize(cls, shape: Any, dtype: Any, scalable: Any = ()) -> tuple[Any, ...]:
        return tuple(shape), dtype, tuple(scalable)

    def _spell(self) -> str:
        flags = self.scalable or (False,) * len(self.shape)
        dims = "".join(f"[{dim}]x" if flag else f"{dim}x" for dim, flag in zip(self.shape, flags, strict=True))
        return f"vector<{dims}{self.dtype}>"


class TupleType(Type):
    """``tuple<i32, f32>``."""

    __slots__ = ("elements",)
    elements: tuple[Type, ...]

    @classmethod
    def _normalize(cls, elements: Any) -> tuple[Any, ...]:
        return (tuple(elements),)

    def _spell(self) -> str:
        return "tuple<" + ", ".join(map(str, self.elements)) + ">"


class FunctionType(Type):
    """``(i32, f32) -> f32``."""

    __slots__ = ("inputs", "results")
    inputs: tuple[Type, ...]
    results: tuple[Type, ...]

    @classmethod
    def _normalize(cls, inputs: Any, results: Any) -> tuple[Any, ...]:
        return tuple(inputs), tuple(results)

    def _spell(self) -> str:
        return f"({', '.join(map(str, self.inputs))}) -> {spell_results(self.results)}"


class OpaqueType(Type):
    """A type of a dialect that is not registered, kept as its text after the ``!``: ``!d.x<...>``."""

    __slots__ = ("text",)
    text: str

    def _spell(self) -> str:
        return f"!{self.text}"


def spell_results(types: tuple[Type, ...]) -> str:
    """Result types as MLIR spells them: bare when there is one that is not a function, else parenthesised."""
    if len(types) == 1 and not isinstance(types[0], FunctionType):
        return str(types[0])
    return "(" + ", ".join(map(str, types)) + ")"


I1, I8, I16, I32, I64 = (IntegerType(width) for width in (1, 8, 16, 32, 64))
UI8, UI16, UI32, UI64 = (IntegerType(width, "unsigned") for width in (8, 16, 32, 64))
F16, BF16, F32, F64 = (FloatType(name) for name in ("f16", "bf16", "f32", "f64"))
INDEX = IndexType()
NONE = NoneType()
#: What the elements of a NumPy array may be.
ARRAY_DTYPES: tuple[ScalarType, ...] = (F32, F64, I1, I32, I64, I8, I16, UI8, UI16, UI32, UI64, F16, BF16)

_NUMPY: dict[str, np.dtype] = {}
#: Floats of at most eight bits; one takes a byte in memory.
_SMALL_FLOATS = (
    "f4E2M1FN f6E2M3FN f6E3M2FN f8E3M4 f8E4M3 f8E4M3B11FNUZ f8E4M3FN f8E4M3FNUZ f8E5M2 f8E5M2FNUZ f8E8M0FNU"
).split()


def _numpy_dtypes() -> dict[str, np.dtype]:
    if not _NUMPY:
        import ml_dtypes

        names = "i8 i16 i32 i64 ui8 ui16 ui32 ui64 f16 f32 f64".split()
        kinds = {"i": "int", "ui": "uint", "f": "float"}
        for name in names:
            kind = name.rstrip("0123456789")
            _NUMPY[name] = np.dtype(kinds[kind] + name[len(kind) :])
        _NUMPY.update(si8=np.dtype("i1"), si16=np.dtype("i2"), si32=np.dtype("i4"), si64=np.dtype("i8"))
        _NUMPY.update({"i1": np.dtype(bool), "index": np.dtype("i8"), "bf16": np.dtype(ml_dtypes.bfloat16)})
        _NUMPY.update({"complex<f32>": np.dtype("c8"), "complex<f64>": np.dtype("c16")})
        for name in _SMALL_FLOATS:
            _NUMPY[name] = np.dtype(getattr(ml_dtypes, name.lower().replace("f", "float", 1).replace("e", "_e", 1)))
    return _NUMPY


def dtype_from_numpy(dtype: Any) -> ScalarType:
    """The element type of a NumPy dtype (signless for signed integers); TypeError if there is none."""
    wanted = np.dtype(dtype)
    for scalar in ARRAY_DTYPES:
        if scalar.numpy == wanted:
            return scalar
    raise TypeError(f"no element type for NumPy dtype '{wanted}'")


def is_float(dtype: Any) -> bool:
    """Whether `dtype` is a floating-point element type."""
    return isinstance(dtype, FloatType)


def is_integer(dtype: Any) -> bool:
    """Whether `dtype` is an integer element type; i1 is a bool and no integer here."""
    return isinstance(dtype, IntegerType | IndexType) and dtype is not I1
