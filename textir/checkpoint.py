"""Checkpoints: a module and the values of all its variables in one ``.safetensors`` file.

The metadata of the file hold the version of this format and the text of the module, and the tensors have the names of its
``dense_resource``s.  So structure, weights and the state of an optimiser are written in one step, and whoever reads the file
needs nothing else.  Any reader of safetensors finds the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlir.ir.attributes import DenseResourceAttr
from dlir.ir.errors import Diagnostic, DlirError, did_you_mean
from dlir.ir.initializers import INITIALIZES
from dlir.ir.traversal import clone
from dlir.ir.types import ShapedType
from dlir.textir.parser import ParsedModule, parse_source
from dlir.textir.printer import print_module
from dlir.textir.safetensors_file import SafetensorsFile, write_tensors
from dlir.textir.source import Source
from dlir.textir.weights import WEIGHTS, WeightStore, check_array, declared_arrays

#: The names of the metadata.
VERSION, MODULE = "dlir.version", "dlir.module"
#: The version that is written, and the newest one that is read.
CURRENT = 1

#: The values of ``dense_resource``s: by name, or a function of the name such as a `WeightStore`.
Arrays = Mapping[str, np.ndarray] | Callable[[str], np.ndarray]


# ---------------------------------------------------------------- writing


def save_checkpoint(
    path: str | Path, module: Any, arrays: Arrays, variables: Mapping[str, np.ndarray] | None = None
) -> None:
    """Replace the file at `path` by a checkpoint, in one step: whatever happens, the old file or the new one is there.

    `arrays` has the values of the module's ``dense_resource``s.  `variables` has those that state variables have now, by
    symbol: they are kept instead of the first values that the module states.  No array is copied if it is contiguous.
    DlirError if a value is missing or does not have the type that the module states, or if the file cannot be written.
    """
    module, tensors = _with_values(module, arrays, variables or {})
    metadata = {VERSION: str(CURRENT), MODULE: print_module(module)}
    try:
        write_tensors(path, tensors, metadata)
    except OSError as error:
        raise DlirError(f"cannot write '{path}': {error.strerror or error}") from None


def _with_values(module: Any, arrays: Arrays, variables: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
    """The module as it is stored, and its tensors by name."""
    given: dict[str, np.ndarray] = {}
    if variables or module.get(WEIGHTS) is not None:
        module = clone(module)
        module.attributes.pop(WEIGHTS, None)
        given = _renamed(module, variables)
    found: dict[str, np.ndarray] = {}
    problems: list[Diagnostic] = []
    for name, (type, location) in declared_arrays(module).items():
        try:
            array = given[name] if name in given else _value(name, arrays)
            if isinstance(type, ShapedType):
                check_array(f"the value of '{name}'", array.dtype, array.shape, type, location)
            found[name] = array
        except DlirError as error:
            problems += error.at(location).diagnostics
    if problems:
        raise DlirError(problems)
    return module, found


def _value(name: str, arrays: Arrays) -> np.ndarray:
    if callable(arrays):
        return np.asarray(arrays(name))
    if name not in arrays:
        raise DlirError(f"no value is given for '{name}'", hint=did_you_mean(name, arrays))
    return np.asarray(arrays[name])


def _renamed(module: Any, variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Let each of `variables` have a first value of its own in `module`; the values by the names of those."""
    symbols = {op["sym_name"]: op for op in module.body.ops if op.name == "state.variable"}
    users: dict[str, int] = {}
    for op in symbols.values():
        if isinstance(op["init"], DenseResourceAttr):
            users[op["init"].name] = users.get(op["init"].name, 0) + 1
    taken = set(declared_arrays(module))
    given: dict[str, np.ndarray] = {}
    for symbol, array in variables.items():
        if symbol not in symbols:
            raise DlirError(f"the module has no variable '@{symbol}'", hint=did_you_mean(symbol, symbols))
        op = symbols[symbol]
        init = op["init"]
        if isinstance(init, DenseResourceAttr) and users[init.name] == 1:
            name = init.name
        else:
            name = _free(symbol, taken)
            taken.add(name)
            op.set("init", DenseResourceAttr(name, op["type"]))
        given[name] = np.asarray(array)
    _drop_initializers(module, variables)
    return given


