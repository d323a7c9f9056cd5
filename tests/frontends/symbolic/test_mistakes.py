"""One clear error for each mistake in a symbolic program."""

from __future__ import annotations

import numpy as np
import pytest

from dlir.frontends.optimizers import SGD, Adam, cosine, warmup
from dlir.frontends.symbolic import Constant, Parameter, Spec, Variable, compile, grad, jvp, nd, nn
from dlir.ir.errors import DlirError

A, B = Variable("A"), Variable("B")


def w():
    return Parameter("w", np.zeros(3))


def one(message: str, call, hint: str = "") -> DlirError:
    """Check that `call` raises one diagnostic with `message` and `hint`."""
    with pytest.raises(DlirError) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    assert message in diagnostic.message
    assert hint in (diagnostic.hint or "")
    return caught.value


def test_what_cannot_be_updated():
    one("cannot update a constant", lambda: compile(A, updates=[(Constant(1.0), A)]), "Parameter(")
    one("cannot update input 'A'", lambda: compile(A, updates={A: A + 1}), "Parameter('A', value)")
    one("cannot update the result of nd.add", lambda: compile(A, updates=[(A + 1, A)]))
    one("cannot update 'w'", lambda: compile(A, updates=[("w", A)]))
    one("an update is a pair", lambda: compile(A, updates=[w()]))
    one("the update of 'w' is None", lambda: compile(A, updates=[(w(), None)]))


def test_two_updates_of_one_parameter():
    p = w()
    one("parameter 'w' is updated twice", lambda: compile(A, updates=[(p, A), (p, B)]), "combine the two")


def test_two_parameters_of_one_name():
    error = one("two parameters are called 'w'", lambda: compile(w() + w()))
    assert error.diagnostics[0].notes


def test_an_update_keeps_shape_and_dtype():
    p = w()
    f = compile(A, updates={p: A})
    one("the update of 'w' is tensor<4xf64>, but the parameter is tensor<3xf64>", lambda: f(A=np.ones(4)))
    one("the update of 'w' is tensor<3xf32>", lambda: f(A=np.ones(3, np.float32)), "nd.cast(x, dtype='float64')")
    one("a variable keeps its type", lambda: setattr(p, "value", np.ones(4)))
    one("a variable keeps its type", lambda: setattr(p, "value", np.ones(3, np.float32)))
    assert np.array_equal(p.value, np.zeros(3))


def test_parameters():
    one("needs a name", lambda: Parameter("", 1.0))
    one("cannot hold values of dtype object", lambda: Parameter("w", [None]))
    one("must not depend on input 'A'", lambda: Parameter("w", A + 1))
    one("cannot be called 'v'", lambda: w().named("v"))


def test_arguments():
    f = compile(A - B, name="step")
    one("there is no input 'a'", lambda: f(a=1.0, B=1.0), "did you mean 'A'?")
    one("input 'B' is missing", lambda: f(A=1.0))
    one("not clear which argument is which", lambda: f(1.0, 2.0), "A=..., B=...")
    one("'step' takes 2 arguments (A, B), got 3", lambda: f(1.0, 2.0, 3.0))
    one("input 'A' has values of dtype", lambda: f(A="text", B=1.0))
    ordered = compile(A - B, inputs=[B, "A"])
    assert ordered(1.0, 5.0) == 4.0 and ordered(1.0, A=5.0) == 4.0
    one("input 'B' is given twice", lambda: ordered(1.0, B=1.0))
    one("there is no input 'C'", lambda: compile(A - B, inputs=["A", "C"]), "")
    one("'B' is missing", lambda: compile(A - B, inputs=["A"]))


def test_options():
    one("there is no level 'o2'", lambda: compile(A, level="o2"), "did you mean 'O2'?")
    one("'cpuu'", lambda: compile(A, backend="cpuu"), "did you mean 'cpu'?")
    one("cannot donate 'a'", lambda: compile(A, donate="a"), "did you mean 'A'?")
    one("at least 1", lambda: compile(A, limit=0))
    one("an output is None", lambda: compile([A, None]))
    one("has no stage 'fusd'", lambda: compile(A + 1).lower(A=1.0).as_text("fusd"), "did you mean 'fused'?")
    one("there is no drawing 'foldd'", lambda: compile(A + 1).draw("foldd", A=1.0), "did you mean 'folded'?")
    one("there is no backward graph", lambda: compile(A + 1).draw("backward", A=1.0))


