"""``state.write`` in the passes: what it means, where it may stand, and where new values are computed."""

from __future__ import annotations

import pytest
from support.plan_checker import every_plan_checked

from dlir.backends.compiler import compile_module, lower_module
from dlir.ir.dialects.func import find_function
from dlir.ir.errors import DlirError
from dlir.ir.state import mutable_variables, state_of
from dlir.ir.verifier import verified
from dlir.passes.hoist import frozen_variables
from dlir.passes.manager import PassManager
from dlir.textir import parse
from dlir.textir.diagnostics import render
from dlir.textir.printer import print_module

A = "state.variable @a {init = dense<1.0> : tensor<4xf32>, type = tensor<4xf32>}\n"
B = "state.variable @b {init = dense<2.0> : tensor<4xf32>, type = tensor<4xf32>}\n"


def main(body, arguments="%x: tensor<4xf32>", results=" -> tensor<4xf32>"):
    return f"func.func @main({arguments}){results} {{\n{body}\n}}\n"


def run(passes, text):
    return verified(PassManager.from_text(passes).run(verified(parse(text))))


def names(module, entry="main"):
    return [op.name for op in find_function(module, entry).body.ops]


COUNTER = A + main("%a = state.read @a\n%n = nd.add %a, %x\nstate.write @a, %n\nreturn %a")


# ---------------------------------------------------------------- text, verification


def test_it_is_printed_as_it_is_written():
    text = print_module(parse(COUNTER))
    assert "    state.write @a, %n\n" in text
    assert print_module(parse(text)) == text
    generic = print_module(parse(COUNTER), generic=True)
    assert '"state.write"(%n) <{variable = @a}> : (tensor<4xf32>) -> ()' in generic
    assert print_module(parse(generic)) == text


def refused(text, passes=""):
    sources: dict[str, str] = {}
    with pytest.raises(DlirError) as caught:
        run(passes, text)
    return render(caught.value, sources)


def test_two_writes_of_one_variable_are_an_error_at_the_second_one():
    text = A + main("%a = state.read @a\nstate.write @a, %a\nstate.write @a, %x\nreturn %a")
    found = refused(text)
    assert "<input>:5:1: error: '@main' writes '@a' twice in one call" in found
    assert "<input>:4:1: note: the first one is here" in found


def test_two_writes_by_calls_are_found_when_they_are_inlined():
    text = A + (
        "func.func private @set(%v: tensor<4xf32>) {\nstate.write @a, %v\nreturn\n}\n"
        + main("func.call @set %x\n%y = nd.neg %x\nfunc.call @set %y\nreturn %y")
    )
    verified(parse(text))
    assert "'@main' writes '@a' twice" in refused(text, "inline")


@pytest.mark.parametrize(
    "type, value",
    [("tensor<4xf32>", "%s"), ("tensor<4xf64>", "%d"), ("tensor<2x2xf32>", "%r")],
)
def test_a_variable_keeps_its_type(type, value):
    text = A + main(
        "%s = nd.sum %x\n%d = nd.cast %x {dtype = f64}\n%r = nd.reshape %x {shape = [2, 2]}\n"
        f"state.write @a, {value}\nreturn %x"
    )
    found = refused(text)
    assert "but '@a' is tensor<4xf32>: a variable keeps its type" in found
    assert "<input>:1:1: note: the variable is defined here" in found


def test_unknown_extents_may_turn_out_right_or_wrong():
    text = A + main("%n = nd.neg %x\nstate.write @a, %n\nreturn %n", "%x: tensor<?xf32>", " -> tensor<?xf32>")
    verified(parse(text))
    compile_module(run("bind-shapes{dims=x.0=4}", text))
    assert "writes tensor<3xf32>, but '@a' is tensor<4xf32>" in refused(text, "bind-shapes{dims=x.0=3}")


def test_only_variables_can_be_written():
    found = refused(COUNTER.replace("state.write @a", "state.write @main"))
    assert "'@main' is not a variable" in found and "note: it is this func.func" in found
    assert "@aa" in refused(COUNTER.replace("state.write @a", "state.write @aa"))
    constant = "memref.global @a {type = memref<4xf32>, initial_value = dense<1.0> : tensor<4xf32>, constant}\n"
    text = constant + main("state.write @a, %x\nreturn %x")
    found = refused(text)
    assert "'@a' is not a variable" in found and "note: it is this memref.global" in found


