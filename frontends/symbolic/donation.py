"""Arrays that were donated: a call may have written over them, so no other call takes them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dlir.ir.errors import DlirError

#: Donated arrays by their identity: a reference, and the function and input that took the array.
_GONE: dict[int, tuple[weakref.ref[np.ndarray], str]] = {}


def check_arrays(names: Sequence[str], arrays: Sequence[Any]) -> None:
    """DlirError if one of `arrays`, which are for inputs of these names, was donated to a call before."""
    if not _GONE:
        return
    for name, array in zip(names, arrays, strict=True):
        found = _GONE.get(id(array))
        if found is not None and found[0]() is array:
            message = f"the array for input '{name}' was donated before, to {found[1]}: what it holds is not defined"
            hint = "give a copy to the call that takes it; if the memory was filled anew, give a view of it, array[...]"
            raise DlirError(message, hint=hint)


def take(function: str, inputs: Iterable[tuple[str, Any]], results: Sequence[Any]) -> list[Any]:
    """Note that inputs were donated.  The results; one that is a donated array is another view of its memory."""
    for name, array in inputs:
        if isinstance(array, np.ndarray):
            key = id(array)
            _GONE[key] = weakref.ref(array, lambda _, key=key: _GONE.pop(key, None)), f"input '{name}' of '{function}'"  # type: ignore[misc]
    return [result[...] if id(result) in _GONE else result for result in results]
