"""Index arithmetic: which element of an operand is read at a point of an iteration space.

An :class:`AffineExpr` is a sum of integer multiples of atoms and a constant; an atom is a dimension of the space, an
SSA value of type index (`symbol`), or an expression divided by a positive integer (`//`, rounded down, or `%`).
Expressions are immutable, simplified when they are made, and compared by structure.  Dimensions and symbols may know
their extent (their values are 0 .. extent-1), which simplifies divisions; it takes no part in comparisons.

    d0, d1 = dims((6, 4))
    delinearize(linearize((d0, d1), (6, 4)), (3, 8))        # (d0 // 2, d0 % 2 * 4 + d1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

from dlir.ir.core import Value

#: Smallest and largest value, both inclusive; None where it is not known.
Bounds = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Dim:
    """Dimension number `index` of the space."""

    index: int
    extent: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"d{self.index}"


@dataclass(frozen=True, slots=True)
class Symbol:
    """The run-time value `value`, of type index."""

    value: Value
    extent: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"%{self.value.name or self.value.index}"


@dataclass(frozen=True, slots=True)
class Quotient:
    """``expr // divisor``, rounded towards minus infinity."""

    expr: AffineExpr
    divisor: int

    def __str__(self) -> str:
        return f"{_inner(self.expr)} // {self.divisor}"