def test_writes_stand_directly_in_functions():
    body = """
      %yes = arith.constant {value = true}
      scf.if %yes ({
        state.write @a, %x
        scf.yield
      }, {
      })
      return %x"""
    assert "stands in 'scf.if'" in refused(A + main(body))
    called = body.replace("state.write @a, %x", "func.call @set %x")
    text = A + "func.func private @set(%v: tensor<4xf32>) {\nstate.write @a, %v\nreturn\n}\n" + main(called)
    assert "stands in 'scf.if'" in refused(text, "inline")


def test_initialisers_write_nothing():
    text = A + (
        "state.variable @b {type = tensor<4xf32>}\n"
        "func.func private @first() -> tensor<4xf32> attributes {dlir.initializes = [@b]} {\n"
        "%a = state.read @a\nstate.write @a, %a\nreturn %a\n}\n" + main("%b = state.read @b\nreturn %b")
    )
    assert "it cannot write '@a'" in refused(text)


# ---------------------------------------------------------------- cleaning up


def test_reads_on_both_sides_of_a_write_are_one():
    text = A + main("%a = state.read @a\nstate.write @a, %x\n%b = state.read @a\n%y = nd.add %a, %b\nreturn %y")
    module = run("cse", text)
    assert names(module).count("state.read") == 1


def test_writes_are_never_dead_and_unused_reads_are():
    text = A + B + main("%a = state.read @a\n%b = state.read @b\n%n = nd.neg %x\nstate.write @a, %n\nreturn %x")
    for passes in ("dce", "canonicalize", "cse,dce,canonicalize"):
        assert names(run(passes, text)) == ["nd.neg", "state.write", "func.return"]


def test_what_is_written_is_not_frozen():
    text = A + B + main("%a = state.read @a\n%b = state.read @b\n%n = nd.add %a, %b\nstate.write @a, %n\nreturn %b")
    assert list(frozen_variables(parse(text))) == ["b"]
    assert list(mutable_variables(parse(text))) == ["a"]
    marked = text.replace("tensor<4xf32>}\nfunc", "tensor<4xf32>, mutable}\nfunc")
    assert frozen_variables(parse(marked)) == {}
    module = parse(marked)
    found = state_of(module, find_function(module, "main"))
    assert list(found.variables) == ["a", "b"] and found.written == ("a",)
    lowered = lower_module(module, "cpu")
    found = state_of(lowered, find_function(lowered, "main"))
    assert list(found.variables) == ["a", "b"] and found.written == ("a",)


def test_products_with_written_weights_are_not_prepared():
    weights = "state.variable @w {init = dense<1.0> : tensor<32x64xf32>, type = tensor<32x64xf32>}\n"
    body = "%w = state.read @w\n%y = nd.matmul %x, %w\n"
    write = "%n = nd.neg %w\nstate.write @w, %n\n"
    types = "%x: tensor<8x32xf32>", " -> tensor<8x64xf32>"
    for end, functions in (("", 2), (write, 1)):
        module = run("layout,hoist-constants", weights + main(f"{body}{end}return %y", *types))
        assert sum(op.name == "func.func" for op in module.body.ops) == functions


# ---------------------------------------------------------------- memory


def copies(module):
    function = find_function(module, "main")
    return sum(op.name == "memref.copy" for op in function.body.ops)


def kernels(module):
    return names(module).count("kernel.region")


BUFFERS = (
    "inline,lower-nn,canonicalize,cse,recognise,fold-scales,layout,hoist-constants,fuse,schedule,reorder,bufferize"
)


def bufferized(text, passes=BUFFERS):
    with every_plan_checked():
        module = run(passes, text)
        run("plan-memory", print_module(module))
    return module


def parameters(count, update):
    """Updates of `count` parameters of different shapes by gradients that are given."""
    text, body, arguments = "", "", []
    for i in range(count):
        type = f"tensor<{i + 2}x{3 * i + 5}xf32>"
        text += f"state.variable @w{i} {{init = dense<1.0> : {type}, type = {type}}}\n"
        text += f"state.variable @m{i} {{init = dense<0.0> : {type}, type = {type}}}\n"
        arguments.append(f"%g{i}: {type}")
        body += update.replace("#", str(i)).replace("TYPE", type)
    return text + main(f"{body}return", ", ".join(arguments), "")


SGD = """%w# = state.read @w#
%r# = nd.constant {value = dense<0.1> : TYPE}
%d# = nd.mul %r#, %g#
%n# = nd.sub %w#, %d#
state.write @w#, %n#
"""
MOMENTUM = """%w# = state.read @w#
%m# = state.read @m#
%r# = nd.constant {value = dense<0.1> : TYPE}
%b# = nd.constant {value = dense<0.9> : TYPE}
%o# = nd.mul %b#, %m#
%v# = nd.add %o#, %g#
%d# = nd.mul %r#, %v#
%n# = nd.sub %w#, %d#
state.write @w#, %n#
state.write @m#, %v#
"""


