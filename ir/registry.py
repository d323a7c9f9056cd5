"""The registered ops and dialects.

The dialects of dlir are listed here and imported when one of their ops is first asked for; plugins add theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlir.ir.tables import Table

if TYPE_CHECKING:
    from dlir.ir.op import Op

#: Dialect name -> the module that defines its ops, from the highest level to the lowest.
DIALECTS = Table(
    "dialect",
    "dlir.dialects",
    {
        "builtin": "dlir.ir.dialects.builtin",
        "func": "dlir.ir.dialects.func",
        "state": "dlir.ir.dialects.state",
        "diff": "dlir.ir.dialects.diff",
        "nn": "dlir.ir.dialects.nn",
        "nd": "dlir.ir.dialects.nd",
        "random": "dlir.ir.dialects.random",
        "kernel": "dlir.ir.dialects.kernel",
        "tensor": "dlir.ir.dialects.tensor",
        "scf": "dlir.ir.dialects.scf",
        "arith": "dlir.ir.dialects.arith",
        "math": "dlir.ir.dialects.math",
        "memref": "dlir.ir.dialects.memref",
        "vector": "dlir.ir.dialects.vector",
        "gpu": "dlir.ir.dialects.gpu",
    },
)

_OPS: dict[str, type[Op]] = {}
_LOADED: set[str] = set()


def register(name: str, cls: type[Op]) -> None:
    """Register an op class under its full name; ValueError if the name is taken."""
    if name in _OPS:
        # Which of the two came first depends on what happened to be imported.
        homes = " and ".join(f"by '{home}'" for home in sorted((_OPS[name].__module__, cls.__module__)))
        raise ValueError(f"op '{name}' is registered twice: {homes}")
    _OPS[name] = cls


def find_op(name: str) -> type[Op] | None:
    """The class of op `name`, loading its dialect; None if it is not registered."""
    found = _OPS.get(name)
    if found is None:
        load_dialect(name.partition(".")[0])
        found = _OPS.get(name)
    return found


def load_dialect(dialect: str) -> bool:
    """Import `dialect`; False if there is no such dialect.  DlirError if it is a plugin's and cannot be imported."""
    if dialect in _LOADED:
        return True
    if DIALECTS.find(dialect) is None:
        return False
    DIALECTS.load(dialect)
    _LOADED.add(dialect)
    return True


def dialect_ops(dialect: str) -> dict[str, type[Op]]:
    """The ops of a dialect by full name, in the order of their definition."""
    load_dialect(dialect)
    return {name: cls for name, cls in _OPS.items() if name.partition(".")[0] == dialect}
