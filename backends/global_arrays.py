"""The first values of ``memref.global``: from the text, from a file of weights, or computed by an initialiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from dlir.backends.executable import numpy_dtype, spell_array
from dlir.backends.variables import VariableStore
from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.memref import Global
from dlir.ir.errors import DlirError
from dlir.ir.initializers import initializers_for
from dlir.ir.state import mutable_variables

#: Gives the array of a ``dense_resource`` by its name.
Weights = Callable[[str], Any]


def global_array(op: Global, weights: Weights | None) -> np.ndarray:
    """The first value of a global, contiguous and not to be written to; zeros where none is stated.

    DlirError if it is in a file and there is none, or what is there does not fit.
    """
    type_, value = op["type"], op["initial_value"]
    dtype = numpy_dtype(type_)
    if isinstance(value, DenseResourceAttr):
        if weights is None:
            message = f"'@{op['sym_name']}' needs the array '{value.name}', but there are no weights"
            raise DlirError(message, op.location)
        array = np.asarray(weights(value.name))
    elif isinstance(value, DenseElementsAttr):
        array = value.value
    else:
        array = np.zeros(type_.shape, dtype)
    if array.shape != type_.shape or array.dtype != dtype:
        found = spell_array(array.dtype, array.shape)
        raise DlirError(f"'@{op['sym_name']}' is {type_}, but its array is {found}", op.location)
    # Not ascontiguousarray, which makes an array of rank 0 one of rank 1.
    return array if array.flags.c_contiguous else array.copy()


def initialized_arrays(
    module: Module,
    function: Func,
    store: VariableStore,
    compute: Callable[[Func, Mapping[str, Any]], Sequence[Any]],
    download: Callable[[Any, np.dtype], np.ndarray] = lambda array, dtype: array,
) -> dict[str, Any]:
    """The constants that initialisers compute for `function` of a bufferised module, by name.

    `compute` runs an initialiser, given the constants that earlier ones have computed, and returns new arrays, one for each
    of its results.  What may change later goes into the store instead, unless it is there already; `download` makes a
    NumPy array of it.
    """
    found: dict[str, Any] = {}
    mutable = mutable_variables(module)
    for item in initializers_for(module, function):
        names = [op["sym_name"] for op in item.variables]
        if all(name in mutable and name in store for name in names):
            continue
        for op, name, array in zip(item.variables, names, compute(item.function, found), strict=True):
            if name in mutable:
                dtype = numpy_dtype(op["type"])
                store.bind(name, dtype, array.shape, partial(download, array, dtype))
            else:
                found[name] = array
    return found