def test_keywords():
    one("'compile' has no argument 'donat'", lambda: compile(A, donat="A"), "did you mean 'donate'?")
    one("'compile' has no argument 'axis'", lambda: compile(A, axis=1), "it takes outputs, updates, ")
    one("'Adam' has no argument 'lr'", lambda: Adam(lr=0.1), "it takes learning_rate, betas")
    one("'SGD' has no argument 'momentun'", lambda: SGD(0.1, momentun=0.9), "did you mean 'momentum'?")
    error = one("'nd.sum' has no attribute 'keepdim'", lambda: nd.sum(A, keepdim=True), "did you mean 'keepdims'?")
    assert error.diagnostics[0].location.file == __file__
    one("'Parameter' has no argument 'trainabel'", lambda: Parameter("w", 1.0, trainabel=False), "'trainable'?")
    one("'grad' has no argument 'wtr'", lambda: grad(A, wtr=A), "did you mean 'wrt'?")
    one("'Node.grad' has no argument 'wtr'", lambda: A.grad(wtr=A), "did you mean 'wrt'?")


def test_ops():
    one("there is no op 'nd.sofmax'", lambda: nd.sofmax(A), "did you mean 'softmax'?")
    assert not hasattr(nd, "sofmax")
    one(
        "'nn.dense' has no attribute 'activaton'",
        lambda: nn.dense(A, B, activaton="relu"),
        "did you mean 'activation'?",
    )
    one("gets operand 'w' twice", lambda: nn.dense(A, B, w=B))
    one("a constant is a number", lambda: Constant([None, "x"]))


def test_a_mistake_of_shapes_is_told_at_the_line_that_made_the_node():
    product = nd.matmul(A, B)
    error = one("'nd.matmul'", lambda: compile(product + 1)(A=np.ones((2, 3)), B=np.ones((2, 3))))
    assert error.diagnostics[0].location.file == __file__
    assert error.diagnostics[0].location.line == product.location.line


def test_gradients():
    one("with regard to a constant", lambda: (A * Constant(2.0)).grad(Constant(2.0)), "Variable(name)")
    one("'A', which is not a node", lambda: A.grad("A"), "Variable(name) or Parameter")
    one("nothing to differentiate with regard to", lambda: A.grad([]))
    one("1 outputs need 1 cotangents, got 2", lambda: grad(A, [A], [1.0, 2.0]))
    one("2 inputs need 2 tangents, got 1", lambda: jvp(A * B, [A, B], 1.0))
    one("cotangent 0 is None", lambda: A.grad(A, [None]), "0.0")


def test_gradients_of_what_has_none_are_named():
    integers, floats = np.arange(3), np.ones(3)
    total = nd.sum(A).named("total")
    error = one(
        "cannot differentiate 'total', the result of nd.sum, which is tensor<i64>",
        lambda: compile(total.grad(A))(A=integers),
        "a float that it is made from",
    )
    (diagnostic,) = error.diagnostics
    assert diagnostic.location.file == __file__ and diagnostic.notes[0].location.line == total.location.line
    one("the result of nd.argmax, which is tensor<i64>", lambda: compile(nd.argmax(A, axis=0).grad(A))(A=floats))
    one("the result of nd.greater, which is tensor<3xi1>", lambda: compile((A > 1.0).grad(A))(A=floats))
    one(
        "with regard to input 'A', which is tensor<3xi64>",
        lambda: compile((A * 1.0).grad(A))(A=integers),
        "give floats",
    )
    p = Parameter("count", np.arange(3))
    one("with regard to parameter 'count'", lambda: compile((p * 1.0).grad(p))())
    one(
        "the result of nd.mul is tensor<3xf64> and no scalar, and without cotangents it is not clear what counts",
        lambda: compile(grad([A * B, B], [A]))(A=floats, B=floats),
        "a cotangent for each output",
    )


def test_optimizers():
    p = w()
    loss = nd.sum(p * A)
    one("there is no parameter to optimise", lambda: SGD(0.1).updates(nd.sum(A)))
    one("it is not a parameter", lambda: SGD(0.1).updates(loss, [A]), "Parameter(name, value)")
    one("parameter 'w' is given twice", lambda: SGD(0.1).updates(loss, [p, p]))
    one("the loss is a node", lambda: SGD(0.1).updates(1.0))
    vector = p * A
    step = compile(vector, updates=SGD(0.1).updates(vector))
    one("the loss must be a scalar, and is tensor<3xf64>", lambda: step(A=np.ones(3)), "nd.mean")
    one("'learning_rate' must be at least 0", lambda: SGD(-1.0))
    one("'betas[1]' must be at least 0 and below 1", lambda: Adam(betas=(0.9, 1.0)))
    one("needs a momentum", lambda: SGD(0.1, nesterov=True))
    one("'steps' must be at least 1", lambda: cosine(0.1, steps=0))
    one("'steps' must be at least 1", lambda: warmup(0.1, steps=0))


