"""Functions that compute the first values of variables, once, when a program is loaded.

    state.variable @packed {type = tensor<4xf32>}
    func.func private @initialize() -> tensor<4xf32> attributes {dlir.initializes = [@packed]} { ... }

Result i is the first value of the i-th variable that the attribute names.  At the levels of buffers the variables are
``memref.global``s and the results are arguments with ``dlir.result``.  An initialiser may read variables that other
initialisers compute, as long as some order of them all serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from dlir.ir.attributes import ArrayAttr, Attribute, DictAttr, IntegerAttr, SymbolRefAttr, UnitAttr
from dlir.ir.core import Operation
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.memref import Global
from dlir.ir.dialects.state import Variable
from dlir.ir.errors import DlirError, Note, did_you_mean
from dlir.ir.types import MemRefType, TensorType, Type

#: The attribute of an initialiser: the symbols of its variables, in the order of its results.
INITIALIZES = "dlir.initializes"


@dataclass(frozen=True, slots=True)
class Initializer:
    """An initialiser and what it gives the first values of, one for each of its results."""

    function: Func
    variables: tuple[Variable | Global, ...]


def is_initializer(op: Operation) -> bool:
    """Whether `op` is a function that computes first values."""
    return INITIALIZES in op.attributes


def check_initializers(module: Operation) -> None:
    """DlirError unless every variable has one first value, every initialiser fits its variables, and none needs itself."""
    symbols = _symbols(module)
    found = _by_variable(symbols)
    for name, op in symbols.items():
        if isinstance(op, Variable) and op["init"] is None and name not in found:
            hint = f"give it an 'init', or its value in a function with {{{INITIALIZES} = [@{name}]}}"
            raise DlirError(
                f"'@{name}' has no first value: it has no 'init', and no initialiser", op.location, hint=hint
            )
    _in_order(found, symbols, [item.function for item in found.values()])


def initializers_for(module: Operation, function: Func) -> list[Initializer]:
    """The initialisers of what `function` reads, itself or by what it calls; each after those that it needs.

    DlirError if they do not fit their variables, or need each other's.
    """
    symbols = _symbols(module)
    found = _by_variable(symbols)
    return _in_order(found, symbols, [function]) if found else []


# ---------------------------------------------------------------- reading the module


def _symbols(module: Operation) -> dict[str, Operation]:
    return {op.get("sym_name"): op for op in module.body.ops if isinstance(op.get("sym_name"), str)}


def _by_variable(symbols: dict[str, Operation]) -> dict[str, Initializer]:
    """The initialiser of each variable that has one, by the variable's name; each is checked by itself."""
    found: dict[str, Initializer] = {}
    for op in symbols.values():
        if isinstance(op, Func) and is_initializer(op):
            item = _read(op, symbols)
            for variable in item.variables:
                name = variable["sym_name"]
                if name in found:
                    note = Note("the other one is here", found[name].function.location)
                    raise DlirError(f"'@{op.symbol}' is a second initialiser of '@{name}'", op.location, notes=[note])
                found[name] = item
    return found


def _read(function: Func, symbols: dict[str, Operation]) -> Initializer:
    function.verify()
    names = function.attributes[INITIALIZES]
    if not isinstance(names, ArrayAttr) or not all(isinstance(item, SymbolRefAttr) for item in names.items):
        message = f"'@{function.symbol}': '{INITIALIZES}' must be a list of symbols, such as [@w]"
        raise DlirError(message, function.location)
    variables = tuple([_variable(function, item.value, symbols) for item in names.items])
    results = _results(function)
    if len(results) != len(variables):
        message = f"'@{function.symbol}' initialises {len(variables)} variables, but gives {len(results)} results"
        raise DlirError(message, function.location)
    for variable, result in zip(variables, results):
        wanted = variable["type"]
        wanted = TensorType(wanted.shape, wanted.dtype) if isinstance(wanted, MemRefType) else wanted
        if result is not wanted:
            note = Note("the variable is defined here", variable.location)
            message = f"'@{function.symbol}' gives '@{variable['sym_name']}' a {result}, but it is {wanted}"
            raise DlirError(message, function.location, notes=[note])
    return Initializer(function, variables)


