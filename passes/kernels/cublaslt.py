"""Large products by cuBLASLt, in the place of tiles of our own.

The library adds a matrix of the result's layout, and a bias for each column.  A kernel that does more than that is not the
library's: where it is there, fusion lets the rest be a kernel of its own (`check_cublaslt`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dlir.ir.affine import AffineExpr, Dim, dims, linearize
from dlir.ir.core import Value
from dlir.ir.dialects.kernel import MATRIX_TYPES, leading_dimension
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.ops import kernel as kernel_ops
from dlir.ir.types import F64
from dlir.passes.kernels.classify import FusionClass, facts
from dlir.passes.kernels.demand import Index
from dlir.passes.kernels.kernel import Kernel
from dlir.passes.kernels.plan import Inside, Plan, Unfit
from dlir.passes.kernels.product import leaf_of
from dlir.passes.kernels.roles import Roles, feeds, inverse, roles_of, split

#: Products and sums from which on the library is called, and the least rows, columns and depth: what is smaller, or reads
#: more than it computes, is left to kernels that compute everything that follows as well.
LARGE = 1 << 30
LEAST_EXTENT = 128
#: Bytes at multiples of which all rows or columns must begin for the library's fast kernels.
ALIGNMENT = 16

#: An offset, and the strides of batch, rows and columns.
Layout = tuple[int, int, int, int]
#: An array in memory, and how matrices lie in it.
Matrix = tuple[Value, Layout]


@dataclass(frozen=True)
class Product:
    """A contraction as products of matrices: `sizes` are batch, rows, columns and depth."""

    op: Primitive
    roles: Roles
    sizes: tuple[int, int, int, int]
    lhs: Matrix
    rhs: Matrix

    @property
    def is_large(self) -> bool:
        """Whether it is worth a call of the library."""
        return min(self.sizes[1:]) >= LEAST_EXTENT and math.prod(self.sizes) >= LARGE

    @property
    def is_aligned(self) -> bool:
        """Whether the rows or columns of all matrices begin where the library is fast."""
        unit = max(1, ALIGNMENT // self.op.operands[0].dtype.bytes)
        numbers = (*self.lhs[1], *self.rhs[1], self.sizes[2])
        return all(number % unit == 0 or number == 1 for number in numbers)


@dataclass(frozen=True)
class Call:
    """A call of the library that computes all that a kernel does."""

    product: Product
    layout: Layout
    addend: Value | None
    bias: Value | None


def check_cublaslt(plan: Plan) -> None:
    """Unfit for a large product with more than a call of the library computes: that is a call, and another kernel."""
    product = _large_product(plan)
    if product is not None:
        call_of(plan, product)


def is_cublaslts(plan: Plan) -> bool:
    """Whether the library should compute all that a kernel does."""
    product = _large_product(plan)
    try:
        return product is not None and call_of(plan, product) is not None
    except Unfit:
        return False


def _large_product(plan: Plan) -> Product | None:
    """The products of a plan, if they are worth a call."""
    if plan.form != "contraction" or math.prod(facts(plan.anchor).space.extents) < LARGE:
        return None
    try:
        product = product_of(plan)
    except Unfit:
        return None
    return product if product.is_large and product.is_aligned else None


def emit_cublaslt(kernel: Kernel) -> None:
    """The call."""
    if kernel.emitter.collected is not None:
        raise Unfit("a call of the library has no work items to put beside others")
    call = call_of(kernel.plan, product_of(kernel.plan), kernel.inplace)
    (lhs, lhs_layout), (rhs, rhs_layout) = call.product.lhs, call.product.rhs
    buffers = kernel.emitter.buffers
    with kernel.emitter.at(0):
        kernel_ops.matmul(
            buffers.memref_of(lhs),
            buffers.memref_of(rhs),
            kernel.targets[0],
            None if call.addend is None else buffers.memref_of(call.addend),
            None if call.bias is None else buffers.memref_of(call.bias),
            sizes=call.product.sizes,
            lhs_layout=lhs_layout,
            rhs_layout=rhs_layout,
            into_layout=call.layout,
        )


# ---------------------------------------------------------------- the product


def product_of(plan: Plan) -> Product:
    """The contraction of a plan as products of matrices; Unfit with the reason if the library has no such product."""
    op = plan.anchor
    inside = plan.loops[0].demand.inside
    roles = roles_of(plan, inside)
    if roles is None or roles.depth == 0 or 0 in roles.shape:
        raise Unfit("it is no product of two operands that are in memory")
    types = {value.dtype for value in (*op.operands, *op.results)}
    if len(types) > 1 or not types <= set(MATRIX_TYPES):
        raise Unfit(f"cuBLASLt multiplies {', '.join(map(str, MATRIX_TYPES))}")
    columns = roles.size((*roles.bands, *roles.columns))
    sizes = (roles.size(roles.outer), roles.size(roles.rows), columns, roles.depth)
    lhs = _operand(op, roles, roles.left, sizes, (0, 1, 3), inside)
    rhs = _operand(op, roles, roles.right, sizes, (0, 3, 2), inside)
    return Product(op, roles, sizes, lhs, rhs)


def _operand(
    op: Primitive,
    roles: Roles,
    number: int,
    sizes: tuple[int, int, int, int],
    along: tuple[int, int, int],
    inside: Inside,
) -> Matrix:
    """Where in memory an operand's matrices lie, whose batch, rows and columns go along three of the dimensions `sizes`."""
    batch, row, column, depth = dims(sizes)
    leaf = leaf_of(op, number, _point(roles, batch, row, column) + tuple(split(depth, roles.reduction)), inside)
    layout = None if leaf is None else _layout(leaf[1], leaf[0].shape, along)
    if leaf is None or layout is None or leading_dimension([sizes[n] for n in along[1:]], layout[2:]) is None:
        raise Unfit(f"operand {number} is no matrix that lies in memory")
    return leaf[0], layout


