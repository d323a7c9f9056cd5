"""hoist-constants: what depends only on weights moves into an initialiser; what would grow, or is free, stays."""

from __future__ import annotations

import numpy as np
import pytest
from support import programs
from support.upstream import Tool, without_defaults

from dlir.backends.compiler import compile_module
from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.builder import at_start
from dlir.ir.dialects.func import find_function
from dlir.ir.initializers import INITIALIZES
from dlir.ir.ops import state
from dlir.ir.traversal import clone, difference
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.ir.verifier import verify
from dlir.passes import pipelines
from dlir.passes.hoist import HoistConstants, frozen_variables
from dlir.passes.manager import PassManager
from dlir.textir import parse, print_module

#: Two weights of 64 bytes and one of 256, so that any two of them are worth a variable.
WEIGHTS = """
state.variable @w {init = dense<3.0> : tensor<16x4xf32>, type = tensor<16x4xf32>}
state.variable @gamma {init = dense<2.0> : tensor<16xf32>, type = tensor<16xf32>}
state.variable @beta {init = dense<0.5> : tensor<16xf32>, type = tensor<16xf32>}
"""
READS = "%w = state.read @w\n%g = state.read @gamma\n%b = state.read @beta\n"


def hoist(body: str, result: str, argument: str = "tensor<16xf32>"):
    """(module, what the pass counted) of a function of %x over the weights; the text reads back the same."""
    module = parse(f"{WEIGHTS}func.func @main(%x: {argument}) -> {result} {{\n{READS}{body}\n}}")
    manager = PassManager([HoistConstants()])
    manager.run(module)
    again = parse(print_module(module))
    assert difference(module, again) is None and verify(again) == []
    return module, manager.passes[0].stats["variables"]


def names(module, function="main"):
    """The ops of a function but for reads and the return."""
    ops = find_function(module, function).body.ops
    return [op.name for op in ops if op.name not in ("state.read", "func.return")]


def test_an_expression_of_weights_moves_as_a_whole():
    module, count = hoist(
        "%s = nd.add %g, %b\n%scale = nd.sqrt %s\n%y = nd.mul %x, %scale\nreturn %y", "tensor<16xf32>"
    )
    assert count == 1
    assert names(module) == ["nd.mul"] and names(module, "initialize") == ["nd.add", "nd.sqrt"]
    text = print_module(module)
    assert "state.variable @scale {type = tensor<16xf32>}" in text
    assert "func.func private @initialize() -> tensor<16xf32> attributes {dlir.initializes = [@scale]}" in text


def test_equal_expressions_are_one_variable():
    body = "%p = nd.mul %g, %b\n%y = nd.add %x, %p\n%q = nd.mul %g, %b\n%z = nd.sub %y, %q\nreturn %z"
    module, count = hoist(body, "tensor<16xf32>")
    assert count == 1 and names(module) == ["nd.add", "nd.sub"] and names(module, "initialize") == ["nd.mul"]


def test_an_inner_value_that_the_function_needs_is_computed_once():
    body = "%p = nd.mul %g, %b\n%q = nd.exp %p\n%y = nd.add %x, %p\n%z = nd.mul %y, %q\nreturn %z"
    module, count = hoist(body, "tensor<16xf32>")
    assert count == 2 and names(module, "initialize") == ["nd.mul", "nd.exp"]


def test_a_broadcast_stays_with_its_user_and_what_it_shows_moves():
    body = "%p = nd.mul %g, %b\n%w0 = nd.broadcast_to %p {shape = [64, 16]}\n%y = nd.add %x, %w0\nreturn %y"
    module, _ = hoist(body, "tensor<64x16xf32>", "tensor<64x16xf32>")
    assert names(module) == ["nd.broadcast_to", "nd.add"] and names(module, "initialize") == ["nd.mul"]


def test_what_is_computed_of_a_broadcast_stays_too():
    body = "%w0 = nd.broadcast_to %g {shape = [64, 16]}\n%e = nd.exp %w0\n%y = nd.add %x, %e\nreturn %y"
    module, count = hoist(body, "tensor<64x16xf32>", "tensor<64x16xf32>")
    assert count == 0 and INITIALIZES not in print_module(module)


@pytest.mark.parametrize(
    "expression",
    ["nd.iota {shape = [64, 16], dtype = f32}", "nd.constant {value = dense<2.0> : tensor<64x16xf32>}"],
)
def test_what_costs_no_memory_is_not_made_into_an_array(expression):
    body = f"%i = {expression}\n%e = nd.exp %i\n%y = nd.add %x, %e\nreturn %y"
    _, count = hoist(body, "tensor<64x16xf32>", "tensor<64x16xf32>")
    assert count == 0


def test_views_of_a_weight_stay_unless_a_product_reads_them():
    for user, moves in (("nd.add %x, %t", 0), ("nd.matmul %x, %t", 1)):
        shape = "tensor<4x16xf32>" if not moves else "tensor<8x4xf32>"
        result = "tensor<4x16xf32>" if not moves else "tensor<8x16xf32>"
        body = f"%t = nd.transpose %w {{perm = [1, 0]}}\n%y = {user}\nreturn %y"
        _, count = hoist(body, result, shape)
        assert count == moves, user


def test_a_packed_weight_moves_with_its_last_reshape():
    body = """%r = nd.reshape %w {shape = [2, 8, 4]}
              %t = nd.transpose %r {perm = [0, 2, 1]}
              %p = nd.reshape %t {shape = [8, 8]}
              %y = nd.matmul %x, %p
              return %y"""
    module, count = hoist(body, "tensor<5x8xf32>", "tensor<5x8xf32>")
    assert count == 1 and names(module) == ["nd.matmul"]


