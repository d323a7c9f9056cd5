"""The arrays that ``dlir-run`` feeds to a function: from the command line, from the module's data file, or random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.limits import MAX_BYTES, check_type
from dlir.ir.types import I1, ScalarType, TensorType, is_float
from dlir.textir.weights import read_tensors

#: Names in a data file that are no inputs: the true classes, and the predictions of whoever trained the network.
LABELS, EXPECTED = "labels", "expected"


@dataclass
class Data:
    """Arrays for a whole run, cut into batches along their first axis."""

    arrays: list[np.ndarray]
    batches: int = 1
    origin: str = "random inputs"
    labels: np.ndarray | None = None
    expected: np.ndarray | None = None
    names: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows in all batches together."""
        return self.arrays[0].shape[0] if self.arrays and self.arrays[0].ndim else 1

    def batch(self, number: int) -> list[np.ndarray]:
        """The inputs of batch `number`."""
        if self.batches == 1:
            return self.arrays
        return [a[number * (n := a.shape[0] // self.batches) : (number + 1) * n] for a in self.arrays]


def from_file(path: Path, names: Sequence[str], types: Sequence[TensorType]) -> Data:
    """Inputs by argument name from a safetensors file, with labels and expected predictions if it has them."""
    tensors = read_tensors(path)
    arrays = []
    for name in names:
        if name not in tensors:
            hint = did_you_mean(name, tensors) or f"it has: {', '.join(tensors)}"
            raise DlirError(f"'{path}' has no array for input '{name}'", hint=hint)
        arrays.append(tensors[name])
    batches = {_batches(n, a, t) for n, a, t in zip(names, arrays, types, strict=True)}
    if len(batches) > 1:
        raise DlirError(f"the arrays of '{path}' do not agree on the number of batches")
    return Data(
        arrays, batches.pop() if batches else 1, path.name, tensors.get(LABELS), tensors.get(EXPECTED), list(names)
    )


def _batches(name: str, array: np.ndarray, type: TensorType) -> int:
    """How many batches `array` holds for an argument of `type`; DlirError if it does not fit."""
    _check_dtype(name, array, type)
    if _fits(array.shape, type.shape):
        return 1
    if array.ndim == type.rank and array.ndim and _fits(array.shape[1:], type.shape[1:]):
        batch = type.shape[0]
        if batch and array.shape[0] and array.shape[0] % batch == 0:
            return array.shape[0] // batch
    raise DlirError(f"the data for input '{name}' has shape {array.shape}, which does not make batches of {type}")


def _check_dtype(name: str, array: np.ndarray, type: TensorType) -> None:
    assert isinstance(type.dtype, ScalarType)
    if array.dtype != type.dtype.numpy:
        hint = f"convert it, as in x.astype('{type.dtype.numpy}')"
        raise DlirError(f"input '{name}' has dtype {array.dtype}, but the function takes {type}", hint=hint)


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, s) for s, w in zip(shape, wanted, strict=True))


def from_specs(specs: Sequence[str], names: Sequence[str], types: Sequence[TensorType], seed: int) -> Data:
    """Inputs from ``--input`` texts, by name or in order; random ones for the rest."""
    rng = np.random.default_rng(seed)
    given: dict[str, str] = {}
    for spec in specs:
        head, equals, rest = spec.partition("=")
        name = (
            head.lstrip("%") if equals and not head.startswith("@") else next((n for n in names if n not in given), "")
        )
        if name not in names:
            hint = did_you_mean(name, names) or f"inputs: {', '.join(names) or 'none'}"
            raise DlirError(f"the function has no input '{name or spec}'", hint=hint)
        if name in given:
            raise DlirError(f"input '{name}' is given twice")
        given[name] = rest if equals and not head.startswith("@") else spec
    arrays = []
    for name, type in zip(names, types, strict=True):
        array = make_array(given.get(name, "rand"), type, rng, f"input '{name}'")
        _check_dtype(name, array, type)
        if not _fits(array.shape, type.shape):
            raise DlirError(f"input '{name}' has shape {array.shape}, but the function takes {type}")
        arrays.append(array)
    return Data(arrays, origin="inputs given" if given else "random inputs", names=list(names))


def make_array(spec: str, type: TensorType, rng: np.random.Generator, what: str) -> np.ndarray:
    """The array that a text stands for: ``@file.npy``, ``rand``, ``zeros``, ``ones``, ``2x2xf32:1,2,3,4``."""
    assert isinstance(type.dtype, ScalarType)
    if spec == "@":
        raise DlirError(f"{what} has no file's name behind its '@'", hint="write it as in @x.npy")
    if spec.startswith("@"):
        return load_array(Path(spec[1:]))
    if spec in ("rand", "zeros", "ones"):
        if not type.is_static:
            raise DlirError(f"{what} has a dynamic shape {type}", hint="give its size with --dim, as in --dim x.0=64")
        return _filled(spec, type, rng)
    head, colon, numbers = spec.partition(":")
    *dims, dtype = head.split("x")
    if not colon or not all(dim.isdigit() for dim in dims) or dtype != str(type.dtype):
        hint = did_you_mean(spec, ("rand", "zeros", "ones"))
        if spec.endswith(".npy"):
            hint = f"a file is written with @: @{spec}"
        example = f"2x2x{type.dtype}:1,2,3,4"
        raise DlirError(
            f"cannot read '{spec}' as {what} of {type}", hint=hint or f"write @file.npy, rand, or {example}"
        )
    shape = tuple(map(int, dims))
    check_type(TensorType(shape, type.dtype), MAX_BYTES)
    words = numbers.replace(",", " ").split()
    try:
        values = np.array([float(word) if is_float(type.dtype) else int(word) for word in words], type.dtype.numpy)
    except (ValueError, OverflowError):
        raise DlirError(f"cannot read '{numbers}' as numbers of {type.dtype} for {what}") from None
    if len(words) not in (1, math.prod(shape)):
        raise DlirError(f"{what} needs {math.prod(shape)} numbers for {head}, got {len(words)}")
    return np.full(shape, values[0]) if len(words) == 1 else values.reshape(shape)


def _filled(how: str, type: TensorType, rng: np.random.Generator) -> np.ndarray:
    assert isinstance(type.dtype, ScalarType)
    shape: Any = type.shape
    dtype = type.dtype.numpy
    if how != "rand":
        return np.full(shape, how == "ones", dtype)
    if type.dtype is I1:
        return rng.integers(0, 2, shape).astype(bool)
    if is_float(type.dtype):
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 10, shape).astype(dtype)


def load_array(path: Path) -> np.ndarray:
    """The array in a .npy file; DlirError if it is not one."""
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DlirError(f"there is no file '{path}'") from None
    except (OSError, ValueError, EOFError) as error:
        if "pickle" in str(error):  # NumPy's advice is to trust the file
            raise DlirError(f"'{path}' is not a .npy file of numbers") from None
        raise DlirError(f"cannot read '{path}' as a .npy file: {error}") from None
    if not isinstance(loaded, np.ndarray):
        raise DlirError(f"'{path}' holds several arrays", hint="save one array with numpy.save")
    return loaded