def _free(name: str, taken: set[str]) -> str:
    number = 0
    found = name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _drop_initializers(module: Any, variables: Mapping[str, np.ndarray]) -> None:
    """Remove the functions that would compute first values for variables that have one now."""
    for op in list(module.body.ops):
        symbols = [item.value for item in op.attributes[INITIALIZES].items] if INITIALIZES in op.attributes else []
        having = [symbol for symbol in symbols if symbol in variables]
        if not having:
            continue
        if len(having) < len(symbols):
            other = next(symbol for symbol in symbols if symbol not in variables)
            message = f"'@{op['sym_name']}' initialises '@{having[0]}' and '@{other}', and only one has a value now"
            raise DlirError(message, op.location, hint=f"give the value of '@{other}', too")
        op.erase()


# ---------------------------------------------------------------- reading


def load_checkpoint(
    path: str | Path,
    weights: str | Path | None = None,
    sources: dict[str, str] | None = None,
    data: bytes | None = None,
) -> ParsedModule:
    """The module of a checkpoint with its arrays, which are read from the file when they are used.

    The arguments are those of `dlir.textir.parse_file`; `data` is what the file holds, if it cannot be opened (a pipe).
    DlirError, with what to do, if the file is damaged, has no module, is of a newer version, or if its tensors are not those
    that the module names; mistakes in the text have their place in it.
    """
    file = SafetensorsFile(path, data)
    name = str(path)
    text = _module_text(file)
    sources = {} if sources is None else sources
    sources[name] = text
    module, blobs = parse_source(Source(name, text))
    if module.get(WEIGHTS) is not None and weights is None:
        raise DlirError(f"a checkpoint holds its own weights, so '{WEIGHTS}' has no meaning in it", module.location)
    store = WeightStore.for_module(module, path, weights, blobs, None if weights is not None else file)
    if weights is None:
        _check_tensors(store, blobs)
    return ParsedModule(module, sources, store, None if data is not None else Path(path), blobs)


def _module_text(file: SafetensorsFile) -> str:
    """The text in the metadata; DlirError if it is not there, or not for this version to read."""
    version, text = file.metadata.get(VERSION), file.metadata.get(MODULE)
    if version is None and text is None:
        having = f"{len(file.entries)} tensors" if len(file.entries) != 1 else "a tensor"
        message = f"'{file.path}' has {having} but no module: it is not a checkpoint"
        raise DlirError(message, hint="give it with --weights to a module that names its tensors")
    if version is None or not (version.isascii() and version.isdecimal()) or len(version) > 9 or int(version) < 1:
        shown = "no version" if version is None else f"the version {version[:20]!r}"
        raise DlirError(f"'{file.path}' is no valid checkpoint: it has {shown}", hint=_RESTORE)
    if int(version) > CURRENT:
        message = f"'{file.path}' is a checkpoint of version {version}, and this dlir reads up to version {CURRENT}"
        raise DlirError(message, hint="read it with the dlir that wrote it, or a newer one")
    if text is None:
        raise DlirError(f"'{file.path}' is no valid checkpoint: it has no '{MODULE}'", hint=_RESTORE)
    return text


_RESTORE = "it is damaged or was written by another program: take an earlier checkpoint"


def _check_tensors(store: WeightStore, blobs: Mapping[str, str]) -> None:
    """DlirError with all tensors that the module names and the file lacks, or has in another shape or dtype."""
    problems: list[Diagnostic] = []
    for name in store.declared:
        if name in blobs:
            continue
        try:
            store.check_file(name)
        except DlirError as error:
            problems += error.diagnostics
    if problems:
        raise DlirError(problems)
