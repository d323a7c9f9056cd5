"""Which variables calls change, at every level: ``state.write`` over tensors, ``memref.global`` over buffers.

Over buffers a variable that calls change is a global that is not constant.  Those that initialisers compute and nobody
writes are not constant either, so one that has both an initialiser and a writer is marked (`MUTABLE`).  Which ones a function
changes stands in its attribute `WRITES`; without it, any global that is not constant may be written.
"""

from __future__ import annotations

from dataclasses import dataclass

from dlir.ir.attributes import ArrayAttr, SymbolRefAttr
from dlir.ir.core import Block, Operation
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.memref import Global
from dlir.ir.dialects.state import Variable, Write
from dlir.ir.errors import DlirError, Note
from dlir.ir.initializers import INITIALIZES, is_initializer, reached, symbols_in

#: The attribute of a global that has an initialiser and that calls, other programs or Python may write.
MUTABLE = "dlir.mutable"
#: The attribute of a function over buffers: the variables that it gives new values, as symbols.
WRITES = "dlir.writes"


@dataclass(frozen=True, slots=True)
class State:
    """The variables of a function that may change between its calls, by name, and those that it changes itself."""

    variables: dict[str, Variable | Global]
    written: tuple[str, ...]


def state_of(module: Operation, function: Func) -> State:
    """The variables that `function` names, itself or by what it calls, and that are not constants."""
    mutable = mutable_variables(module)
    named = dict.fromkeys(reached(module, function))
    found = {name: op for name, op in mutable.items() if op in named}
    stated = function.attributes.get(WRITES)
    if isinstance(stated, ArrayAttr):
        written = {item.value for item in stated.items if isinstance(item, SymbolRefAttr)}
    else:
        functions = [function, *(op for op in named if isinstance(op, Func))]
        written = {op["variable"] for item in functions for op in function_writes(item)}
        written |= {name for name, op in found.items() if isinstance(op, Global)}
    return State(found, tuple(name for name in found if name in written))


def mutable_variables(module: Operation) -> dict[str, Variable | Global]:
    """The variables and globals that may change after a program is loaded, by name."""
    written = written_variables(module)
    computed = _initialized(module)
    found: dict[str, Variable | Global] = {}
    for op in module.body.ops:
        if isinstance(op, Variable):
            is_mutable = op["mutable"] is not None or op["sym_name"] in written
        elif isinstance(op, Global):
            # An external one (without any initial value) belongs to somebody else.
            is_mutable = not op["constant"] and op["initial_value"] is not None
            is_mutable = is_mutable and (MUTABLE in op.attributes or op["sym_name"] not in computed)
        else:
            continue
        if is_mutable:
            found[op["sym_name"]] = op
    return found


def written_variables(module: Operation) -> dict[str, Write]:
    """The variables that a ``state.write`` names, and the first one that does."""
    found: dict[str, Write] = {}
    for function in module.body.ops:
        for op in function_writes(function) if isinstance(function, Func) else ():
            found.setdefault(op["variable"], op)
    return found


def function_writes(function: Func) -> list[Write]:
    """The writes of a function over tensors, in their order."""
    blocks = function.regions[0].blocks if function.regions else ()
    return [op for block in blocks for op in block.ops if isinstance(op, Write)]


def check_writes(module: Operation) -> None:
    """DlirError if a function writes a variable twice, or is an initialiser and writes one."""
    for op in module.body.ops:
        if isinstance(op, Func):
            _check_writes(op)


def _check_writes(function: Func) -> None:
    first: dict[str, Write] = {}
    for op in function_writes(function):
        name = op["variable"]
        if is_initializer(function):
            message = f"'@{function.symbol}' computes first values and runs before any call: it cannot write '@{name}'"
            raise DlirError(message, op.location)
        if name in first:
            note = Note("the first one is here", first[name].location)
            message = f"'@{function.symbol}' writes '@{name}' twice in one call"
            hint = "a read gives the value from before the call: combine the two values and write once"
            raise DlirError(message, op.location, notes=[note], hint=hint)
        first[name] = op


def sink_writes(block: Block) -> None:
    """Move the writes of a block to its end, in their order: that is when they happen."""
    ending = block.last
    if ending is None or not ending.is_terminator:
        return
    writes = [op for op in block.ops if isinstance(op, Write)]
    for op in writes:
        op.detach()
        block.insert_before(ending, op)


def _initialized(module: Operation) -> dict[str, None]:
    found: dict[str, None] = {}
    for op in module.body.ops:
        if INITIALIZES in op.attributes:
            found.update((path[0], None) for path in symbols_in(op.attributes[INITIALIZES]))
    return found
