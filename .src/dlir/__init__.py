"""dlir: a multi-level IR toolkit for deep learning.

The names below are the Python side of it (docs/symbolic.md):

    import dlir

    x, y = dlir.Variable("x"), dlir.Variable("y")
    w = dlir.Parameter("w", dlir.initializers.glorot_uniform(0, (784, 10)))
    loss = dlir.nn.cross_entropy(x @ w, y)
    step = dlir.compile(loss, updates=dlir.optimizers.Adam(1e-3).updates(loss))

Importing this package loads nothing else: the names are resolved on first use (PEP 562), so that the commands start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlir.frontends import initializers as initializers
    from dlir.frontends import optimizers as optimizers
    from dlir.frontends.layers import Net as Net
    from dlir.frontends.symbolic import Constant as Constant
    from dlir.frontends.symbolic import Function as Function
    from dlir.frontends.symbolic import Node as Node
    from dlir.frontends.symbolic import Parameter as Parameter
    from dlir.frontends.symbolic import Spec as Spec
    from dlir.frontends.symbolic import Variable as Variable
    from dlir.frontends.symbolic import compile as compile
    from dlir.frontends.symbolic import grad as grad
    from dlir.frontends.symbolic import jvp as jvp
    from dlir.frontends.symbolic import load as load
    from dlir.frontends.symbolic import load_function as load_function
    from dlir.frontends.symbolic import nd as nd
    from dlir.frontends.symbolic import nn as nn
    from dlir.frontends.symbolic import random as random
    from dlir.frontends.symbolic import save as save
    from dlir.frontends.symbolic import stop_gradient as stop_gradient
    from dlir.ir.errors import DlirError as DlirError

__version__ = "0.1.0"

#: Where each name is; None for a module.
_HOMES: dict[str, tuple[str, str | None]] = {
    "DlirError": ("dlir.ir.errors", "DlirError"),
    "Net": ("dlir.frontends.layers", "Net"),
    "initializers": ("dlir.frontends.initializers", None),
    "optimizers": ("dlir.frontends.optimizers", None),
}
for _name in (
    "Constant Function Node Parameter Spec Variable compile grad jvp load load_function nd nn random save stop_gradient"
).split():
    _HOMES[_name] = ("dlir.frontends.symbolic", _name)

__all__ = [
    "Constant",
    "DlirError",
    "Function",
    "Net",
    "Node",
    "Parameter",
    "Spec",
    "Variable",
    "__version__",
    "compile",
    "grad",
    "initializers",
    "jvp",
    "load",
    "load_function",
    "nd",
    "nn",
    "optimizers",
    "random",
    "save",
    "stop_gradient",
]


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` and keep the value here for the next look-up."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dlir' has no attribute {name!r}")
    home, attribute = _HOMES[name]
    module = import_module(home)
    value = globals()[name] = module if attribute is None else getattr(module, attribute)
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
