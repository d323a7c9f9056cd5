"""Loops and branches over arrays: right on every backend, and in as little memory as their bodies need."""

from __future__ import annotations

import numpy as np
import pytest
from support.buffers import run_buffers, run_tensors
from support.loop_programs import inputs_for, loop_program
from support.plan_checker import WrongPlan

from dlir.backends.compiler import compile_module
from dlir.backends.registry import find_backend
from dlir.ir.dialects.func import find_function
from dlir.ir.dialects.state import Variable
from dlir.ir.errors import DlirError
from dlir.ir.traversal import clone
from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager
from dlir.passes.memory.report import needed_bytes
from dlir.passes.memory.timeline import Timeline
from dlir.textir import parse

PIPELINES = [
    "fuse{max-ops=1},bufferize",
    "canonicalize,cse,fuse,bufferize,plan-memory",
    "fuse{max-ops=1},bufferize,plan-memory{poison=true}",
    "canonicalize,cse,remat{above=0},fuse{max-ops=3},reorder,bufferize,plan-memory",
]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=["buffers", "planned", "poisoned", "again"])
@pytest.mark.parametrize(("side", "variables"), [(3, 0), (16, 2)], ids=["small", "parts-and-state"])
def test_random_programs(pipeline, side, variables):
    """Every plan is checked from the definition as well (conftest.py)."""
    parts = 0
    for seed in range(60 if side == 3 else 40):
        module = verified(loop_program(seed, side, variables))
        arrays = inputs_for(module, seed)
        old = {op["sym_name"]: op.get("init") for op in module.body.ops if isinstance(op, Variable)}
        new = dict(old)
        wanted = run_tensors(find_function(module, "main"), arrays, new)
        manager = PassManager.from_text(pipeline)
        made = find_function(verified(manager.run(clone(module))), "main")
        parts += sum(item.stats["parts"] for item in manager.passes)
        found, after = run_buffers(made, arrays, old, new)
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, want, err_msg=f"seed {seed}")
        for arg, now, array in zip(made.body.args, after, arrays):
            if "dlir.donated" not in made.arg_attributes(arg.index):
                np.testing.assert_array_equal(now, array, err_msg=f"seed {seed}: an input was overwritten")
    assert parts or side == 3 or "max-ops=1" not in pipeline, "fused kernels read and write parts themselves"


@pytest.mark.parametrize("backend", ["ref", "cpu", "cuda-sim"])
def test_random_programs_on_a_backend(backend):
    for seed in range(6):
        module = verified(loop_program(seed))
        arrays = inputs_for(module, seed)
        wanted = run_tensors(module.body.first, arrays)
        for level in ("O0", "O2"):
            found = compile_module(module, backend=backend, level=level)(*map(np.array, arrays))
            for got, want in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(got, want, err_msg=f"seed {seed} at {level}")


def test_the_checker_sees_a_plan_that_forgets_what_the_next_run_needs(monkeypatch):
    modules = [PassManager.from_text("fuse{max-ops=1},bufferize").run(loop_program(seed)) for seed in range(60)]
    monkeypatch.setattr(Timeline, "last_use", lambda self, value, user: self.starts[user])
    with pytest.raises(WrongPlan):
        for module in modules:
            PassManager.from_text("plan-memory").run(module)


# ---------------------------------------------------------------- how much memory, and what is copied

HEAD = """
func.func @main(%x: tensor<8x8xf32> {dlir.donated}, %w: tensor<8x8xf32>, %n: tensor<f32>) -> tensor<8x8xf32> {
  %c0 = arith.constant {value = 0 : index}
  %c1 = arith.constant {value = 1 : index}
  %c5 = arith.constant {value = 5 : index}
"""


def lowered(text, is_donated=True):
    """The function over buffers, planned, its temporary bytes, and how much the loops copy."""
    text = HEAD + text + "}"
    module = parse(text if is_donated else text.replace(" {dlir.donated}", ""))
    manager = PassManager.from_text("canonicalize,cse,fuse,bufferize,plan-memory")
    function = manager.run(module).body.first
    inputs = sum(arg.type.nbytes for arg in function.body.args if "dlir.input" in function.arg_attributes(arg.index))
    copies = [op for op in function.walk() if op.name == "memref.copy"]
    return needed_bytes(function)[0] - inputs, len([op for op in copies if op.parent_op is not function]), len(copies)


