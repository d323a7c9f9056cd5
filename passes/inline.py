"""The ``inline`` pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dlir.ir.attributes import ArrayAttr, DictAttr, SymbolRefAttr
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.state import Write
from dlir.ir.errors import DlirError, Note
from dlir.ir.location import UNKNOWN, CallSiteLoc
from dlir.ir.state import check_writes
from dlir.ir.traversal import Mapping, clone_ops
from dlir.ir.types import MemRefType
from dlir.passes.manager import Pass


@dataclass
class Inline(Pass, name="inline"):
    """Replace calls of functions over tensors by their bodies, and drop private functions that were only called.

    Recursion is an error.  Kernels and other functions over buffers are left as they are.
    """

    def run(self, module: Module) -> None:
        functions = {op.symbol: op for op in module.body.ops if isinstance(op, Func)}
        inlined: list[Func] = []
        for caller in _callees_first(functions):
            for call in _calls(caller):
                callee = functions.get(call["callee"])
                if callee is not None and can_inline(callee):
                    inline_call(call, callee)
                    inlined.append(callee)
                    self.stats["inlined"] += 1
        if inlined:
            check_writes(module)
        references = _references(module)
        for callee in dict.fromkeys(inlined):
            if not callee.is_public and not references[callee.symbol]:
                references -= _references(callee)
                callee.erase()
                self.stats["erased"] += 1


def can_inline(function: Func) -> bool:
    """Whether calls of `function` may be replaced by its body: one block, over values and not over buffers."""
    if function.is_declaration or len(function.regions[0].blocks) != 1 or "dlir.kernel" in function.attributes:
        return False
    types = (*function.type.inputs, *function.type.results)
    return not any(isinstance(type, MemRefType) for type in types)


def _calls(function: Func) -> list[Call]:
    return [op for op in function.walk() if isinstance(op, Call)]


def inline_call(call: Call, callee: Func) -> None:
    """Replace a call by the body of what it calls."""
    mapping = Mapping(dict(zip(callee.body.args, call.operands, strict=True)))
    *body, result = callee.body.ops
    for op in clone_ops(body, mapping):
        assert call.parent is not None
        call.parent.insert_before(call, op)
        for inner in op.walk():
            inner.location = CallSiteLoc(inner.location, call.location) if call.location != UNKNOWN else inner.location
        if isinstance(op, Write):
            op.verify()  # the call may stand where no variable is written
    values = [mapping.value(value) for value in result.operands]
    for value, old in zip(values, call.results, strict=True):
        # The caller's name says more here than the callee's; a value that was the caller's own has one already.
        if old.name is not None and value not in call.operands:
            value.name = old.name
    call.replace_by(values)


def _callees_first(functions: dict[str, Func]) -> list[Func]:
    """The functions, each after those that it calls; DlirError for one that calls itself, through others or not."""
    done: dict[Func, None] = {}
    for root in functions.values():
        path: dict[Func, Call | None] = {root: None}
        stack = [(root, iter(_calls(root)))]
        while stack:
            function, calls = stack[-1]
            call = None if function in done else next(calls, None)
            if call is None:
                done[function] = None
                stack.pop()
                path.pop(function, None)
                continue
            callee = functions.get(call["callee"])
            if callee is None or callee in done or not can_inline(callee):
                continue
            if callee in path:
                raise _recursion(callee, list(path.items()), call)
            path[callee] = call
            stack.append((callee, iter(_calls(callee))))
    return list(done)


def _recursion(entry: Func, path: list[tuple[Func, Call | None]], last: Call) -> DlirError:
    """The error for the cycle from `entry` along `path` back to `entry` through the call `last`."""
    start = next(index for index, (function, _) in enumerate(path) if function is entry)
    cycle = [function for function, _ in path[start:]]
    calls = [call for _, call in path[start + 1 :] if call is not None] + [last]
    names = " -> ".join(f"@{function.symbol}" for function in [*cycle, entry])
    notes = [
        Note(f"@{caller.symbol} calls @{call['callee']} here", call.location)
        for caller, call in zip(cycle, calls, strict=True)
    ]
    message = f"recursion cannot be compiled: {names}"
    return DlirError(message, entry.location, notes=notes, hint="use a loop (scf.while, scf.for)")


def _references(root: Operation) -> Counter[str]:
    """How often `root` and the ops inside it name each symbol."""
    found: Counter[str] = Counter()
    stack = [attribute for op in root.walk() for attribute in op.attributes.values()]
    while stack:
        item = stack.pop()
        if isinstance(item, SymbolRefAttr):
            found.update(item.path)
        elif isinstance(item, ArrayAttr):
            stack.extend(item.items)
        elif isinstance(item, DictAttr):
            stack.extend(item.items.values())
    return found
