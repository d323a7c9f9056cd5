"""A small dialect for tests of the text form: every kind of operand group, attribute, region and inference."""

from __future__ import annotations

from typing import Any, Literal

from dlir.ir.core import Region
from dlir.ir.errors import InferError
from dlir.ir.op import Declared, Op, SymbolRef, Tensor, Type, Unit
from dlir.ir.types import FunctionType


class Cast(Op, name="tst.cast"):
    """x as another type."""

    @staticmethod
    def infer(x: Tensor, *, to: Type) -> Tensor:
        return x.with_dtype(to)


class Add(Op, name="tst.add"):
    """a + b; b is cast to the type of a."""

    is_commutative = True

    @staticmethod
    def infer(a: Tensor, b: Tensor) -> Tensor:
        if a is not b:
            raise InferError(f"cannot add {a} and {b}")
        return a

    @classmethod
    def prepare(cls, groups: list[Any], attributes: dict[str, Any]) -> list[Any]:
        a, b = groups
        if isinstance(a.type, Tensor) and isinstance(b.type, Tensor) and a.type.dtype is not b.type.dtype:
            b = Cast.build(b, to=a.type.dtype)
        return [a, b]


class Pair(Op, name="tst.pair"):
    """x twice."""

    @staticmethod
    def infer(x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Groups(Op, name="tst.groups"):
    """A required, two optional and a variadic operand group."""

    @staticmethod
    def infer(x: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, *rest: Tensor) -> Tensor:
        return x


class Attributes(Op, name="tst.attributes"):
    """An attribute of every kind."""

    @staticmethod
    def infer(  # type: ignore[empty-body]
        *,
        axes: tuple[int, ...] = (),
        eps: float = 1e-5,
        count: int = 0,
        flag: bool = False,
        mode: Literal["near", "far"] = "near",
        label: str | None = None,
        to: Type | None = None,
        items: list | None = None,
        fast: Unit | None = None,
    ) -> Declared: ...


class Needs(Op, name="tst.needs"):
    """An attribute that must be given."""

    @staticmethod
    def infer(x: Tensor, *, axis: int) -> Tensor:
        return x


class Refer(Op, name="tst.refer"):
    """A symbol reference."""

    @staticmethod
    def infer(*operands: Type, callee: SymbolRef) -> Declared: ...  # type: ignore[empty-body]


class Loop(Op, name="tst.loop"):
    """A region that sees outer values."""

    @staticmethod
    def infer(*operands: Type, body: Region) -> Declared: ...  # type: ignore[empty-body]


class Island(Op, name="tst.island"):
    """A region that does not see outer values."""

    is_isolated = True

    @staticmethod
    def infer(*operands: Type, body: Region) -> Declared: ...  # type: ignore[empty-body]


class MakeFunction(Op, name="tst.function"):
    """A value of function type."""

    @staticmethod
    def infer() -> FunctionType:
        return FunctionType((), ())


class Yield(Op, name="tst.yield"):
    """Ends a region."""

    is_terminator = True

    @staticmethod
    def infer(*operands: Type) -> None: ...


class Jump(Op, name="tst.jump"):
    """Goes to another block."""

    is_terminator = True

    @staticmethod
    def infer(*operands: Type) -> None: ...