@dataclass(frozen=True, slots=True)
class Remainder:
    """``expr % divisor``, in 0 .. divisor-1."""

    expr: AffineExpr
    divisor: int

    def __str__(self) -> str:
        return f"{_inner(self.expr)} % {self.divisor}"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A number from 0 to ``extent - 1`` that only the run knows: it follows from the element of an array at `index`.

    `source` is the array, or, in an op's own index map, the number of the operand (see `AffineExpr.bind`).  Code that is
    made has the `Symbol` of the number instead.
    """

    source: Value | int
    index: tuple[AffineExpr, ...]
    extent: int

    def __str__(self) -> str:
        source = self.source if isinstance(self.source, int) else f"%{self.source.name or self.source.index}"
        return f"lookup({source}: {', '.join(map(str, self.index))})"


Atom = Union[Dim, Symbol, Quotient, Remainder, Lookup]  # noqa: UP007 - `|` cannot take the forward references at run time


class AffineExpr:
    """``constant + sum(coefficient * atom)``; coefficients are never 0 and each atom occurs once."""

    __slots__ = ("_hash", "constant", "terms")
    constant: int
    terms: tuple[tuple[Atom, int], ...]

    def __init__(self, terms: Mapping[Atom, int], constant: int = 0) -> None:
        self.terms = tuple([(atom, factor) for atom, factor in terms.items() if factor])
        self.constant = constant
        self._hash: int | None = None

    # ------------------------------------------------------------ arithmetic

    def __add__(self, other: AffineExpr | int) -> AffineExpr:
        if isinstance(other, int):
            return AffineExpr(dict(self.terms), self.constant + other) if other else self
        if not other.terms:
            return self + other.constant
        if not self.terms:
            return other + self.constant
        terms = dict(self.terms)
        for atom, factor in other.terms:
            terms[atom] = terms.get(atom, 0) + factor
        return _recombined(AffineExpr(terms, self.constant + other.constant))

    def __radd__(self, other: int) -> AffineExpr:
        return self + other

    def __neg__(self) -> AffineExpr:
        return self * -1

    def __sub__(self, other: AffineExpr | int) -> AffineExpr:
        return self + (-other)

    def __rsub__(self, other: int) -> AffineExpr:
        return -self + other

    def __mul__(self, other: AffineExpr | int) -> AffineExpr:
        if isinstance(other, AffineExpr):
            if not other.is_constant:
                self, other = other, self
            if not other.is_constant:
                raise TypeError(f"({self}) * ({other}) is not affine")
            other = other.constant
        if other == 1:
            return self
        return AffineExpr({atom: factor * other for atom, factor in self.terms}, self.constant * other)

    def __rmul__(self, other: int) -> AffineExpr:
        return self * other

    def __floordiv__(self, divisor: int) -> AffineExpr:
        _check_divisor(divisor)
        whole, rest = _split(self, divisor)
        low, high = rest.bounds
        if low is not None and high is not None and low // divisor == high // divisor:
            return whole + low // divisor
        for step in _common_steps(rest, divisor):
            multiple, small = _split(rest, step)
            if _within(small.bounds, step):
                return whole + multiple // (divisor // step)
        match rest.only_atom:
            case Quotient(expr, inner):
                return whole + expr // (inner * divisor)
            case Remainder(expr, inner) if inner % divisor == 0:
                return whole + (expr // divisor) % (inner // divisor)
        return whole + AffineExpr({Quotient(rest, divisor): 1})

    def __mod__(self, divisor: int) -> AffineExpr:
        _check_divisor(divisor)
        _, rest = _split(self, divisor)
        low, high = rest.bounds
        if low is not None and high is not None and low // divisor == high // divisor:
            return rest - divisor * (low // divisor)
        for step in _common_steps(rest, divisor):
            multiple, small = _split(rest, step)
            if _within(small.bounds, step):
                return multiple % (divisor // step) * step + small
        match rest.only_atom:
            case Remainder(expr, inner) if inner % divisor == 0:
                return expr % divisor
        return AffineExpr({Remainder(rest, divisor): 1})

    # ------------------------------------------------------------ looking inside

    @property
    def is_constant(self) -> bool:
        return not self.terms

    @property
    def only_atom(self) -> Atom | None:
        """The atom when the expression is just that, else None."""
        if self.constant == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None

    @property
    def dim(self) -> int | None:
        """The number of the dimension when the expression is just that, else None."""
        atom = self.only_atom
        return atom.index if isinstance(atom, Dim) else None

    @property
    def bounds(self) -> Bounds:
        """The smallest and the largest value that the extents of dimensions and symbols allow."""
        low: int | None = self.constant
        high: int | None = self.constant
        for atom, factor in self.terms:
            least, most = _atom_bounds(atom)
            if factor < 0:
                least, most = most, least
            low = None if low is None or least is None else low + factor * least
            high = None if high is None or most is None else high + factor * most
        return low, high

    def used_dims(self) -> tuple[int, ...]:
        """The dimensions that occur, in increasing order."""
        found: set[int] = set()
        for atom, _ in self.terms:
            if isinstance(atom, Dim):
                found.add(atom.index)
            elif isinstance(atom, Quotient | Remainder):
                found.update(atom.expr.used_dims())
            elif isinstance(atom, Lookup):
                found.update(number for expr in atom.index for number in expr.used_dims())
        return tuple(sorted(found))

    def coefficient(self, index: int) -> int:
        """The factor of dimension `index` outside of divisions; 0 if it does not occur there."""
        return dict(self.terms).get(Dim(index), 0)

    # ------------------------------------------------------------ replacing and evaluating

    def substitute(self, dims: Sequence[AffineExpr]) -> AffineExpr:
        """The expression with ``dims[i]`` in place of dimension i, simplified again."""
        total = constant(self.constant)
        for atom, factor in self.terms:
            match atom:
                case Dim(index):
                    part = dims[index]
                case Quotient(expr, divisor):
                    part = expr.substitute(dims) // divisor
                case Remainder(expr, divisor):
                    part = expr.substitute(dims) % divisor
                case Lookup(source, index, extent):
                    part = lookup(source, [expr.substitute(dims) for expr in index], extent)
                case _:
                    part = AffineExpr({atom: 1})
            total = total + part * factor
        return total

    def bind(self, operands: Sequence[Value]) -> AffineExpr:
        """The expression with ``operands[i]`` in place of operand number i as the source of a lookup."""
        total = constant(self.constant)
        for atom, factor in self.terms:
            part = AffineExpr({atom: 1})
            match atom:
                case Quotient(expr, divisor):
                    part = expr.bind(operands) // divisor
                case Remainder(expr, divisor):
                    part = expr.bind(operands) % divisor
                case Lookup(int() as number, index, extent):
                    part = lookup(operands[number], index, extent)
            total = total + part * factor
        return total

    def evaluate(self, dims: Sequence[int], symbols: Callable[[Value], int] | None = None) -> int:
        """The value at the point `dims`; `symbols` gives the values of SSA values."""
        total = self.constant
        for atom, factor in self.terms:
            match atom:
                case Dim(index):
                    part = dims[index]
                case Symbol(value):
                    assert symbols is not None, f"no value for {atom}"
                    part = symbols(value)
                case Quotient(expr, divisor):
                    part = expr.evaluate(dims, symbols) // divisor
                case Remainder(expr, divisor):
                    part = expr.evaluate(dims, symbols) % divisor
                case Lookup():
                    raise TypeError(f"{atom} is only known at run time")
            total += part * factor
        return total

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, AffineExpr) or self.constant != other.constant or len(self.terms) != len(other.terms):
            return False
        return self.terms == other.terms or dict(self.terms) == dict(other.terms)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.constant, frozenset(self.terms)))
        return self._hash

    def __str__(self) -> str:
        parts = [_term(atom, factor) for atom, factor in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts).replace("+ -", "- ")

    def __repr__(self) -> str:
        return str(self)


def dim(index: int, extent: int | None = None) -> AffineExpr:
    """Dimension `index`, whose values are 0 .. extent-1."""
    return AffineExpr({Dim(index, extent): 1})


def dims(extents: Iterable[int | None]) -> tuple[AffineExpr, ...]:
    """The dimensions of a space with these extents."""
    return tuple(dim(index, extent) for index, extent in enumerate(extents))


def symbol(value: Value, extent: int | None = None) -> AffineExpr:
    """The SSA value `value` of type index; give `extent` when it is known to be in 0 .. extent-1."""
    return AffineExpr({Symbol(value, extent): 1})


def lookup(source: Value | int, index: Sequence[AffineExpr], extent: int) -> AffineExpr:
    """A number in 0 .. extent-1 that follows from the element at `index` of an array, or of operand number `source`."""
    return AffineExpr({Lookup(source, tuple(index), extent): 1}) if extent > 1 else constant(0)


def has_lookup(exprs: Iterable[AffineExpr]) -> bool:
    """Whether any of the expressions depends on what is read from an array."""
    waiting = list(exprs)
    while waiting:
        for atom, _ in waiting.pop().terms:
            if isinstance(atom, Lookup):
                return True
            if isinstance(atom, Quotient | Remainder):
                waiting.append(atom.expr)
    return False


def constant(value: int) -> AffineExpr:
    """An integer."""
    return AffineExpr({}, value)


def linearize(indices: Sequence[AffineExpr], shape: Sequence[int]) -> AffineExpr:
    """The row-major position of an element of an array of this shape."""
    total = constant(0)
    for index, extent in zip(indices, shape, strict=True):
        # The index of a dimension of extent 1 is 0.
        total = total * extent + index if extent != 1 else total
    return total


def delinearize(position: AffineExpr, shape: Sequence[int]) -> tuple[AffineExpr, ...]:
    """The indices of the element at a row-major position; the inverse of `linearize`."""
    indices = []
    stride = 1
    for number, extent in reversed(tuple(enumerate(shape))):
        if extent <= 1:
            indices.append(constant(0))
            continue
        index = position // stride
        indices.append(index if number == 0 else index % extent)
        stride *= extent
    return tuple(reversed(indices))


@dataclass(frozen=True, slots=True)
class AffineMap:
    """From a point of a space with `n_dims` dimensions to as many integers as there are `exprs`."""

    n_dims: int
    exprs: tuple[AffineExpr, ...]

    @staticmethod
    def identity(n_dims: int) -> AffineMap:
        return AffineMap(n_dims, tuple(map(dim, range(n_dims))))

    def apply(self, indices: Sequence[AffineExpr]) -> tuple[AffineExpr, ...]:
        """The expressions with ``indices[i]`` in place of dimension i."""
        assert len(indices) == self.n_dims
        return tuple(expr.substitute(indices) for expr in self.exprs)

    def compose(self, inner: AffineMap) -> AffineMap:
        """The map that applies `inner` first: from inner's space to this map's results."""
        return AffineMap(inner.n_dims, self.apply(inner.exprs))

    @property
    def is_identity(self) -> bool:
        return self.n_dims == len(self.exprs) and all(expr.dim == i for i, expr in enumerate(self.exprs))

    @property
    def is_projection(self) -> bool:
        """Whether each expression is a dimension of its own or the constant 0 (a broadcast or transposed read)."""
        used = [expr.dim for expr in self.exprs if expr.dim is not None]
        zero = constant(0)
        return len(set(used)) == len(used) and all(expr.dim is not None or expr == zero for expr in self.exprs)

    def used_dims(self) -> tuple[int, ...]:
        """The dimensions that occur in any expression, in increasing order."""
        return tuple(sorted({index for expr in self.exprs for index in expr.used_dims()}))

    def __str__(self) -> str:
        return f"({', '.join(f'd{i}' for i in range(self.n_dims))}) -> ({', '.join(map(str, self.exprs))})"


def _check_divisor(divisor: int) -> None:
    if not isinstance(divisor, int) or divisor <= 0:
        raise TypeError(f"the divisor must be a positive integer, got {divisor}")


def _split(expr: AffineExpr, step: int) -> tuple[AffineExpr, AffineExpr]:
    """`whole` and `rest` with ``expr == whole * step + rest``; rest holds the terms that are no multiples of step."""
    whole = {atom: factor // step for atom, factor in expr.terms if factor % step == 0}
    rest = {atom: factor for atom, factor in expr.terms if factor % step}
    return AffineExpr(whole, expr.constant // step), AffineExpr(rest, expr.constant % step)


def _common_steps(expr: AffineExpr, divisor: int) -> list[int]:
    """Factors in `expr` by which a division can be cancelled, largest first."""
    factors = {abs(factor) for _, factor in expr.terms}
    return sorted((factor for factor in factors if 1 < factor < divisor and divisor % factor == 0), reverse=True)


def _within(bounds: Bounds, extent: int) -> bool:
    low, high = bounds
    return low is not None and high is not None and low >= 0 and high < extent


def _atom_bounds(atom: Atom) -> Bounds:
    match atom:
        case Quotient(expr, divisor):
            low, high = expr.bounds
            return None if low is None else low // divisor, None if high is None else high // divisor
        case Remainder(_, divisor):
            return 0, divisor - 1
        case Lookup(_, _, extent):
            return 0, extent - 1
        case Dim(_, extent) | Symbol(_, extent):
            # A symbol without an extent may be negative, a dimension may not.
            low = 0 if extent is not None or isinstance(atom, Dim) else None
            return low, None if extent is None else extent - 1


def _recombined(expr: AffineExpr) -> AffineExpr:
    """``expr`` with ``e // c * c + e % c`` written as ``e``."""
    for atom, factor in expr.terms:
        if isinstance(atom, Remainder):
            terms = dict(expr.terms)
            quotient = (atom.expr // atom.divisor).only_atom
            if quotient is not None and terms.get(quotient) == factor * atom.divisor:
                del terms[quotient], terms[atom]
                return AffineExpr(terms, expr.constant) + atom.expr * factor
    return expr


def _term(atom: Atom, factor: int) -> str:
    text = str(atom)
    return text if factor == 1 else f"-{text}" if factor == -1 else f"{text} * {factor}"


def _inner(expr: AffineExpr) -> str:
    return str(expr) if expr.only_atom or expr.is_constant else f"({expr})"
