"""Reading and writing ``.safetensors`` files.

A file is an 8-byte length, that much JSON (name -> dtype, shape, offsets) and the data.  Everything that the header claims is
checked against the size of the file before an array is made; arrays are views of the mapped file, so that only what is used
is read.  Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, FloatType
from dlir.textir.atomic import atomic_write

MAX_HEADER = 100 << 20
_NAMES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?", "C64": "c8",
}  # fmt: skip
_ML_NAMES = {"BF16": BF16, "F8_E4M3": FloatType("f8E4M3FN"), "F8_E5M2": FloatType("f8E5M2")}


#: What to do about a file that claims what cannot be.
_DAMAGED = "it is damaged or was cut off: take an earlier copy"
SUFFIX = ".safetensors"
#: As many bytes of a file as `is_safetensors` looks at.
HEAD_BYTES = 16


def is_safetensors(head: bytes, path: str | Path | None = None) -> bool:
    """Whether a file that begins with the bytes `head` is to be read as safetensors and not as text.

    The length of a header has zeros among its bytes, which no text has.  Of a file that is called ``.safetensors`` this is
    also said when its first bytes are missing or damaged.
    """
    if b"\0" in head[:8] and head[8:9] == b"{":
        return True
    is_named = path is not None and Path(path).suffix.lower() == SUFFIX
    return is_named and (len(head) <= 8 or not head.isascii() or b"\0" in head)


def first_bytes(path: str | Path) -> bytes | None:
    """The head of a file for `is_safetensors`; None if it cannot be read, or only once (a pipe)."""
    try:
        if not Path(path).is_file():
            return None
        with open(path, "rb") as stream:
            return stream.read(HEAD_BYTES)
    except (OSError, ValueError):
        return None


class Entry(NamedTuple):
    """A tensor of the file; `start` counts from the file's first byte."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int


class SafetensorsFile:
    """An open file: a mapping from names to read-only arrays, and its metadata."""

    def __init__(self, path: str | Path, data: bytes | None = None) -> None:
        """`data` is what the file holds, if it cannot be opened (a pipe)."""
        self.path = Path(path)
        self.metadata: dict[str, str] = {}
        self.entries: dict[str, Entry] = {}
        self._data: Any
        try:
            if data is not None:
                self._data = np.frombuffer(data, np.uint8)
            else:
                is_empty = self.path.stat().st_size == 0
                self._data = np.zeros(0, np.uint8) if is_empty else np.memmap(self.path, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise DlirError(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from None
        try:
            self._read_header()
        except (ValueError, RecursionError) as error:
            raise DlirError(f"'{path}' is not a valid safetensors file: {error}", hint=_DAMAGED) from None

    def _read_header(self) -> None:
        size = self._data.size
        if size < 8:
            raise ValueError("it is shorter than its 8-byte header length")
        length = struct.unpack("<Q", self._data[:8].tobytes())[0]
        if length > min(size - 8, MAX_HEADER):
            raise ValueError(f"its header claims {length} bytes, and the file has {size}")
        header = json.loads(self._data[8 : 8 + length].tobytes().decode("utf-8"), object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata are not texts")
        self.metadata = metadata
        base = 8 + length
        spans = []
        for name, claim in header.items():
            entry, end = _checked(name, claim, base, size)
            self.entries[name] = entry
            spans.append((entry.start, end, name))
        for (_, end, first), (start, _, second) in zip(sorted(spans), sorted(spans)[1:]):
            if start < end:
                raise ValueError(f"the data of '{first}' and '{second}' overlap")

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self.entries[name]
        count = math.prod(entry.shape)
        raw = self._data[entry.start : entry.start + count * entry.dtype.itemsize]
        if entry.dtype == bool and raw.size and raw.max() > 1:
            raise DlirError(f"'{self.path}': a BOOL of '{name}' is neither 0 nor 1")
        if entry.start % entry.dtype.itemsize:
            raw = raw.copy()
        array = np.asarray(raw).view(entry.dtype).reshape(entry.shape)
        array.setflags(write=False)
        return array


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return found


def _checked(name: str, claim: Any, base: int, size: int) -> tuple[Entry, int]:
    """The entry that the header claims for `name`, and the end of its data; ValueError if it cannot be."""
    if not isinstance(claim, dict):
        raise ValueError(f"the entry of '{name}' is not a JSON object")
    code, shape, offsets = claim.get("dtype"), claim.get("shape"), claim.get("data_offsets")
    dtype = _dtype(code)
    if dtype is None:
        raise ValueError(f"'{name}' has the unknown dtype {code!r}")
    shape, offsets = _counts(shape), _counts(offsets)
    if shape is None or offsets is None or len(offsets) != 2:
        raise ValueError(f"the shape or the offsets of '{name}' are not lists of numbers")
    start, end = offsets
    if not start <= end <= size - base:
        raise ValueError(f"the data of '{name}' end at {base + end}, and the file at {size}")
    if end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"'{name}' has {end - start} bytes of data, which is not {code} of shape {shape}")
    return Entry(dtype, tuple(shape), base + start), base + end


def _dtype(code: Any) -> np.dtype | None:
    if not isinstance(code, str):
        return None
    if code in _NAMES:
        return np.dtype(_NAMES[code])
    return _ML_NAMES[code].numpy if code in _ML_NAMES else None


def _counts(value: Any) -> list[int] | None:
    """`value` if it is a list of numbers from 0 on."""
    return value if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value) else None


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name; DlirError if it is missing or not valid."""
    file = SafetensorsFile(path)
    return {name: file[name] for name in file}


def write_tensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays to a file in one step (see `atomic_write`)."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, array in tensors.items():
        end = position + array.nbytes
        header[name] = {"dtype": _code(name, array), "shape": list(array.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER:
        hint = "its constants in the text take too much room: make them dense_resources"
        raise DlirError(f"the header of '{path}' would have {len(text):,} bytes, of {MAX_HEADER:,} at most", hint=hint)
    # The data start at a multiple of 64 bytes, so that mapped arrays are aligned for vector loads.
    text += b" " * (-(8 + len(text)) % 64)
    # One after the other: only an array that is not contiguous is copied, and none is kept.
    contiguous = (np.ascontiguousarray(array) for array in tensors.values())
    pieces = (array.reshape(-1).view(np.uint8).data for array in contiguous)
    atomic_write(path, chain([struct.pack("<Q", len(text)) + text], pieces))


def _code(name: str, array: np.ndarray) -> str:
    for code in (*_NAMES, *_ML_NAMES):
        if array.dtype == _dtype(code):
            return code
    raise DlirError(f"'{name}' of dtype {array.dtype} cannot be stored in a safetensors file")
