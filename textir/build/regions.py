"""Actions for regions, blocks and the names of values."""

from __future__ import annotations

import re
from typing import Any

from dlir.ir.builder import InsertionPoint
from dlir.ir.core import Block, BlockArgument, Operation, Region, Value
from dlir.ir.errors import Note, did_you_mean
from dlir.ir.location import Location
from dlir.ir.types import Type
from dlir.textir.build.attributes import AttributeActions
from dlir.textir.build.base import Token
from dlir.textir.build.locations import PendingLoc
from dlir.textir.build.scope import ForwardValue, Frame
from dlir.textir.build.types import POISON
from dlir.textir.source import Source, TextLoc

_NAMES = re.compile(r"%([\w$.#-]++)", re.ASCII).findall
_NAME_OR_COMMENT = re.compile(r"//[^\n]*|%([\w$.-]++(?:#\d++)?)", re.ASCII)
#: A block argument as it is read: its name, type and location.
Argument = tuple[Token, Type, Location | None]


class RegionActions(AttributeActions):
    """Actions of the rules under ``region``, and the scopes of names."""

    def __init__(self, source: Source, point: InsertionPoint) -> None:
        super().__init__(source)
        #: Where ops go; `Op.prepare` inserts there too.
        self.point = point
        self.frame = Frame(None, is_isolated=True, is_graph=True, is_symbol_table=True)
        self.frames = [self.frame]
        #: The ops whose regions are being read, outermost first.
        self.heads: list[Any] = []
        #: Arguments for the entry block of the next region, from a function's head.
        self.entry_arguments: list[Argument] = []
        point.block = self.frame.entry

    # ------------------------------------------------------------ uses

    def VALUES(self, text: str, start: int) -> tuple[list[Value], int]:
        values = self.frame.values
        try:
            return [values[name] for name in _NAMES(text)], start
        except KeyError:
            return [self._value(match[1], start + match.start()) for match in _NAME_OR_COMMENT.finditer(text)], start

    OPERANDS = VALUES

    def values(self, tokens: list[Token]) -> tuple[list[Value], int]:
        return [self._value(text[1:], start) for text, start in tokens], tokens[0][1]

    def operands(self, paren: Token, values: list[Token] | None) -> tuple[list[Value], int]:
        return self.values(values) if values else ([], paren[1])

    def _value(self, name: str, start: int) -> Value:
        found = self.frame.values.get(name)
        if found is None:
            found = self.frame.missing(name, start)
        if found is None:
            base = name.partition("#")[0]
            count = sum(key.startswith(base + "#") for key in self.frame.values) or 1
            message = f"'%{base}' has {count} result{'s' * (count != 1)}, numbered from 0"
            self.token_error(("%" + name, start), message)
            return _poisoned(name)
        return found

    # ------------------------------------------------------------ definitions

    def define(self, name: str, value: Value, start: int, hint: str | None = None) -> None:
        """Make `value` visible as `name`; `start` is where its definition starts."""
        frame = self.frame
        if name in frame.values:
            self._defined_twice(name, start)
            return
        frame.values[name] = value
        frame.order.append(name)
        if not name[0].isdigit():
            value.name = hint or name
        if frame.forward is not None:
            forward = frame.forward.pop(name, None)
            if forward is not None:
                self._resolve(forward, value, start)

    def _defined_twice(self, name: str, start: int) -> None:
        end = self.source.text.find("%" + name, start)
        place = (("%" + name), max(end, start))
        notes = self.definition_notes(self.frame.values[name], name)
        self.token_error(place, f"'%{name}' is defined twice", notes=notes)

    def _resolve(self, forward: ForwardValue, value: Value, start: int) -> None:
        """Replace what stood for `value` before its definition."""
        if forward.type is not None and forward.type is not value.type and POISON not in (forward.type, value.type):
            note = Note("it was used here", self.source.location(forward.offset))
            message = f"'%{forward.name}' has type {value.type}, but an earlier use takes it as {forward.type}"
            self.token_error(("%" + str(forward.name), start), message, notes=[note])
        elif forward.wants_type or (not self.frame.is_graph and self._is_early(forward, value)):
            note = Note("it is defined here", self.source.location(start))
            is_early = self._is_early(forward, value) and not self.frame.is_graph
            hint = None if is_early else "write the full type of the op, ': (operand types) -> result types'"
            self._use_error(forward, f"'%{forward.name}' is used before it is defined", [note], hint)
        forward.replace_by(value)

    def _is_early(self, forward: ForwardValue, value: Value) -> bool:
        """Whether a use stands before the definition in the same block, itself or the op that it is nested in."""
        block = value.parent_block
        for use in forward.uses:
            owner: Operation | None = use.owner
            while owner is not None and owner.parent is not block:
                owner = owner.parent_op
            if owner is not None:
                return True
        return False

    def _use_error(self, forward: ForwardValue, message: str, notes: list[Note], hint: str | None = None) -> None:
        self._reported = len(self.diagnostics)
        self.token_error(("%" + str(forward.name), forward.offset), message, notes=notes, hint=hint)

    def definition_notes(self, value: Value, name: str | None = None) -> list[Note]:
        """Where `value` is defined, if that is a place in this text."""
        location = value.location if isinstance(value, BlockArgument) else getattr(value.owner, "location", None)
        if not isinstance(location, TextLoc):
            return []
        return [Note("it is defined here" if name is None else "the first definition is here", location)]

    def symbol(self, name: str) -> Operation | None:
        """The op that defines symbol `name`, if it stands before this place."""
        for frame in reversed(self.frames):
            if frame.symbols is not None and name in frame.symbols:
                return frame.symbols[name]
        return None

    def symbol_hint(self, name: str) -> str | None:
        """A symbol defined before this place that `name` may have been meant for."""
        return did_you_mean("@" + name, ["@" + known for frame in self.frames for known in frame.symbols or ()])

    # ------------------------------------------------------------ regions

    def region_open(self, brace: Token) -> None:
        self._reported = len(self.diagnostics)
        head = self.heads[-1]
        cls = head.info.cls
        is_graph = not cls.is_registered or cls.is_graph
        is_symbol_table = cls.is_registered and cls.is_symbol_table
        frame = Frame(self.frame, cls.is_isolated, is_graph, is_symbol_table)
        self.frames.append(frame)
        self.frame = frame
        self.point.block = frame.entry
        if self.entry_arguments:
            if not all(name[0] for name, _, _ in self.entry_arguments):
                hint = "write each as in %x: tensor<4xf32>"
                self.token_error(head.name, "the arguments of a function with a body have names", hint=hint)
            self._add_arguments(frame.entry, self.entry_arguments)
            self.entry_arguments = []
        frame.region.append(frame.entry)

    def region(self, opened: None, ops: Any, blocks: Any) -> Region:
        frame = self.frames.pop()
        region = frame.region
        entry = frame.entry
        if entry.first is None and not entry.args:
            # Nothing stands before the first label, which is the entry then.
            region.blocks.pop(0)
        self._check_blocks(frame)
        outer = self.frames[-1]
        if frame.forward:
            self._pass_on(frame, outer)
        frame.leave()
        self.frame = outer
        self.point.block = outer.region.blocks[-1] if outer.region.blocks else outer.entry
        return region

    def _pass_on(self, frame: Frame, outer: Frame) -> None:
        """Leave values that are still undefined to the region around; at the end of an isolated op they are mistakes."""
        assert frame.forward is not None
        if frame.is_isolated:
            for name, forward in frame.forward.items():
                self._undefined(name, forward, frame)
            return
        if outer.forward is None:
            outer.forward = {}
        for name, forward in frame.forward.items():
            earlier = outer.forward.setdefault(name, forward)
            if earlier is not forward:
                earlier.type = earlier.type or forward.type
                forward.replace_by(earlier)

    def _undefined(self, name: str, forward: ForwardValue, frame: Frame) -> None:
        outer = next((f for f in reversed(self.frames) if name in f.values and f is not frame), None)
        if outer is not None:
            message = f"'%{name}' is defined outside an op that is isolated from above"
            advice = "pass it as an operand, and use the block's argument for it"
            self._use_error(forward, message, self.definition_notes(outer.values[name]), advice)
            return
        if f"%{name}" in self.passed_over or "%" in self.passed_over:
            return
        hint = did_you_mean(name, frame.values)
        if hint is not None:
            hint = hint.replace("'", "'%", 1)
        self._use_error(forward, f"'%{name}' is not defined", self._other_definition(name, forward.offset), hint)

    def _other_definition(self, name: str, used_at: int) -> list[Note]:
        """A value called `name` that is not visible at the use, found in the text; only for the first few mistakes."""
        if len(self.diagnostics) > 20:
            return []
        defined = re.compile(rf"(?<![\w$])%{re.escape(name)}(?:\s*=(?!=)|:(?=\s))", re.ASCII)
        found = defined.search(self.source.text, 0, used_at)
        if (
            found is None
            or "//" in self.source.text[self.source.text.rfind("\n", 0, found.start()) + 1 : found.start()]
        ):
            return []
        message = f"a '%{name}' is defined here, in a region that has ended before the use"
        return [Note(message, self.source.location(found.start(), found.start() + len(name) + 1))]

    def _check_blocks(self, frame: Frame) -> None:
        for name, (block, start) in (frame.blocks or {}).items():
            if block.parent is None and f"^{name}" not in self.passed_over:
                hint = did_you_mean("^" + name, ["^" + n for n, (b, _) in (frame.blocks or {}).items() if b.parent])
                self._reported = len(self.diagnostics)
                self.token_error(("^" + name, start), f"block '^{name}' is not defined", hint=hint)

    # ------------------------------------------------------------ blocks

    def label(self, name: Token, arguments: list[Argument] | None) -> None:
        frame = self.frame
        block = frame.block(name[0][1:], name[1])
        if block.parent is not None:
            note = Note("the first definition is here", self.source.location(frame.blocks[name[0][1:]][1]))  # type: ignore[index]
            self.token_error(name, f"block '{name[0]}' is defined twice", notes=[note])
            block = Block()
        else:
            frame.blocks[name[0][1:]] = (block, name[1])  # type: ignore[index]
        if not re.fullmatch(r"\^bb\d+", name[0]):
            block.name = name[0][1:]
        entry = frame.entry
        if arguments and entry.args and entry.first is None and len(frame.region.blocks) == 1:
            hint = "leave this label out, and use those arguments"
            self.token_error(name, "the function's head already names the arguments of its first block", hint=hint)
        frame.region.append(block)
        self.point.block = block
        if arguments:
            self._add_arguments(block, arguments)

    def block_arg(self, name: Token, type: Type, location: Location | None) -> Argument:
        return name, type, location

    def _add_arguments(self, block: Block, arguments: list[Argument]) -> None:
        for name, type, location in arguments:
            place = TextLoc(self.source, name[1]) if location is None else location
            argument = block.add_arg(type, None, place)
            if place.__class__ is PendingLoc:
                self.pending_locations.append(argument)
            if name[0]:
                self.define(name[0][1:], argument, name[1])

    def successors(self, tokens: list[Token] | None) -> list[Block]:
        return [self.frame.block(text[1:], start) for text, start in tokens or ()]

    # ------------------------------------------------------------ places

    def _operand_places(self, start: int) -> Any:
        """The ``%names`` from `start` on."""
        return (match for match in _NAME_OR_COMMENT.finditer(self.source.text, start) if match[1])

    def operand_name(self, start: int, index: int) -> str | None:
        """What operand number `index` of the op whose operands stand at `start` is called."""
        return next((match[1] for at, match in enumerate(self._operand_places(start)) if at == index), None)

    def operand_error(
        self, start: int, index: int, message: str, *, notes: list[Note] | None = None, hint: str | None = None
    ) -> None:
        """Report a mistake at operand number `index` of the op whose operands stand at `start`."""
        for position, match in enumerate(self._operand_places(start)):
            if position == index:
                self.error(match.start(), match.end(), message, notes=notes or [], hint=hint)
                return

    def operands_range(self, start: int, count: int) -> tuple[int, int]:
        """From the first to the last operand of the op whose `count` operands stand at `start`."""
        places = [match.span() for _, match in zip(range(count), self._operand_places(start))]
        return (places[0][0], places[-1][1]) if places else (start, start + 1)


def _poisoned(name: str) -> Value:
    value = ForwardValue(name, 0)
    value.type = POISON
    return value
