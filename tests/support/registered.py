"""The ops that test themselves: those of every dialect, installed plugins included, that draw samples."""

from __future__ import annotations

from typing import Any

from dlir.ir.registry import DIALECTS, dialect_ops


def sampled_ops(base: type = object) -> dict[str, Any]:
    """The ops derived from `base` that have ``sample``, by name."""
    ops = {name: cls for dialect in DIALECTS.discover() for name, cls in dialect_ops(dialect).items()}
    return {name: cls for name, cls in ops.items() if issubclass(cls, base) and hasattr(cls, "sample")}