def _point(roles: Roles, batch: AffineExpr, row: AffineExpr, column: AffineExpr) -> Index:
    """The index of the contraction's result at a batch, row and column."""
    return roles.element(split(batch, roles.extents(roles.outer)), row, column)


def _layout(index: Index, shape: Sequence[int], along: Sequence[int]) -> Layout | None:
    """The offset of what is at `index`, and its strides along three dimensions; None where there are no such strides."""
    position = linearize(index, shape)
    if not all(isinstance(atom, Dim) for atom, _ in position.terms):
        return None
    first, second, third = (position.coefficient(number) for number in along)
    return position.constant, first, second, third


# ---------------------------------------------------------------- what follows it


def call_of(plan: Plan, product: Product, inplace: Collection[Value] = ()) -> Call:
    """The call that computes all that a kernel does; Unfit if there is none.

    `inplace` are the operands that lie in memory that the kernel writes.
    """
    (loop,) = plan.loops
    terms = _terms(plan.values[0], product.op, loop.demand.inside) if len(plan.values) == 1 else None
    if terms is None:
        raise Unfit("cuBLASLt adds a matrix and a bias to a product, and computes nothing else")
    ((_, index),) = loop.outputs
    layout = _at_result(plan, product, index, plan.shapes[0])
    way = None if layout is None else leading_dimension(product.sizes[1:3], layout[2:])
    if layout is None or way is None:
        raise Unfit("the results are no matrices that cuBLASLt writes")
    addend = bias = None
    # What the result overwrites must be the addend.
    for term in sorted(terms, key=lambda term: term not in inplace):
        places = [where for value, where in loop.demand.leaves if value is term and not feeds(where, loop.extents)]
        found = _at_result(plan, product, places[0], term.shape) if len(places) == 1 else None
        if addend is None and found is not None and _coincide(product, found, layout):
            addend = term
        elif bias is None and found is not None and way[0] == 1 and _is_bias(product, term, found):
            bias = term
        else:
            raise Unfit("what is added is neither a matrix like the result nor a bias for each column")
    return Call(product, layout, addend, bias)


def _terms(value: Value, op: Primitive, inside: Inside) -> list[Value] | None:
    """The arrays in memory that are added to the result of `op` to give `value`; None if more is done to it."""
    terms = []
    while (value := _source(value, inside)) is not op.results[0]:
        made = value.defining_op
        if made is None or not inside(made) or made.name != "nd.add":
            return None
        sources = [_source(operand, inside) for operand in made.operands]
        arrays = [source for source in sources if source.defining_op is None or not inside(source.defining_op)]
        if len(arrays) != 1:
            return None
        terms += arrays
        (value,) = (source for source in sources if source is not arrays[0])
    return terms


def _source(value: Value, inside: Inside) -> Value:
    """What a value is a view of."""
    while isinstance(op := value.defining_op, Primitive) and inside(op):
        if facts(op).fusion_class is not FusionClass.VIEW or not op.operands:
            break
        (value,) = op.operands
    return value


def _at_result(plan: Plan, product: Product, index: Index, shape: Sequence[int]) -> Layout | None:
    """The layout of what is at `index` where the plan's loop needs each result of the product."""
    here = inverse(plan, _point(product.roles, *dims(product.sizes)[:3]))
    return _layout(tuple(expr.substitute(here) for expr in index), shape, (0, 1, 2))


def _coincide(product: Product, one: Layout, two: Layout) -> bool:
    """Whether two layouts of matrices like the result are the same."""
    extents = (0, *product.sizes[:3])
    return all(a == b for a, b, extent in zip(one, two, extents) if extent != 1)


def _is_bias(product: Product, value: Value, layout: Layout) -> bool:
    """Whether the library takes `value` for a bias: an element for each column."""
    is_whole = math.prod(value.shape) == product.sizes[2] and _coincide(product, layout, (0, 0, 0, 1))
    return is_whole and value.dtype is not F64