def _variable(function: Func, name: str, symbols: dict[str, Operation]) -> Variable | Global:
    found = symbols.get(name)
    if not isinstance(found, Variable | Global):
        known = [other for other, op in symbols.items() if isinstance(op, Variable | Global)]
        message = f"'@{function.symbol}' initialises '@{name}', which is not a variable"
        raise DlirError(message, function.location, hint=did_you_mean(name, known))
    init = found["init"] if isinstance(found, Variable) else found["initial_value"]
    if init is not None and not isinstance(init, UnitAttr):
        note = Note("the variable is defined here", found.location)
        message = f"'@{function.symbol}' initialises '@{name}', which has a first value already"
        raise DlirError(message, function.location, notes=[note])
    return found


def _results(function: Func) -> list[Type]:
    """The tensor types of what an initialiser computes, at any level; DlirError if it takes inputs or has no body."""
    if function.is_declaration:
        raise DlirError(f"the initialiser '@{function.symbol}' has no body", function.location)
    numbered: dict[int, Type] = {}
    for index, type in enumerate(function.type.inputs):
        role = function.arg_attributes(index)
        number = role.get("dlir.result")
        if isinstance(number, IntegerAttr) and isinstance(type, MemRefType) and "dlir.input" not in role:
            numbered[number.value] = TensorType(type.shape, type.dtype)
        elif "dlir.arena" not in role:
            raise DlirError(f"the initialiser '@{function.symbol}' takes inputs", function.location)
    return [*(numbered[number] for number in sorted(numbered)), *function.type.results]


# ---------------------------------------------------------------- what needs what


def _in_order(found: dict[str, Initializer], symbols: dict[str, Operation], roots: Iterable[Func]) -> list[Initializer]:
    """The initialisers that `roots` need, other than themselves, each after those that it needs itself."""
    roots = list(roots)
    needs: dict[Func, dict[Func, None]] = {}
    waiting = list(roots)
    for function in waiting:  # grows while it is walked
        if function not in needs:
            named = [op.get("sym_name") for op in _reached(function, symbols)]
            needs[function] = {found[name].function: None for name in named if name in found}
            waiting += needs[function]
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        cycle = [function.symbol for function in error.args[1]]
        names = " needs ".join(f"@{name}" for name in reversed(cycle))
        raise DlirError(f"initialisers need each other's variables: {names}", error.args[1][0].location) from None
    items = {item.function: item for item in found.values()}
    return [items[function] for function in order if function in items and function not in roots]


def reached(module: Operation, function: Func) -> list[Operation]:
    """The functions, variables and other symbols of `module` that `function` names, itself or by what it calls."""
    return list(_reached(function, _symbols(module)))


def _reached(function: Operation, symbols: dict[str, Operation]) -> Iterator[Operation]:
    """The module's symbols that `function` names, itself or in the functions and kernels that it names."""
    seen: dict[Operation, None] = {function: None}
    waiting = [function]
    for op in waiting:  # grows while it is walked
        for path in _references(op):
            target = _resolve(path, symbols)
            if target is None or target in seen:
                continue
            seen[target] = None
            if target.regions:
                waiting.append(target)
            if len(path) == 1:
                yield target


def _resolve(path: tuple[str, ...], symbols: dict[str, Operation]) -> Operation | None:
    found = symbols.get(path[0])
    for name in path[1:]:
        if found is None or not found.regions:
            return None
        found = next((op for op in found.body.ops if op.get("sym_name") == name), None)
    return found


def _references(root: Operation) -> Iterator[tuple[str, ...]]:
    """The symbols that the ops inside `root` name."""
    for op in root.walk():
        for attribute in op.attributes.values() if op is not root else ():
            yield from symbols_in(attribute)


def symbols_in(attribute: Attribute) -> Iterator[tuple[str, ...]]:
    """The symbols that an attribute names, as paths."""
    stack = [attribute]
    while stack:
        item = stack.pop()
        if isinstance(item, SymbolRefAttr):
            yield item.path
        elif isinstance(item, ArrayAttr):
            stack.extend(item.items)
        elif isinstance(item, DictAttr):
            stack.extend(item.items.values())
