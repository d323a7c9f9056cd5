"""Straight-line LLVM functions written as Python expressions.

The vector maths is arithmetic on scalars with neither branches nor stores, which the loop vectoriser widens.  Here such
a function is built with operators on :class:`Value`, and comes out as LLVM IR text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlir.backends.cpu.llvm_types import FLOAT_NAMES, literal

WIDTHS = {"float": 32, "double": 64}
ATTRIBUTES = "alwaysinline nounwind willreturn memory(none)"


class Value:
    """An SSA value of a function under construction; Python numbers become constants of the other operand's type."""

    __slots__ = ("function", "text", "type")

    def __init__(self, function: Function, type_: str, text: str) -> None:
        self.function, self.type, self.text = function, type_, text

    def _arithmetic(self, name: str, other: Value | float, *, swap: bool = False) -> Value:
        right = self.function.constant(other, self.type)
        left, right = (right, self) if swap else (self, right)
        prefix = "f" if self.type in FLOAT_NAMES else ""
        return self.function.emit(f"{prefix}{name} {self.type} {left.text}, {right.text}", self.type)

    def __add__(self, other: Value | float) -> Value:
        return self._arithmetic("add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._arithmetic("sub", other)

    def __rsub__(self, other: float) -> Value:
        return self._arithmetic("sub", other, swap=True)

    def __mul__(self, other: Value | float) -> Value:
        return self._arithmetic("mul", other)

    def __rmul__(self, other: float) -> Value:
        return self._arithmetic("mul", other, swap=True)

    def __truediv__(self, other: Value | float) -> Value:
        return self._arithmetic("div", other)

    def __rtruediv__(self, other: float) -> Value:
        return self._arithmetic("div", other, swap=True)

    def __neg__(self) -> Value:
        return self.function.emit(f"fneg {self.type} {self.text}", self.type)

    def __and__(self, other: Value | int) -> Value:
        return self._bitwise("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._bitwise("or", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._bitwise("xor", other)

    def __lshift__(self, other: int) -> Value:
        return self._bitwise("shl", other)

    def __rshift__(self, other: int) -> Value:
        """Arithmetic shift."""
        return self._bitwise("ashr", other)

    def _bitwise(self, name: str, other: Value | int) -> Value:
        right = self.function.constant(other, self.type)
        return self.function.emit(f"{name} {self.type} {self.text}, {right.text}", self.type)

    def compare(self, predicate: str, other: Value | float) -> Value:
        """An i1: `predicate` is one of LLVM's (`olt`, `uno`, ... for floats; `slt`, `eq`, ... for integers)."""
        right = self.function.constant(other, self.type)
        opcode = "fcmp" if self.type in FLOAT_NAMES else "icmp"
        return self.function.emit(f"{opcode} {predicate} {self.type} {self.text}, {right.text}", "i1")

    def select(self, if_true: Value | float, if_false: Value | float) -> Value:
        """`if_true` where this i1 holds, else `if_false`; at least one of them is a Value."""
        type_ = next(v.type for v in (if_true, if_false) if isinstance(v, Value))
        yes, no = (self.function.constant(v, type_) for v in (if_true, if_false))
        return self.function.emit(f"select i1 {self.text}, {type_} {yes.text}, {type_} {no.text}", type_)

    def cast(self, opcode: str, type_: str) -> Value:
        """`opcode` (`bitcast`, `fpext`, `sitofp`, ...) to the LLVM type `type_`."""
        return self.function.emit(f"{opcode} {self.type} {self.text} to {type_}", type_)

    def bits(self) -> Value:
        """The bit pattern as an integer of the same width, or the float that an integer's bits spell."""
        other = {"float": "i32", "double": "i64", "i32": "float", "i64": "double"}[self.type]
        return self.cast("bitcast", other)

    def intrinsic(self, name: str, *others: Value | float) -> Value:
        """`@llvm.<name>` of this value and `others`, all of one floating type."""
        values = [self, *(self.function.constant(v, self.type) for v in others)]
        symbol = f"@llvm.{name}.f{WIDTHS[self.type]}"
        arguments = ", ".join(f"{v.type} {v.text}" for v in values)
        self.function.declare(f"declare {self.type} {symbol}({', '.join(v.type for v in values)})")
        return self.function.emit(f"call {self.type} {symbol}({arguments})", self.type)

    def fma(self, factor: Value | float, addend: Value | float) -> Value:
        """`self * factor + addend`, rounded once."""
        return self.intrinsic("fma", factor, addend)

    def ldexp(self, exponent: Value) -> Value:
        """`self * 2^exponent` of a float and an i32, rounded once."""
        self.function.declare("declare float @llvm.ldexp.f32.i32(float, i32)")
        return self.function.emit(f"call float @llvm.ldexp.f32.i32(float {self.text}, i32 {exponent.text})", "float")

    def __abs__(self) -> Value:
        return self.intrinsic("fabs")

    def copysign(self, sign: Value) -> Value:
        return self.intrinsic("copysign", sign)

    def clamp(self, low: float, high: float) -> Value:
        """`self` held within [low, high]; NaN stays NaN (ordered comparisons, one min and one max instruction)."""
        capped = self.compare("ogt", high).select(high, self)
        return capped.compare("olt", low).select(low, capped)

    def polynomial(self, coefficients: Sequence[float]) -> Value:
        """Horner's scheme in fused multiply-adds; the highest power comes first."""
        result = self.function.constant(coefficients[0], self.type)
        for coefficient in coefficients[1:]:
            result = result.fma(self, coefficient)
        return result


class Function:
    """An LLVM function under construction: instructions are appended in order, then :meth:`text` prints it."""

    def __init__(self, symbol: str, type_: str, arity: int, *, has_ldexp: bool = False) -> None:
        self.symbol, self.type = symbol, type_
        #: Whether `Value.ldexp` is one instruction.
        self.has_ldexp = has_ldexp
        self.arguments = [Value(self, type_, f"%x{i}") for i in range(arity)]
        self.declarations: dict[str, None] = {}
        self._lines: list[str] = []

    def constant(self, value: Value | float, type_: str) -> Value:
        return value if isinstance(value, Value) else Value(self, type_, literal(value, type_))

    def emit(self, instruction: str, type_: str) -> Value:
        name = f"%v{len(self._lines)}"
        self._lines.append(f"  {name} = {instruction}")
        return Value(self, type_, name)

    def declare(self, line: str) -> None:
        """Note an external declaration (or a constant table) that the module needs."""
        self.declarations[line] = None

    def text(self, body: Callable[..., Value]) -> str:
        """The definition whose result is `body(*arguments)`."""
        result = body(*self.arguments)
        parameters = ", ".join(f"{a.type} {a.text}" for a in self.arguments)
        head = f"define internal {self.type} {self.symbol}({parameters}) {ATTRIBUTES} {{"
        return "\n".join([head, *self._lines, f"  ret {result.type} {result.text}", "}", ""])
