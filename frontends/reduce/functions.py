"""Steps that take away functions and other symbols, their results and their arguments."""

from __future__ import annotations

from collections.abc import Sequence

from dlir.frontends.reduce.step import (
    Step,
    calls_of,
    earlier_value,
    functions,
    new_argument,
    numbered,
    refresh_type,
    without_result,
    zero,
)
from dlir.ir.attributes import ArrayAttr
from dlir.ir.core import Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.types import FunctionType

#: A function's number, and the number of its argument or result.
Site = tuple[int, int]


def symbols(module: Module) -> list[int]:
    """Functions, variables, globals and all else that stands in the module itself."""
    return [number for number, op in numbered(module) if op.parent_op is module]


def drop_symbols(module: Module, sites: Sequence[int]) -> None:
    """Erase them, calls and all other uses left to the other steps."""
    ops = list(module.walk())
    for number in reversed(sites):
        if not ops[number].is_used:
            ops[number].erase()


def results(module: Module) -> list[Site]:
    """The results of functions."""
    return [(number, index) for number, f in functions(module) for index in range(len(f.type.results))]


def drop_results(module: Module, sites: Sequence[Site]) -> None:
    """Return less; a call whose result is used gets another value for it."""
    ops = list(module.walk())
    for number, index in sorted(sites, reverse=True):
        function = ops[number]
        assert isinstance(function, Func)
        for call in calls_of(module, function):
            result = call.results[index]
            if result.is_used:
                value = earlier_value(call, result.type) or new_argument(call, result.type) or zero(call, result.type)
                if value is None:
                    return
                result.replace_by(value)
            without_result(call, index)
        for block in function.regions[0].blocks if function.regions else ():
            if block.last is not None and block.last.name == "func.return":
                operands = list(block.last.operands)
                del operands[index]
                block.last.set_operands(operands)
        _drop_type(function, index, of_results=True)


def arguments(module: Module) -> list[Site]:
    """The arguments of functions."""
    return [(number, index) for number, f in functions(module) for index in range(len(f.type.inputs))]


def drop_arguments(module: Module, sites: Sequence[Site]) -> None:
    """Take fewer arguments; one that is used is replaced by an earlier one of its type, or by zeros."""
    ops = list(module.walk())
    for number, index in sorted(sites, reverse=True):
        function = ops[number]
        assert isinstance(function, Func)
        if not function.is_declaration:
            argument = function.body.args[index]
            if argument.is_used:
                value = _stand_in(function, index)
                if value is None:
                    continue
                argument.replace_by(value)
            function.body.erase_arg(index)
        for call in calls_of(module, function):
            operands = list(call.operands)
            del operands[index]
            call.set_operands(operands)
        _drop_type(function, index, of_results=False)


def _stand_in(function: Func, index: int) -> Value | None:
    args = function.body.args
    same = [arg for arg in args[:index] if arg.type is args[index].type]
    if same:
        return same[0]
    return None if function.body.first is None else zero(function.body.first, args[index].type)


def _drop_type(function: Func, index: int, of_results: bool) -> None:
    """Take a result or an argument out of the function's type and of the attributes that go with it."""
    inputs, outputs = list(function.type.inputs), list(function.type.results)
    del (outputs if of_results else inputs)[index]
    function.set("function_type", FunctionType(inputs, outputs))
    refresh_type(function)
    name = "res_attrs" if of_results else "arg_attrs"
    found = function.attributes.get(name)
    if isinstance(found, ArrayAttr):
        items = [item for number, item in enumerate(found.items) if number != index]
        function.attributes[name] = ArrayAttr(items)


STEPS = (
    Step("functions and variables", symbols, drop_symbols),
    Step("results of functions", results, drop_results),
    Step("arguments of functions", arguments, drop_arguments),
)
