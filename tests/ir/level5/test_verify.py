"""The verifier on broken level-5 ops: it says what is wrong, and survives anything."""

from __future__ import annotations

import pytest

from dlir.ir.attributes import IntegerAttr, StringAttr, attribute
from dlir.ir.core import Region
from dlir.ir.errors import DlirError
from dlir.ir.traversal import clone
from dlir.ir.types import F64, I8, INDEX, MemRefType, VectorType
from dlir.ir.verifier import verify
from dlir.textir.parser import parse


def damages(op):
    """Ways to break `op`, each a function that does so."""
    for name in list(op.attributes):
        yield lambda name=name: op.attributes.pop(name)
        yield lambda name=name: op.attributes.update({name: StringAttr("odd")})
        yield lambda name=name: op.attributes.update({name: IntegerAttr(10**6)})
        yield lambda name=name: op.attributes.update({name: attribute((7, 7, 7))})
    yield lambda: op.set_operands(op.operands[:-1])
    yield lambda: op.set_operands((*op.operands, *op.operands[:1]))
    for index, value in enumerate(op.operands):
        yield lambda value=value: setattr(value, "type", F64)
        yield lambda value=value: setattr(value, "type", VectorType((3,), I8))
        yield lambda value=value: setattr(value, "type", MemRefType((None, 3), INDEX))
        yield lambda index=index: op.set_operand(index, op.operands[0])
    for result in op.results:
        yield lambda result=result: setattr(result, "type", I8)
        yield lambda result=result: setattr(result, "type", VectorType((2, 2), F64))
    if op.regions:
        yield lambda: op.regions[0].blocks.clear()
        yield lambda: setattr(op, "regions", ())
        yield lambda: setattr(op, "regions", (*op.regions, Region()))
        yield lambda: [inner.detach() for inner in list(op.body.ops)]
        yield lambda: op.body.terminator.detach()
        yield lambda: op.body.add_arg(I8)


def nth(module, position):
    return next(op for number, op in enumerate(module.walk()) if number == position)


def test_no_damage_makes_the_verifier_fail(every_op):
    seen = {}
    for position, op in enumerate(every_op.walk()):
        # One of each op, in each form of operands.
        seen.setdefault((op.name, len(op.operands), len(op.attributes)), position)
    found = 0
    for position in list(seen.values())[1:]:
        for number in range(len(list(damages(nth(every_op, position))))):
            module = clone(outermost(nth(every_op, position)))
            inner = nth(module, depth_position(every_op, position))
            list(damages(inner))[number]()
            found += bool(verify(module))
    assert found > 500


def outermost(op):
    """The function or module that holds `op`, directly in the top module."""
    while op.parent_op.parent_op is not None:
        op = op.parent_op
    return op


def depth_position(root, position):
    """Where op number `position` of `root` stands in the walk of its outermost op."""
    op = nth(root, position)
    return next(number for number, inner in enumerate(outermost(op).walk()) if inner is op)


def problem(body, head="(%x: f32, %i: index, %n: i32, %m: memref<4x8xf32>)"):
    """What the verifier or parser says of a function with this body."""
    try:
        problems = verify(parse(f"module {{ func.func @f{head} {{\n{body}\nreturn\n}} }}"))
    except DlirError as error:
        problems = error.diagnostics
    assert len(problems) == 1, problems
    return problems[0].message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%a = arith.addf %x, %n", "needs operands of one type, got f32, i32"),
        ("%a = arith.addi %x, %x", "needs signless integers or index, got f32"),
        ("%a = arith.cmpi %n, %n {predicate = 10}", "predicate must be 0 to 9, got 10"),
        ("%a = arith.extf %x : f16", "needs a wider type than f32"),
        ("%a = arith.sitofp %x : f16", "converts signless integers to floats, not f32"),
        ("%a = arith.bitcast %x : i64", "cannot see the bits of f32 as i64"),
        ("%a = arith.addf %x, %x {fastmath = #arith.fastmath<quick>}", "'fastmath' must be #arith.fastmath<...>"),
        ("%a = memref.load %m, %i", "needs 2 indices for memref<4x8xf32>, got 1"),
        ("memref.store %n, %m, %i, %i", "cannot store i32 in memref<4x8xf32>"),
        ("%a = memref.view %m, %i : memref<4xf32>", "needs a one-dimensional memref of i8"),
        ("%a = memref.cast %m : memref<5x8xf32>", "cannot see memref<4x8xf32> as memref<5x8xf32>"),
        ("%a = vector.load %m, %i, %i : vector<4xf64>", "cannot move vector<4xf64>"),
        ("%a = gpu.thread_id {dimension = #gpu<dim w>}", "'dimension' must be #gpu<dim ...> with one of x, y, z"),
        (
            '%a = gpu.subgroup_mma_constant_matrix %x : !gpu.mma_matrix<16x16xf32, "DOp">',
            'needs !gpu.mma_matrix<ROWSxCOLUMNSxTYPE, "AOp" or "BOp" or "COp">, got !gpu.mma_matrix<16x16xf32, "DOp">',
        ),
        (
            '%a = gpu.subgroup_mma_constant_matrix %n : !gpu.mma_matrix<16x16xf32, "COp">',
            'cannot fill !gpu.mma_matrix<16x16xf32, "COp"> with i32',
        ),
        (
            '%a = gpu.subgroup_mma_load_matrix %m, %i, %i {leadDimension = 8} : !gpu.mma_matrix<4x8xf32, "AOp">',
            "leadDimension must be a positive index, got 8",
        ),
        (
            "%a = gpu.subgroup_mma_load_matrix %m, %i, %i {leadDimension = 8 : index}"
            ' : !gpu.mma_matrix<4x8xf16, "AOp">',
            "cannot move elements of f16 from or to memref<4x8xf32>",
        ),
        (
            '%a = gpu.subgroup_mma_constant_matrix %x : !gpu.mma_matrix<16x8xf32, "AOp">\n'
            '%b = gpu.subgroup_mma_constant_matrix %x : !gpu.mma_matrix<16x16xf32, "BOp">\n'
            '%c = gpu.subgroup_mma_constant_matrix %x : !gpu.mma_matrix<16x16xf32, "COp">\n'
            "%d = gpu.subgroup_mma_compute %a, %b, %c",
            "cannot add !gpu.mma_matrix<16x8xf32",
        ),
        ("scf.for %i, %i, %i ({\n^bb0(%k: i32):\nscf.yield })", "needs block arguments (index), got (i32)"),
        (
            "%r = scf.for %i, %i, %i, %x ({\n^bb0(%k: index, %c: f32):\nscf.yield %k })",
            "'scf.yield' of (f32), got (index)",
        ),
        ("scf.for %i, %n, %i ({\n^bb0(%k: index):\nscf.yield })", "bounds of one integer type or index"),
        ("scf.if %n ({ scf.yield }, {})", "needs an i1 condition, got i32"),
    ],
)
def test_messages_name_what_does_not_fit(body, message):
    assert message in problem(body)