def test_a_first_value_that_fails_leaves_the_parameter_without_one():
    p = Parameter("p", nd.matmul(np.ones((2, 3)), Constant(np.ones((2, 3)))))
    for _ in range(2):
        one("'nd.matmul'", lambda: p.value)


def test_what_is_compiled():
    for wrong in (3, "A", None, {"a": A}, np.ones(3)):
        one("which is not a node", lambda wrong=wrong: compile(wrong), "Variable(name)")
    for wrong in ("A", [A], {"a": A}):
        one("an output is ", lambda wrong=wrong: compile([A, wrong]), "Variable(name)")
    one("a variable needs a name, got ''", lambda: Variable(""))
    one("a variable needs a name, got 3", lambda: Variable(3))
    one("dtype <U3", lambda: A + "abc", "Variable(name)")
    one("dtype complex128", lambda: A * 1j)
    one("'backend' is a text, got None", lambda: compile(A, backend=None))
    one("'level' is a text, got 2", lambda: compile(A, level=2), "O2")
    one("at least 1, not 'a'", lambda: compile(A, limit="a"))
    one(
        "updates are pairs (parameter, new value), got <",
        lambda: compile(A, updates=SGD(0.1)),
        "optimizer.updates(loss)",
    )
    one("updates are pairs (parameter, new value), got 5", lambda: compile(A, updates=5))
    assert compile(A * 2.0, donate=[A]).graph.donate == compile(A * 2.0, donate=A).graph.donate == ("A",)


def test_attributes_are_of_their_kinds():
    one("'nn.softmax' attribute 'axis' must be an integer, got 'last'", lambda: nn.softmax(A, axis="last"))
    one("'nd.sum' attribute 'axes' must be a list of integers, got (0.5,)", lambda: nd.sum(A, axes=(0.5,)))
    one("'nd.sum' attribute 'keepdims' must be a bool, got 'yes'", lambda: nd.sum(A, keepdims="yes"))
    one(
        "'nn.layer_norm' attribute 'epsilon' must be a float, got 'small'", lambda: nn.layer_norm(A, B, epsilon="small")
    )
    assert compile(nd.sum(A, axes=0))(A=np.ones((2, 3))).tolist() == [2, 2, 2], "one axis need not be a list"
    assert compile(nd.reshape(A, shape=-1))(A=np.ones((2, 3))).shape == (6,)


def test_shapes_and_byte_orders():
    one("a shape is made of numbers from 0 on, got (None, 3)", lambda: Spec((None, 3)), "Spec((64, 3))")
    one("there is no dtype 'foo'", lambda: Spec((3,), "foo"))
    one("values of dtype >f4", lambda: compile(A)(np.ones(3, ">f4")), "newbyteorder")
    assert Spec(3).shape == (3,)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: [_ for _ in A], "cannot be iterated over"),
        (lambda: [_ for _ in range(A)], "no number while the graph is built, so it cannot count a loop"),
        (lambda: float(A), "is no number"),
        (lambda: A[0], r"cannot be indexed.*nd\.slice"),
        (lambda: A > 0 and A < 1, r"no truth value.*nd\.select"),
        (lambda: np.add.reduce(A), r"np\.add\.reduce does not take a symbolic value.*nd"),
        (lambda: np.add(A, 1.0, out=np.ones(3)), r"np\.add does not take"),
        (lambda: np.spacing(A), r"np\.spacing does not take"),
    ],
)
def test_python_on_what_is_not_computed_yet(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_what_arrays_have_and_nodes_have_not():
    for name, message in [
        ("shape", "it comes with the arguments of a call"),
        ("sum", r"use nd\.sum\(x, \.\.\.\)"),
        ("T", r"use nd\.transpose\(x\)"),
        ("shpae", "no attribute 'shpae'$"),
    ]:
        with pytest.raises(AttributeError, match=message):
            getattr(A, name)
    assert not hasattr(A, "__array__")


def test_numpys_functions_and_arrays_make_nodes():
    at = np.array([1.0, 2.0])
    for node, wanted in [
        (np.exp(A), np.exp(at)),
        (at + A, 2 * at),
        (np.float64(3.0) - A, 3 - at),
        (at < A, [False, False]),
        (np.multiply(A, 2.0), 2 * at),
        (np.eye(2) @ np.reshape(at, (2, 1)) + A, np.reshape(at, (2, 1)) + at),
        (np.negative(A), -at),
    ]:
        np.testing.assert_allclose(compile(node)(at), wanted)
    assert np.exp(A).location.file == __file__


def test_lowering_needs_no_arrays():
    program = compile(A @ B).lower(A=Spec((10000, 10)), B=Spec((10, 10000), "float64"))
    assert program.executable.signature.results[0].shape == (10000, 10000)
