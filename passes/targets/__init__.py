"""What the passes know of the machines they compile for, one table each."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def find_target(name: str) -> Any:
    """The table of a target ("cpu", "cuda"), imported when it is needed: that of GPUs brings much with it."""
    return import_module(f"dlir.passes.targets.{name}")
