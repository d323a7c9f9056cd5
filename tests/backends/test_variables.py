"""Variables that calls change: optimisers step by step, whose values are seen when, stores, atomicity, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from support.cuda import need_simulator

from dlir.backends.compiler import compile_module
from dlir.backends.variables import VariableStore
from dlir.textir import parse

CONFIGURATIONS = [("ref", "O2"), *((b, level) for b in ("cpu", "cuda-sim") for level in ("O0", "O1", "O2"))]


@pytest.fixture(params=CONFIGURATIONS, ids=lambda item: "-".join(item))
def compiled(request):
    """``compiled(text, weights)``: a program of one of the backends and levels."""
    backend, level = request.param
    if backend == "cuda-sim":
        need_simulator()
    return lambda text, weights=None, **options: compile_module(
        parse(text), weights, backend=backend, level=level, **options
    )


def variable(name, shape, value=0.0):
    type = f"tensor<{'x'.join(map(str, shape))}{'x' if shape else ''}f32>"
    return f"state.variable @{name} {{init = dense<{value}> : {type}, type = {type}}}"


# Linear regression, 12 x 5 -> 3; the gradient is written out.
HEAD = """
func.func @main(%x: tensor<12x5xf32>, %t: tensor<12x3xf32>) -> tensor<f32> {
  %w = state.read @w
  %b = state.read @b
  %p = nd.matmul %x, %w
  %bb = nd.broadcast_to %b {shape = [12, 3]}
  %q = nd.add %p, %bb
  %e = nd.sub %q, %t
  %xt = nd.transpose %x {perm = [1, 0]}
  %gw = nd.matmul %xt, %e
  %gb = nd.sum %e {axes = [0]}
  %e2 = nd.mul %e, %e
  %loss = nd.sum %e2
"""
OPTIMISERS = {
    "sgd": """
  %lw{P} = nd.mul %g{P}, {RATE}
  %n{P} = nd.sub %{P}, %lw{P}
  state.write @{P}, %n{P}
""",
    "momentum": """
  %m{P} = state.read @m{P}
  %mm{P} = nd.mul %m{P}, {BETA}
  %nm{P} = nd.add %mm{P}, %g{P}
  %lw{P} = nd.mul %nm{P}, {RATE}
  %n{P} = nd.sub %{P}, %lw{P}
  state.write @{P}, %n{P}
  state.write @m{P}, %nm{P}
""",
    "adam": """
  %m{P} = state.read @m{P}
  %v{P} = state.read @v{P}
  %mm{P} = nd.mul %m{P}, {BETA}
  %mg{P} = nd.mul %g{P}, {REST}
  %nm{P} = nd.add %mm{P}, %mg{P}
  %vv{P} = nd.mul %v{P}, {BETA2}
  %g2{P} = nd.mul %g{P}, %g{P}
  %vg{P} = nd.mul %g2{P}, {REST2}
  %nv{P} = nd.add %vv{P}, %vg{P}
  %c1{P} = nd.broadcast_to %c1 {shape = {SHAPE}}
  %c2{P} = nd.broadcast_to %c2 {shape = {SHAPE}}
  %mh{P} = nd.div %nm{P}, %c1{P}
  %vh{P} = nd.div %nv{P}, %c2{P}
  %r{P} = nd.sqrt %vh{P}
  %re{P} = nd.add %r{P}, {EPS}
  %d{P} = nd.div %mh{P}, %re{P}
  %lw{P} = nd.mul %d{P}, {RATE}
  %n{P} = nd.sub %{P}, %lw{P}
  state.write @{P}, %n{P}
  state.write @m{P}, %nm{P}
  state.write @v{P}, %nv{P}
""",
}
# The powers of the betas are variables, too.
ADAM_CLOCK = """
  %p1 = state.read @p1
  %p2 = state.read @p2
  %np1 = nd.mul %p1, %beta_
  %np2 = nd.mul %p2, %beta2_
  %one_ = nd.constant {value = dense<1.0> : tensor<f32>}
  %c1 = nd.sub %one_, %np1
  %c2 = nd.sub %one_, %np2
  state.write @p1, %np1
  state.write @p2, %np2
"""
NUMBERS = {"RATE": 0.02, "BETA": 0.9, "REST": 0.1, "BETA2": 0.99, "REST2": 0.01, "EPS": 1e-8}
SHAPES = {"w": (5, 3), "b": (3,)}


def training(optimiser):
    lines, body = [], HEAD
    for name, shape in SHAPES.items():
        lines.append(
            f"state.variable @{name} {{init = dense_resource<{name}> : {type_of(shape)}, type = {type_of(shape)}}}"
        )
        for prefix in {"sgd": "", "momentum": "m", "adam": "mv"}[optimiser]:
            lines.append(variable(prefix + name, shape))
        for key, number in NUMBERS.items():
            body += f"  %{key.lower()}{name} = nd.constant {{value = dense<{number}> : {type_of(shape)}}}\n"
    if optimiser == "adam":
        lines += [variable("p1", (), 1.0), variable("p2", (), 1.0)]
        body += "".join(
            f"  %{key.lower()}_ = nd.constant {{value = dense<{NUMBERS[key]}> : tensor<f32>}}\n"
            for key in ("BETA", "BETA2")
        )
        body += ADAM_CLOCK
    for name, shape in SHAPES.items():
        text = OPTIMISERS[optimiser]
        for key in NUMBERS:
            text = text.replace(f"{{{key}}}", f"%{key.lower()}{name}")
        body += text.replace("{P}", name).replace("{SHAPE}", str(list(shape)))
    return "\n".join(lines) + body + "  return %loss\n}\n"


def type_of(shape):
    return f"tensor<{'x'.join(map(str, shape))}xf32>"


def numpy_training(optimiser, w, b, batches):
    """The same in float64."""
    values = {"w": w.astype(float), "b": b.astype(float)}
    m = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    v = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    losses = []
    for step, (x, t) in enumerate(batches, 1):
        e = x @ values["w"] + values["b"] - t
        losses.append((e * e).sum())
        for name, g in (("w", x.T @ e), ("b", e.sum(0))):
            if optimiser == "sgd":
                d = g
            elif optimiser == "momentum":
                d = m[name] = 0.9 * m[name] + g
            else:
                m[name] = 0.9 * m[name] + 0.1 * g
                v[name] = 0.99 * v[name] + 0.01 * g * g
                d = m[name] / (1 - 0.9**step) / (np.sqrt(v[name] / (1 - 0.99**step)) + 1e-8)
            values[name] = values[name] - 0.02 * d
    return values, losses


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_hundred_steps_are_those_of_numpy(compiled, optimiser):
    rng = np.random.default_rng(7)
    first = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    goal = rng.standard_normal((5, 3), dtype=np.float32)
    xs = 0.3 * rng.standard_normal((100, 12, 5), dtype=np.float32)
    batches = [(x, x @ goal + 1) for x in xs]
    program = compiled(training(optimiser), first.__getitem__)
    losses = [program(x, t)[0] for x, t in batches]
    values, want = numpy_training(optimiser, first["w"], first["b"], batches)
    np.testing.assert_allclose(losses, want, rtol=2e-4, atol=1e-4)
    assert losses[-1] < losses[0] / 2
    for name, value in values.items():
        np.testing.assert_allclose(program.variables[name], value, rtol=2e-4, atol=2e-5)


# ---------------------------------------------------------------- what is seen when

X = np.arange(4, dtype=np.float32)
A, B = variable("a", (4,), 1.0), variable("b", (4,), 2.0)


def function(body, arguments="%x: tensor<4xf32>", results="tensor<4xf32>"):
    arrow = f" -> {results}" if results else ""
    return f"func.func @main({arguments}){arrow} {{\n{body}\n}}"


def test_two_variables_change_places(compiled):
    body = "%a = state.read @a\n%b = state.read @b\nstate.write @a, %b\nstate.write @b, %a\nreturn"
    program = compiled(f"{A}\n{B}\n{function(body, '', '')}")
    for step in range(3):
        assert program() == ()
        found = program.variables["a"][0], program.variables["b"][0]
        assert found == ((2, 1) if step % 2 == 0 else (1, 2))


def test_three_variables_go_round_and_one_looks_on(compiled):
    names = "abcd"
    text = "\n".join(variable(name, (4,), float(number)) for number, name in enumerate(names))
    reads = "\n".join(f"%{name} = state.read @{name}" for name in names)
    body = f"{reads}\n%e = nd.add %d, %a\n" + "\n".join(
        f"state.write @{to}, %{source}" for to, source in zip("abcd", "bcae", strict=True)
    )
    program = compiled(f"{text}\n{function(body + chr(10) + 'return', '', '')}")
    values = [0.0, 1.0, 2.0, 3.0]
    for _ in range(4):
        program()
        a, b, c, d = values
        values = [b, c, a, d + a]
        assert [float(program.variables[name][1]) for name in names] == values


def test_reads_behind_a_write_see_the_old_value(compiled):
    body = """
      %a = state.read @a
      %n = nd.add %a, %x
      state.write @a, %n
      %again = state.read @a
      %y = nd.mul %again, %x
      return %y"""
    program = compiled(f"{A}\n{function(body)}")
    np.testing.assert_array_equal(program(X)[0], X)
    np.testing.assert_array_equal(program(X)[0], (1 + X) * X)
    np.testing.assert_array_equal(program.variables["a"], 1 + 2 * X)


def test_a_variable_may_be_written_its_own_value_an_input_or_a_constant(compiled):
    for value, want in (("%a", 1 + 0 * X), ("%x", X), ("%c", 7 + 0 * X)):
        body = f"""
          %a = state.read @a
          %c = nd.constant {{value = dense<7.0> : tensor<4xf32>}}
          state.write @a, {value}
          %y = nd.add %a, %x
          return %y"""
        program = compiled(f"{A}\n{function(body)}")
        np.testing.assert_array_equal(program(X)[0], 1 + X)
        np.testing.assert_array_equal(program.variables["a"], want)
        np.testing.assert_array_equal(program(X)[0], want + X)


def test_a_new_value_that_is_returned_too_is_an_array_of_its_own(compiled):
    body = "%a = state.read @a\n%n = nd.add %a, %x\nstate.write @a, %n\nreturn %n, %a, %n"
    program = compiled(f"{A}\n{function(body, results='(tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)')}")
    results = [program(X) for _ in range(3)]
    for step, (new, old, same) in enumerate(results):
        np.testing.assert_array_equal(new, 1 + (step + 1) * X)
        np.testing.assert_array_equal(old, 1 + step * X)
        np.testing.assert_array_equal(same, new)
        new[...] = 99
    np.testing.assert_array_equal(program.variables["a"], 1 + 3 * X)


def test_one_value_may_go_to_several_variables_in_several_shapes(compiled):
    square = variable("s", (2, 2), 5.0)
    body = """
      %a = state.read @a
      %s = state.read @s
      %n = nd.add %a, %x
      %r = nd.reshape %n {shape = [2, 2]}
      %f = nd.reshape %s {shape = [4]}
      %y = nd.mul %f, %x
      state.write @a, %n
      state.write @b, %n
      state.write @s, %r
      return %y"""
    program = compiled(f"{A}\n{B}\n{square}\n{function(body)}")
    np.testing.assert_array_equal(program(X)[0], 5 * X)
    np.testing.assert_array_equal(program(X)[0], (1 + X) * X)
    for name in "ab":
        np.testing.assert_array_equal(program.variables[name], 1 + 2 * X)
    np.testing.assert_array_equal(program.variables["s"], (1 + 2 * X).reshape(2, 2))


def test_writes_of_called_functions_happen_in_the_caller(compiled):
    text = f"""
      {A}
      func.func private @grow(%x: tensor<4xf32>) -> tensor<4xf32> {{
        %a = state.read @a
        %n = nd.add %a, %x
        state.write @a, %n
        return %n
      }}
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
        %n = func.call @grow %x
        %a = state.read @a
        %y = nd.sub %n, %a
        return %y
      }}"""
    program = compiled(text)
    for step in range(3):
        np.testing.assert_array_equal(program(X)[0], X)
        np.testing.assert_array_equal(program.variables["a"], 1 + (step + 1) * X)


def test_what_is_written_is_no_constant_for_any_function_of_the_module(compiled):
    """Nothing may be computed once that depends on it: neither packed weights nor folded scales."""
    text = """
      state.variable @w {init = dense_resource<w>, type = tensor<16x32xf32>}
      state.variable @scale {init = dense<2.0> : tensor<32xf32>, type = tensor<32xf32>}
      func.func @train(%g: tensor<32xf32>) {
        %s = state.read @scale
        %n = nd.add %s, %g
        state.write @scale, %n
        return
      }
      func.func @main(%x: tensor<8x16xf32>) -> tensor<8x32xf32> {
        %w = state.read @w
        %s = state.read @scale
        %p = nd.matmul %x, %w
        %q = nd.broadcast_to %s {shape = [8, 32]}
        %y = nd.mul %p, %q
        return %y
      }"""
    rng = np.random.default_rng(3)
    w, x = (rng.standard_normal(shape, dtype=np.float32) for shape in ((16, 32), (8, 16)))
    store = VariableStore()
    train = compiled(text, {"w": w}.__getitem__, entry="train", variables=store)
    infer = compiled(text, {"w": w}.__getitem__, variables=store)
    for step in range(3):
        np.testing.assert_allclose(infer(x)[0], x @ w * (2 + step), rtol=1e-4, atol=1e-5)
        train(np.ones(32, np.float32))


def test_loops_carry_variables(compiled):
    body = """
      %a = state.read @a
      %zero = arith.constant {value = 0 : index}
      %one = arith.constant {value = 1 : index}
      %three = arith.constant {value = 3 : index}
      %n = scf.for %zero, %three, %one, %a ({
      ^bb0(%i: index, %v: tensor<4xf32>):
        %m = nd.add %v, %x
        scf.yield %m
      }) : tensor<4xf32>
      state.write @a, %n
      %y = nd.mul %a, %x
      return %y"""
    program = compiled(f"{A}\n{function(body)}")
    np.testing.assert_array_equal(program(X)[0], X)
    np.testing.assert_array_equal(program(X)[0], (1 + 3 * X) * X)
    np.testing.assert_array_equal(program.variables["a"], 1 + 6 * X)
