"""The arrays that a module names with ``dense_resource<name>``.

They stand in the text as blobs, or in a safetensors file beside it that the module's attribute ``dlir.weights`` names.  That
path comes from a file, so it is relative and stays inside the folder of the module's own file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlir.ir.attributes import ArrayAttr, DenseResourceAttr, DictAttr
from dlir.ir.core import Operation
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.location import UNKNOWN, Location
from dlir.ir.types import ShapedType, Type
from dlir.textir.safetensors_file import SafetensorsFile, read_tensors, write_tensors

WEIGHTS = "dlir.weights"

#: Bytes that a blob's first four bytes may ask its data to be aligned to.
_MAX_ALIGNMENT = 1 << 12


class WeightStore:
    """Finds arrays by name; the file is opened when the first one is asked for.  Call it, or `get`."""

    def __init__(
        self,
        file: Path | None = None,
        blobs: Mapping[str, str] | None = None,
        declared: Mapping[str, tuple[Type, Location]] | None = None,
        location: Location = UNKNOWN,
        opened: SafetensorsFile | None = None,
    ) -> None:
        self.file = file
        self._blobs = blobs or {}
        #: The type and the place of each dense_resource of the module.
        self.declared = declared or {}
        #: Where the module says which file it is.
        self._location = location
        self._open = opened

    @classmethod
    def for_module(
        cls,
        module: Operation,
        path: str | Path | None = None,
        weights: str | Path | None = None,
        blobs: Mapping[str, str] | None = None,
        opened: SafetensorsFile | None = None,
    ) -> WeightStore:
        """The store of a module read from file `path`; `weights` is used instead of the file that the module names.

        `opened` is the file that has the arrays, if it is open already.
        """
        if opened is not None:
            file: Path | None = opened.path
        else:
            file = Path(weights) if weights is not None else sidecar(module, WEIGHTS, path)
        return cls(file, blobs, declared_arrays(module), module.location, opened)

    def __call__(self, name: str) -> np.ndarray:
        return self.get(name)

    def get(self, name: str, type: Type | None = None) -> np.ndarray:
        """The array called `name`, not to be written to; DlirError if there is none, or none of this type.

        Without a type, the one that the module states is meant.
        """
        stated, location = self.declared.get(name, (None, self._location))
        type = type or stated
        if name in self._blobs:
            return _from_blob(name, self._blobs[name], type, location)
        return self._checked_file(name, type, location)[name]

    def check_file(self, name: str) -> None:
        """DlirError unless the file has an array called `name`, of the type that the module states; nothing is read."""
        type, location = self.declared.get(name, (None, self._location))
        self._checked_file(name, type, location)

    def _checked_file(self, name: str, type: Type | None, location: Location) -> SafetensorsFile:
        """The open file, which has `name` of that type."""
        if self.file is None:
            hint = f'name their file in the module, module attributes {{{WEIGHTS} = "file.safetensors"}}'
            raise DlirError(f"no weights are given for '{name}'", location, hint=hint)
        if self._open is None:
            self._open = self._opened()
        if name not in self._open:
            hint = did_you_mean(name, self._open) or f"it has {_listed(list(self._open))}"
            raise DlirError(f"'{self.file}' has no weights '{name}'", location, hint=hint)
        entry = self._open.entries[name]
        if isinstance(type, ShapedType):
            check_array(f"'{name}' in '{self.file}'", entry.dtype, entry.shape, type, location)
        return self._open

    def _opened(self) -> SafetensorsFile:
        assert self.file is not None
        try:
            return SafetensorsFile(self.file)
        except DlirError as error:
            raise error.at(self._location) from None


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:8])
    return (shown or "none") + (", ..." if len(names) > 8 else "")


def declared_arrays(module: Operation) -> dict[str, tuple[Type, Location]]:
    """The type and the place of each dense_resource in a module, by name."""
    found: dict[str, tuple[Type, Location]] = {}
    for op in module.walk():
        stack = list(op.attributes.values())
        while stack:
            attribute = stack.pop()
            if isinstance(attribute, DenseResourceAttr):
                found.setdefault(attribute.name, (attribute.type, op.location))
            elif isinstance(attribute, ArrayAttr):
                stack.extend(attribute.items)
            elif isinstance(attribute, DictAttr):
                stack.extend(attribute.items.values())
    return found


def check_array(what: str, dtype: np.dtype, shape: tuple[int, ...], type: ShapedType, location: Location) -> None:
    """DlirError unless `what` has the dtype and shape of `type`."""
    wanted = type.dtype.numpy  # type: ignore[attr-defined]
    if dtype != wanted:
        raise DlirError(f"{what} has dtype {_spell_dtype(dtype)}, but the module states {type}", location)
    if shape != type.shape:
        raise DlirError(f"{what} has shape {'x'.join(map(str, shape)) or '()'}, but the module states {type}", location)


def _spell_dtype(dtype: np.dtype) -> str:
    from dlir.ir.types import dtype_from_numpy

    try:
        return str(dtype_from_numpy(dtype))
    except TypeError:
        return str(dtype)


def sidecar(module: Operation, attribute: str, path: str | Path | None) -> Path | None:
    """The file that a module's attribute names, relative to the folder of the module's own file (or the current folder).

    DlirError if it is not a path that stays inside that folder.
    """
    name = module.get(attribute)
    if name is None:
        return None
    if not isinstance(name, str) or not name or "\0" in name:
        raise DlirError(f"'{attribute}' must be the path of a file", module.location)
    folder = Path(path).parent if path is not None else Path()
    inside = os.path.realpath(folder)
    target = os.path.realpath(folder / name)
    parts = Path(name).parts
    if os.path.isabs(name) or ".." in parts or os.path.commonpath([inside, target]) != inside:
        message = f"'{attribute}' names '{name}', which is not inside the folder of the module"
        raise DlirError(message, module.location, hint="give such a file on the command line")
    return folder / name


# ---------------------------------------------------------------- blobs in the text


def _from_blob(name: str, text: str, type: Any, location: Location) -> np.ndarray:
    """The array of ``"0x<alignment, 4 bytes, little-endian><data>"``."""
    if not isinstance(type, ShapedType) or not type.is_static:
        raise DlirError(f"the blob '{name}' needs a static tensor type, not {type}", location)
    shape: Any = type.shape
    dtype: Any = type.dtype
    try:
        if not text.startswith("0x"):
            raise ValueError("it does not start with 0x")
        if len(text) // 2 - 5 != type.nbytes:
            raise ValueError(f"{type} takes {type.nbytes} bytes, and it has {max(len(text) // 2 - 5, 0)}")
        data = bytes.fromhex(text[2:])
        alignment = struct.unpack("<I", data[:4])[0]
        if alignment & (alignment - 1) or alignment > _MAX_ALIGNMENT:
            raise ValueError(f"its alignment {alignment} is not a small power of two")
        array = np.frombuffer(data, np.uint8, offset=4).copy().view(dtype.numpy).reshape(shape)
    except (ValueError, TypeError) as error:
        raise DlirError(f"the blob '{name}' cannot be used: {error}", location) from None
    array.setflags(write=False)
    return array


def to_blob(array: np.ndarray) -> str:
    """An array as the text of a blob."""
    contiguous = np.ascontiguousarray(array)
    alignment = max(contiguous.dtype.itemsize, 1)
    return "0x" + struct.pack("<I", alignment).hex().upper() + contiguous.tobytes().hex().upper()


__all__ = [
    "WEIGHTS",
    "WeightStore",
    "check_array",
    "declared_arrays",
    "read_tensors",
    "sidecar",
    "to_blob",
    "write_tensors",
]
