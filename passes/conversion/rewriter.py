"""What a conversion does to the module, in steps that can be taken back until all has succeeded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dlir.ir.builder import after, at_end, at_start, before
from dlir.ir.core import Block, BlockArgument, Operation, OpResult, Region, Use, Value
from dlir.ir.dialects.builtin import UnrealizedConversionCast
from dlir.ir.errors import DlirError
from dlir.passes.conversion.casts import reconcile_unrealized_casts
from dlir.passes.conversion.pattern import Answer, ConversionPattern, NoMatch
from dlir.passes.conversion.types import TypeConverter, cast


class ConversionRewriter:
    """Handed to patterns, for what is more than making ops just before the one in hand.

    An op that is replaced stays where it is, and its results keep their uses, until `commit`; `mapping` says what its results
    have become.
    """

    def __init__(self) -> None:
        self.mapping: dict[Value, Value] = {}
        self.replaced: dict[Operation, None] = {}
        #: Casts that stand in for the conversion of an operand's definition.
        self.casts: dict[Operation, None] = {}
        self._converters: dict[Value, TypeConverter | None] = {}
        self._signatures: dict[Block, list[BlockArgument]] = {}
        self._log: list[Callable[[], None]] = []
        self._elsewhere: list[Operation] = []

    # ------------------------------------------------------------ for patterns

    def modify(self, op: Operation) -> None:
        """Say that `op` is about to be changed in place: its attributes, operands or successors."""
        attributes, operands, successors = dict(op.attributes), op.operands, op.successors

        def undo() -> None:
            op.attributes, op.successors = attributes, successors
            op.set_operands(operands)

        self._log.append(undo)

    def take_regions(self, op: Operation) -> tuple[Region, ...]:
        """The regions of `op`, for a new op to hold; the ops in them are converted as well."""
        regions, op.regions = op.regions, ()

        def undo() -> None:
            for region in regions:
                if region.parent is not None and region.parent is not op:
                    region.parent.regions = tuple(r for r in region.parent.regions if r is not region)
                region.parent = op
            op.regions = regions

        self._log.append(undo)
        return regions

    def convert_signature(self, block: Block, converter: TypeConverter) -> NoMatch | None:
        """Give the arguments of `block` their new types; NoMatch if one has none."""
        order: list[BlockArgument] = []
        types = converter.convert_all(arg.type for arg in block.args)
        if types is None:
            return NoMatch("a block argument has a type that cannot be converted")
        old_args = list(block.args)
        for old, type in zip(old_args, types):
            if old.type is type:
                order.append(old)
                continue
            new = block.add_arg(type, old.name, old.location)
            order.append(new)
            self._map(old, new, converter)
        self._signatures[block] = order

        def undo() -> None:
            del self._signatures[block]
            block.args = old_args

        self._log.append(undo)
        return None

    @contextmanager
    def at_end(self, block: Block) -> Iterator[None]:
        """Make ops at the end of `block` instead of before the op in hand."""
        last = block.last
        try:
            with at_end(block):
                yield
        finally:
            self._elsewhere += _ops_between(last, None, block)

    # ------------------------------------------------------------ for the driver

    def attempt(self, pattern: ConversionPattern, op: Operation) -> tuple[Answer, list[Operation]]:
        """Let `pattern` convert `op`; what it answered, and the ops that it made.  Without a match all is as it was."""
        mark, previous = len(self._log), op.previous
        self._elsewhere = []
        made: list[Operation] = []
        try:
            with before(op):
                operands = self._operands(op, pattern.converter)
                answer = operands if isinstance(operands, NoMatch) else pattern.apply(op, operands, self)
        finally:
            made += [*_ops_between(previous, op, op.parent), *self._elsewhere]
            # In front of what the pattern did beside: that is taken back first.
            self._log.insert(mark, lambda: _erase(made))
        if answer is None or isinstance(answer, NoMatch):
            self.roll_back(mark)
            return answer, []
        if isinstance(answer, Value | list | tuple):
            self._replace(op, [answer] if isinstance(answer, Value) else answer, pattern)
        return answer, [new for new in made if new not in self.casts]

    def is_gone(self, op: Operation) -> bool:
        """Whether `op` has been replaced, or stands in one that has."""
        outer: Operation | None = op
        while outer is not None:
            if outer in self.replaced:
                return True
            outer = outer.parent_op
        return False

    def current(self, value: Value) -> Value:
        """What has become of `value`."""
        while value in self.mapping:
            value = self.mapping[value]
        return value

    def unresolved(self) -> Iterator[tuple[Value, Use]]:
        """Uses where one side has another type than the other, and nothing but a cast could stand between."""
        for op in self.casts:
            use = next(iter(op._uses))
            if op.parent is not None and op.is_used and self.current(use.value).type is not op.results[0].type:
                yield use.value, next(iter(op.results[0].uses))
        for value in self.mapping:
            converter = self._converters.get(value)
            if self.current(value).type is value.type or (converter is not None and converter.has_source):
                continue
            for use in value.uses:
                if use.owner not in self.casts and not self.is_gone(use.owner):
                    yield value, use

    def roll_back(self, mark: int = 0) -> None:
        """Take back everything since the log had length `mark`."""
        while len(self._log) > mark:
            self._log.pop()()

    def commit(self, root: Operation) -> None:
        """Make the conversion final inside `root`."""
        for value in self.mapping:
            self._give_uses(value, self.current(value))
        for op in self.replaced:
            for inner in op.walk():
                inner.set_operands(())
        for op in self.replaced:
            op.erase()
        for block, order in self._signatures.items():
            block.args = order
            for index, arg in enumerate(order):
                arg.index = index
        if self.casts:
            reconcile_unrealized_casts(root)

    # ------------------------------------------------------------ parts

    def _operands(self, op: Operation, converter: TypeConverter | None) -> list[Value] | NoMatch:
        """The operands of `op` as they are now, in their new types if there is a converter."""
        operands: list[Value] = []
        converted: dict[Value, Value] = {}
        for number, value in enumerate(op.operands):
            found = self.current(value)
            if converter is not None:
                type = converter.convert(value.type)
                if type is None:
                    return NoMatch(f"operand {number} has type {value.type}, which cannot be converted")
                if found.type is not type:
                    if found not in converted:
                        converted[found] = converter.to_target(found, type)
                        self._note_cast(converted[found])
                    found = converted[found]
            operands.append(found)
        return operands

    def _replace(self, op: Operation, values: Sequence[Value], pattern: ConversionPattern) -> None:
        if len(values) != len(op.results):
            what = f"{len(values)} values for the {len(op.results)} results of '{op.name}'"
            raise DlirError(f"pattern '{pattern.name}' gives {what}", op.location)
        if any(value in op.results for value in values):
            raise DlirError(f"pattern '{pattern.name}' gives '{op.name}' back as its own replacement", op.location)
        self.replaced[op] = None
        self._log.append(lambda: self.replaced.__delitem__(op))
        for result, value in zip(op.results, values, strict=True):
            if value.name is None and isinstance(value, OpResult):
                value.name = result.name
            self._map(result, value, pattern.converter)

    def _map(self, old: Value, new: Value, converter: TypeConverter | None) -> None:
        self.mapping[old] = new
        self._converters[old] = converter
        self._log.append(lambda: self.mapping.__delitem__(old))

    def _note_cast(self, value: Value) -> None:
        if isinstance(value.defining_op, UnrealizedConversionCast):
            self.casts[value.defining_op] = None

    def _give_uses(self, old: Value, new: Value) -> None:
        """Give the uses of `old` to `new`, through a cast back to the old type where that differs."""
        if new.type is old.type:
            old.replace_by(new)
            return
        users = [use for use in old.uses if not self.is_gone(use.owner)]
        if not users:
            return
        converter = self._converters[old]
        definition = new.defining_op
        with at_start(new.owner) if definition is None else after(definition):
            back = cast(new, old.type) if converter is None else converter.to_source(new, old.type)
        self._note_cast(back)
        for use in users:
            if use.owner is not back.defining_op:
                use.set(back)


def _ops_between(first: Operation | None, last: Operation | None, block: Block | None) -> list[Operation]:
    """The ops of `block` behind `first` and before `last`; None is the block's end."""
    assert block is not None
    op = block.first if first is None else first.next
    found = []
    while op is not None and op is not last:
        found.append(op)
        op = op.next
    return found


def _erase(ops: Sequence[Operation]) -> None:
    for op in reversed(ops):
        op.erase()
