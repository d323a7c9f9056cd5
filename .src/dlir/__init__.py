"""dlir: a multi-level IR toolkit for deep learning.

Importing this package loads nothing else: the public names below are resolved on first use (PEP 562), so that the
commands start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlir.frontends.symbolic import Constant as Constant
    from dlir.frontends.symbolic import Variable as Variable
    from dlir.frontends.symbolic import compile as compile

__version__ = "0.1.0"

_HOMES = {
    "Constant": "dlir.frontends.symbolic",
    "Variable": "dlir.frontends.symbolic",
    "compile": "dlir.frontends.symbolic",
}

__all__ = ["Constant", "Variable", "__version__", "compile"]


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` and keep the value here for the next look-up."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dlir' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
