"""Builder functions by dialect: ``nd.add(a, b)``, ``arith.addf(x, y)`` make an op at the insertion point.

They come from the op classes: ``nd.matmul`` is ``Matmul.build``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlir.ir.registry import dialect_ops, find_op


class OpNamespace:
    """The builder functions of one dialect.  A name that is a Python keyword takes a trailing underscore."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def __getattr__(self, name: str) -> Callable[..., Any]:
        cls = find_op(f"{self._dialect}.{name.removesuffix('_')}")
        if cls is None:
            raise AttributeError(f"dialect '{self._dialect}' has no op '{name}'")
        self.__dict__[name] = cls.build
        return cls.build

    def __dir__(self) -> list[str]:
        return [name.partition(".")[2] for name in dialect_ops(self._dialect)]


func = OpNamespace("func")
state = OpNamespace("state")
diff = OpNamespace("diff")
nn = OpNamespace("nn")
nd = OpNamespace("nd")
random = OpNamespace("random")
kernel = OpNamespace("kernel")
tensor = OpNamespace("tensor")
scf = OpNamespace("scf")
arith = OpNamespace("arith")
math = OpNamespace("math")
memref = OpNamespace("memref")
vector = OpNamespace("vector")
gpu = OpNamespace("gpu")