@pytest.mark.parametrize("update", [SGD, MOMENTUM], ids=["sgd", "momentum"])
def test_updates_of_all_parameters_are_one_kernel_in_place(update):
    module = bufferized(parameters(6, update))
    assert kernels(module) == 1 and copies(module) == 0
    assert "memref.alloc" not in names(module)


def test_a_step_updates_its_weights_where_they_lie():
    """Behind the products that make the gradients, and after the last use of the old weights."""
    text = """
      state.variable @v {init = dense<0.1> : tensor<16x8xf32>, type = tensor<16x8xf32>}
      state.variable @w {init = dense<0.1> : tensor<8x4xf32>, type = tensor<8x4xf32>}
      func.func @main(%x: tensor<32x16xf32>, %t: tensor<32x4xf32>) -> tensor<f32> {
        %v = state.read @v
        %w = state.read @w
        %h = nd.matmul %x, %v
        %y = nd.matmul %h, %w
        %e = nd.sub %y, %t
        %gw = nd.matmul %h, %e {transpose_a = true}
        %nw = nd.sub %w, %gw
        state.write @w, %nw
        %gh = nd.matmul %e, %w {transpose_b = true}
        %gv = nd.matmul %x, %gh {transpose_a = true}
        %nv = nd.sub %v, %gv
        state.write @v, %nv
        %q = nd.mul %e, %e
        %loss = nd.sum %q
        return %loss
      }"""
    module = bufferized(text)
    assert copies(module) == 0
    # Op by op there is no choice of order: the second layer's weights are updated before they are read again.
    module = bufferized(text, "fuse{max-ops=1},schedule,bufferize")
    assert copies(module) == 1


def test_what_reads_other_places_is_not_computed_in_place():
    body = """%a = state.read @a
      %r = nd.slice %a {start = [3], stop = [-5], step = [-1]}
      %n = nd.add %r, %x
      state.write @a, %n
      return %x"""
    assert copies(bufferized(A + main(body))) == 2  # and the input that is returned


def test_a_variable_that_is_not_read_is_written_at_once():
    module = bufferized(A + main("%n = nd.exp %x\nstate.write @a, %n\nreturn", results=""))
    assert copies(module) == 0 and "memref.alloc" not in names(module)


def test_a_value_of_its_own_is_no_write_at_all():
    module = bufferized(A + main("%a = state.read @a\nstate.write @a, %a\n%y = nd.add %a, %x\nreturn %y"))
    assert copies(module) == 0


def test_written_variables_are_counted_once():
    step = compile_module(parse(COUNTER)).memory
    assert (step.state, step.inputs, step.results, step.arena) == (16, 16, 16, 16) or step.arena == 0
    assert step.planned == step.lower_bound == 48 + step.arena
    inplace = compile_module(parse(parameters(3, SGD))).memory
    bytes = 4 * (2 * 5 + 3 * 8 + 4 * 11)
    assert (inplace.state, inplace.inputs, inplace.arena) == (bytes, bytes, 0)
    assert inplace.planned == inplace.lower_bound == 2 * bytes
    # In NumPy the scaled gradient and the new value have memory of their own.
    assert inplace.naive == 4 * bytes
    assert "variables 312" in str(inplace)
    frozen = compile_module(parse(A + main("%a = state.read @a\n%y = nd.add %a, %x\nreturn %y"))).memory
    assert frozen.state == 0


def test_poisoned_memory_changes_nothing():
    import numpy as np

    from dlir.backends.registry import find_backend
    from dlir.passes.pipelines import pipeline_for

    text = parameters(4, MOMENTUM).replace("return\n", "%s = nd.sum %n0\n%t = nd.mul %s, %s\nreturn %t\n")
    text = text.replace(") {\n%w0", ") -> tensor<f32> {\n%w0")
    passes = pipeline_for("O1", "cpu").replace("plan-memory", "plan-memory{poison=true}")
    program = find_backend("cpu").load(run(passes, text), "main", None)
    wanted = find_backend("ref").load(verified(parse(text)), "main", None)
    rng = np.random.default_rng(0)
    for _ in range(4):
        arrays = [rng.standard_normal((i + 2, 3 * i + 5), dtype=np.float32) for i in range(4)]
        np.testing.assert_allclose(program(*arrays)[0], wanted(*arrays)[0], rtol=1e-5)
