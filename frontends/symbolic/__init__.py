"""The symbolic style: name inputs, write the maths, compile, call.

    A, B = Variable("A"), Variable("B")
    C = B * A
    D = C + Constant(1)
    f = compile(D)
    d = f(A=np.ones(10), B=np.ones(10) * 2)

Building a graph computes nothing.  Variables have no shape or dtype: a compiled function is specialised, once, for each set
of argument shapes and dtypes that it is called with.  ``nd`` and ``nn`` hold every small and big op:
``nd.exp(x)``, ``nn.dense(x, w, b, activation="relu")``.

Gradients are nodes, and parameters keep their values from call to call:

    w = Parameter("w", np.zeros((3, 1)))
    loss = nd.mean((nd.matmul(Variable("x"), w) - Variable("y")) ** 2)
    step = compile(loss, updates={w: w - 0.1 * loss.grad(w)})
"""

from dlir.frontends.symbolic.function import Function, Spec, compile
from dlir.frontends.symbolic.gradient import grad, jvp, stop_gradient
from dlir.frontends.symbolic.node import Constant, Node, Ops, Variable, nd, nn, random, sorted_nodes
from dlir.frontends.symbolic.parameter import Parameter
from dlir.frontends.symbolic.saving import load, load_function, save

__all__ = [
    "Constant",
    "Function",
    "Node",
    "Ops",
    "Parameter",
    "Spec",
    "Variable",
    "compile",
    "grad",
    "jvp",
    "load",
    "load_function",
    "nd",
    "nn",
    "random",
    "save",
    "sorted_nodes",
    "stop_gradient",
]