IN_PLACE = """
  %y = scf.for %c0, %c5, %c1, %x ({
  ^bb0(%i: index, %h: tensor<8x8xf32>):
    %a = nd.mul %h, %w
    scf.yield %a
  })
  return %y
"""
PRODUCT = IN_PLACE.replace("nd.mul", "nd.matmul")
THEN_PRODUCT = """
  %y = scf.for %c0, %c5, %c1, %x ({
  ^bb0(%i: index, %h: tensor<8x8xf32>):
    %a = nd.softmax %h {axis = 0}
    %b = nd.matmul %a, %w
    scf.yield %b
  })
  return %y
"""
SWAP = """
  %e = nd.exp %w
  %r:2 = scf.for %c0, %c5, %c1, %x, %e ({
  ^bb0(%i: index, %a: tensor<8x8xf32>, %b: tensor<8x8xf32>):
    scf.yield %b, %a
  })
  return %r#0
"""
NESTED = """
  %y = scf.for %c0, %c5, %c1, %x ({
  ^bb0(%i: index, %h: tensor<8x8xf32>):
    %z = scf.for %c0, %c5, %c1, %h ({
    ^bb0(%j: index, %g: tensor<8x8xf32>):
      %a = nd.add %g, %w
      scf.yield %a
    })
    scf.yield %z
  })
  return %y
"""
BRANCH = """
  %zero = nd.constant {value = dense<0.0> : tensor<f32>}
  %y = scf.for %c0, %c5, %c1, %x ({
  ^bb0(%i: index, %h: tensor<8x8xf32>):
    %s = nd.sum %h
    %less = nd.less %s, %zero
    %go = tensor.extract %less
    %z = scf.if %go ({
      %a = nd.mul %h, %w
      scf.yield %a
    }, {
      scf.yield %h
    }) : tensor<8x8xf32>
    scf.yield %z
  })
  return %y
"""
WHILE = """
  %y = scf.while %x ({
  ^bb0(%h: tensor<8x8xf32>):
    %s = nd.sum %h
    %less = nd.less %s, %n
    %go = tensor.extract %less
    scf.condition %go, %h
  }, {
  ^bb0(%h: tensor<8x8xf32>):
    %a = nd.add %h, %w
    scf.yield %a
  }) : tensor<8x8xf32>
  return %y
"""
ARRAY = 8 * 8 * 4


@pytest.mark.parametrize(
    ("text", "bytes", "copied"),
    [
        (IN_PLACE, 0, 0),
        (PRODUCT, ARRAY, 1),
        (THEN_PRODUCT, ARRAY, 0),
        (SWAP, 2 * ARRAY, 3),
        (NESTED, 0, 0),
        (BRANCH, 1 + 64, 0),
        (WHILE, 1, 0),
    ],
    ids=["in-place", "product", "then-product", "swap", "nested", "branch", "while"],
)
def test_what_a_loop_needs(text, bytes, copied):
    """With a donated input: temporary bytes, and copies in a run of a body."""
    needed, inside, copies = lowered(text)
    assert needed <= bytes
    assert inside == copied
    assert copies == inside, "what goes in is donated: nothing is copied in front of a loop"


@pytest.mark.parametrize("text", [IN_PLACE, NESTED, WHILE], ids=["in-place", "nested", "while"])
def test_an_input_that_is_not_donated_is_copied_once(text):
    _, inside, copies = lowered(text, is_donated=False)
    assert (inside, copies) == (0, 1)


def test_the_results_agree_with_numpy():
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((8, 8)).astype(np.float32) for _ in range(2))
    wanted = x.copy()
    while wanted.sum() < 100:
        wanted = wanted + abs(w)
    for backend in ("ref", "cpu", "cuda-sim"):
        program = compile_module(parse(HEAD + WHILE + "}"), backend=backend)
        (found,) = program(x.copy(), abs(w), np.float32(100))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_shapes_are_bound_inside_of_loops():
    text = "func.func @main(%x: tensor<?xf32>, %n: tensor<f32>) -> tensor<?xf32> {" + WHILE.replace("8x8", "?")
    module = parse(text.replace("%h, %w", "%h, %h") + "}")
    PassManager.from_text("bind-shapes{dims=x.0=4}").run(module)
    (found,) = find_backend("ref").load(verified(module), "main", None)(np.ones(4, np.float32), np.float32(50))
    np.testing.assert_array_equal(found, np.full(4, 16, np.float32))


def test_a_variable_is_read_in_a_loop():
    text = "state.variable @v {init = dense<2.0> : tensor<8x8xf32>}\n" + HEAD + IN_PLACE + "}"
    module = parse(text.replace("%a = nd.mul %h, %w", "%v = state.read @v\n %a = nd.mul %h, %v"))
    for backend in ("ref", "cpu", "cuda-sim"):
        (found,) = compile_module(module, backend=backend)(
            np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32), np.float32(0)
        )
        np.testing.assert_array_equal(found, np.full((8, 8), 32, np.float32))


def test_an_index_out_of_range_reads_no_other_memory():
    text = """
    func.func @main(%x: tensor<4xi32>, %i: tensor<i32>) -> tensor<i32> {
      %n = tensor.extract %i
      %at = arith.index_cast %n : index
      %v = tensor.extract %x, %at
      %r = tensor.from_elements %v : tensor<i32>
      return %r
    }
    """
    x = np.arange(4, dtype=np.int32)
    for backend in ("cpu", "cuda-sim"):
        program = compile_module(parse(text), backend=backend)
        assert [int(program(x, np.int32(i))[0]) for i in (-(2**31), 2, 2**31 - 1)] == [0, 2, 3]
    with pytest.raises(DlirError, match="out of range"):
        find_backend("ref").load(parse(text), "main", None)(x, np.int32(4))


def test_other_ops_with_bodies_are_refused_with_a_reason():
    text = """
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %c = arith.constant {value = 1 : index}
      %y = scf.parallel %c, %c, %c, %x {operandSegmentSizes = array<i32: 1, 1, 1, 1>} ({
      ^bb0(%i: index):
        scf.reduce %x ({
        ^bb0(%a: tensor<4xf32>, %b: tensor<4xf32>):
          %s = nd.add %a, %b
          scf.reduce.return %s
        })
      })
      return %y
    }
    """
    with pytest.raises(DlirError, match="scf.parallel") as caught:
        PassManager.from_text("fuse,bufferize").run(parse(text))
    assert "scf.for" in str(caught.value.diagnostics[0].hint)
