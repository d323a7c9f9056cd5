"""The ``bind-shapes`` pass: make dimensions that are known only at run time (``?``) static."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlir.ir.core import BlockArgument, Operation, Value
from dlir.ir.dialects import scf
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func, find_function
from dlir.ir.errors import DlirError, InferError, Note, did_you_mean
from dlir.ir.op import Op
from dlir.ir.state import function_writes
from dlir.ir.types import ShapedType, Type
from dlir.passes.manager import Pass, option


@dataclass
class BindShapes(Pass, name="bind-shapes"):
    """Give the unknown dimensions (`?`) of the entry function's arguments a size, and all other shapes follow.

    `dims` names an argument and an axis, as in `dims=x.0=64;y.1=10`.
    """

    dims: str = option("", "sizes by argument and axis: 'x.0=64;y.1=10'")
    batch: int = option(0, "size of the first axis of every argument where it is '?'; 0: leave it", least=0)
    entry: str = option("main", "the function whose arguments are bound")

    def run(self, module: Module) -> None:
        if not self.dims and not self.batch:
            return
        function = find_function(module, self.entry)
        sizes = _parse_dims(function, self.dims)
        types: list[Type] = []
        for arg in function.body.args:
            type = arg.type
            if isinstance(type, ShapedType):
                shape = list(type.shape)
                if self.batch and shape and shape[0] is None:
                    shape[0] = self.batch
                for axis, size in sizes.pop(arg, {}).items():
                    if axis >= len(shape):
                        raise DlirError(f"argument '%{argument_name(arg)}' ({type}) has no axis {axis}", arg.location)
                    shape[axis] = size
                type = type.with_shape(tuple(shape))
            types.append(type)
        self.stats["bound"] = bind_shapes(module, self.entry, types)


def bind_shapes(module: Module, entry: str, arg_types: Sequence[Type]) -> int:
    """Retype function `entry` for arguments of these types, and everything inside it; returns the number of new sizes.

    DlirError if a type does not fit its argument, if an op cannot have the shapes that follow (two dimensions that must
    be equal are not), or if all arguments are static and something inside still is not.
    """
    function = find_function(module, entry)
    args = function.body.args
    if len(args) != len(arg_types):
        raise DlirError(f"'@{entry}' takes {len(args)} arguments, got {len(arg_types)}", function.location)
    bound = 0
    for arg, type in zip(args, arg_types, strict=True):
        _check_fits(arg, type)
        bound += sum(old is not new for old, new in zip(_shape(arg.type), _shape(type), strict=True))
    if not bound:
        return 0
    for arg, type in zip(args, arg_types, strict=True):
        arg.type = type
    complete = all(_is_static(arg.type) for arg in args)
    for op in function.walk():
        if op is not function:
            _retype(op, function)
            _retype_control(op)
            if complete and not isinstance(op, scf.If | scf.While) and not all(map(_is_static, op.result_types)):
                raise _unknown_shape(op)
    function.update_type()
    for write in function_writes(function):
        write.verify_symbols(module.symbol)
    return bound


def argument_name(arg: BlockArgument) -> str:
    """What a caller names the argument: its attribute ``dlir.name``, else its name in the text."""
    function = arg.owner.parent_op
    given = function.arg_attributes(arg.index).get("dlir.name") if isinstance(function, Func) else None
    return given.value if given is not None else arg.name or f"arg{arg.index}"


def _parse_dims(function: Func, text: str) -> dict[BlockArgument, dict[int, int]]:
    """``"x.0=64;y.1=10"`` as sizes by argument and axis."""
    args = {argument_name(arg): arg for arg in function.body.args}
    found: dict[BlockArgument, dict[int, int]] = {}
    for word in filter(None, text.split(";")):
        place, _, size = word.partition("=")
        name, _, axis = place.rpartition(".")
        if not (axis.isdecimal() and size.isdecimal()):
            raise DlirError(f"bind-shapes cannot read '{word}'", hint="write argument.axis=size, as in 'x.0=64'")
        if name not in args:
            hint = did_you_mean(name, args) or f"arguments: {', '.join(args) or 'none'}"
            raise DlirError(f"'@{function.symbol}' has no argument '{name}'", function.location, hint=hint)
        found.setdefault(args[name], {})[int(axis)] = int(size)
    return found


def _shape(type: Type) -> tuple[int | None, ...]:
    return type.shape if isinstance(type, ShapedType) else ()


def _is_static(type: Type) -> bool:
    return None not in _shape(type)


def _check_fits(arg: BlockArgument, type: Type) -> None:
    """Check that argument `arg` may become `type`: the same but for dimensions that are unknown now."""
    old = arg.type
    where = f"argument '%{argument_name(arg)}' ({old}) cannot be {type}"
    if isinstance(old, ShapedType) and isinstance(type, ShapedType) and len(old.shape) == len(type.shape):
        for axis, (declared, given) in enumerate(zip(old.shape, type.shape, strict=True)):
            if declared is not None and declared != given:
                raise DlirError(f"{where}: its axis {axis} is {declared}", arg.location)
        if old.with_shape(type.shape) is type:
            return
    elif old is type:
        return
    raise DlirError(where, arg.location)


def _retype(op: Operation, function: Func) -> None:
    """Infer the result types of `op` again from its operands."""
    if not isinstance(op, Op) or not op.schema().infers or not op.results:
        return
    try:
        inferred = op.infer_types(op.groups, op.keywords)
    except InferError as error:
        args = ", ".join(f"%{argument_name(arg)}: {arg.type}" for arg in function.body.args)
        note = Note(f"'@{function.symbol}' is bound to ({args})", function.location)
        hint = error.diagnostics[0].hint
        raise DlirError(f"'{op.name}' {error.message}", op.location, notes=[note], hint=hint) from None
    for result, type in zip(op.results, inferred, strict=True):
        result.type = type
    if op.name == "nd.broadcast_to" and _is_static(inferred[0]):
        # The sizes that were to be read from `like` at run time are known now.
        op.set_operands(op.operands[:1])
        op.set("shape", _shape(inferred[0]))


def _retype_control(op: Operation) -> None:
    """Hand the new types on: into the bodies of loops, and from the ends of bodies to results.

    Outer ops come before inner ones here, so what an op with regions gives is known when its first body ends.
    """
    if isinstance(op, scf.For):
        _set_types(op.carried, [value.type for value in op.inits])
    elif isinstance(op, scf.While):
        _set_types(op.regions[0].block.args, op.operand_types)
    elif op.name == "scf.condition" and op.parent_op is not None:
        _set_types(op.parent_op.results, op.operand_types[1:])
        _set_types(op.parent_op.regions[1].block.args, op.operand_types[1:])
    elif op.name == "scf.yield" and isinstance(op.parent_op, scf.If):
        _set_types(op.parent_op.results, op.operand_types)


def _set_types(values: Sequence[Value], types: Sequence[Type]) -> None:
    for value, type in zip(values, types, strict=True):
        value.type = type


def _unknown_shape(op: Operation) -> DlirError:
    dynamic = next(type for type in op.result_types if not _is_static(type))
    hint = "run 'inline' before 'bind-shapes'" if op.name == "func.call" else None
    message = f"'{op.name}' gives {dynamic}, and its shape does not follow from the arguments"
    return DlirError(message, op.location, hint=hint)