def test_padding_may_grow_a_little():
    body = """%p = nd.pad %w {low = [0, 0], high = [0, 12]}
              %y = nd.matmul %x, %p
              return %y"""
    module, count = hoist(body, "tensor<2x16xf32>", "tensor<2x16xf32>")
    assert count == 1 and names(module) == ["nd.matmul"]


def test_a_reduction_to_one_number_moves():
    module, count = hoist("%s = nd.sum %w\n%y = nd.add %x, %s\nreturn %y", "tensor<16xf32>")
    assert count == 1 and "nd.sum" not in names(module)


def test_few_bytes_are_not_worth_a_variable():
    _, count = hoist("%s = nd.sqrt %g\n%y = nd.add %x, %s\nreturn %y", "tensor<16xf32>")
    assert count == 0


def test_a_variable_that_something_else_names_is_not_frozen():
    module = parse(f'{WEIGHTS}func.func @main() {{\n"other.assign"() {{to = @w}} : () -> ()\nreturn\n}}')
    assert list(frozen_variables(module)) == ["gamma", "beta"]


def test_running_it_again_changes_nothing():
    module, _ = hoist("%s = nd.add %g, %b\n%y = nd.mul %x, %s\nreturn %y", "tensor<16xf32>")
    again = clone(module)
    PassManager([HoistConstants()]).run(again)
    assert difference(module, again) is None


def test_names_that_are_taken_are_not_used():
    body = "%main = nd.add %g, %b\n%y = nd.mul %x, %main\nreturn %y"
    module, count = hoist(body, "tensor<16xf32>")
    assert count == 1 and module.symbol("main_1") is not None


def test_each_function_has_an_initialiser_of_its_own():
    body = "%s = nd.add %g, %b\n%y = nd.mul %x, %s\nreturn %y"
    functions = [f"func.func @{n}(%x: tensor<16xf32>) -> tensor<16xf32> {{\n{READS}{body}\n}}" for n in ("f", "main")]
    module = parse(WEIGHTS + "\n".join(functions))
    PassManager([HoistConstants()]).run(module)
    assert [
        find_function(module, name).attributes.get(INITIALIZES) is not None for name in ("initialize", "initialize_1")
    ]
    x = np.arange(16, dtype=np.float32)
    for entry in ("f", "main"):
        np.testing.assert_array_equal(compile_module(module, entry=entry)(x)[0], x * 2.5)


# ---------------------------------------------------------------- random programs


def with_weights(program, inputs, count):
    """The program with its first `count` inputs as variables, and the inputs that are left."""
    module = clone(program.module)
    function = find_function(module, "main")
    for number, array in enumerate(inputs[:count]):
        arg = function.body.args[0]
        type = TensorType(array.shape, dtype_from_numpy(array.dtype))
        with at_start(module.body):
            state.variable(sym_name=f"w{number}", init=DenseElementsAttr(array, type), type=type)
        with at_start(function.body):
            arg.replace_by(state.read(type, variable=f"w{number}"))
        function.body.erase_arg(0)
    function.set_arg_attributes([{} for _ in function.body.args])
    function.update_type()
    return module, inputs[count:]


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_of_weights_compute_the_same(seed, monkeypatch):
    eager = pipelines.O2.replace("hoist-constants", "hoist-constants{min-bytes=0}")
    monkeypatch.setitem(pipelines.PIPELINES, "O2", eager)
    program = programs.make_program(seed, exact=True)
    inputs = programs.make_inputs(program, seed)
    want = compile_module(program.module, backend="ref")(*inputs)
    for count in range(1, len(inputs) + 1):
        module, rest = with_weights(program, inputs, count)
        compiled = compile_module(module)
        for _ in range(2):
            for expected, got in zip(want, compiled(*rest), strict=True):
                assert got.dtype == expected.dtype and np.array_equal(got, expected), print_module(compiled.lowered)


def test_random_programs_do_hoist():
    hoisted = 0
    for seed in range(40):
        program = programs.make_program(seed, exact=True)
        module, _ = with_weights(program, programs.make_inputs(program, seed), 1)
        manager = PassManager([HoistConstants(min_bytes=0)])
        manager.run(module)
        hoisted += manager.passes[0].stats["variables"]
    assert hoisted > 20


# ---------------------------------------------------------------- text of every level


def stages(target):
    """The generic text of a program with an initialiser after each pass."""
    module, _ = hoist(
        "%s = nd.add %g, %b\n%c = nd.exp %s\n%y = nd.mul %x, %s\n%z = nd.mul %y, %c\nreturn %z", "tensor<16xf32>"
    )
    found = [print_module(module, generic=True)]
    manager = PassManager.from_text(pipelines.pipeline_for("O2", target))
    for item in manager.passes:
        manager.run_pass(item, module)
        found.append(print_module(module, generic=True))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_every_level_reads_back_and_runs(target):
    x = np.arange(16, dtype=np.float32)
    want = None
    for text in stages(target):
        module = parse(text)
        assert verify(module) == [] and difference(module, parse(print_module(module))) is None
        assert INITIALIZES in text
        if target == "cpu":
            (got,) = compile_module(module)(x)
            (meant,) = compile_module(module, backend="ref")(x)
            want = meant if want is None else want
            np.testing.assert_allclose(got, want, rtol=1e-6)
            np.testing.assert_allclose(meant, want, rtol=1e-6)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_mlir_reads_every_level(target):
    tool = Tool("mlir-opt", "--allow-unregistered-dialect", "--mlir-print-op-generic")
    texts = stages(target)
    for text, printed in zip(texts, tool.each(texts), strict=True):
        assert difference(without_defaults(parse(text)), without_defaults(parse(printed))) is None
