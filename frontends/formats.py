"""The file formats that the commands read besides text IR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlir.ir.tables import Table

#: Suffix of a file's name -> the function that reads such a file, as ``"package.module:function"``.  It gets the path and
#: the path of the weights that the user gave, or None, and returns a `dlir.textir.ParsedModule`.
FORMATS = Table("format", "dlir.frontends", {})

#: Files of text IR; no plugin is asked for these.
_TEXT = ("", "dlir", "mlir", "txt")


def find_format(path: str) -> Callable[[str, str | None], Any] | None:
    """The function that reads files like `path`; None for text IR, and for suffixes that nobody knows."""
    suffix = Path(path).suffix.removeprefix(".").lower()
    return None if suffix in _TEXT or FORMATS.find(suffix) is None else FORMATS.load(suffix)
