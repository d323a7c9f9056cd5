"""What a conversion does to the module, in steps that can be taken back until all has succeeded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from dlir.ir.builder import InsertionPoint, insertion_point
from dlir.ir.core import Block, BlockArgument, Operation, Region, Use, Value
from dlir.ir.dialects.builtin import UnrealizedConversionCast
from dlir.ir.errors import DlirError, count
from dlir.passes.conversion.casts import reconcile_casts
from dlir.passes.conversion.pattern import Answer, ConversionPattern, NoMatch
from dlir.passes.conversion.signature import SignatureConversion
from dlir.passes.conversion.types import TypeConverter

#: What a pattern answers that gives something for an op's results.
_VALUES = (Value, list, tuple)


class ConversionRewriter:
    """Handed to patterns, for what is more than making ops with the builders.

    An op that is replaced stays where it is, and its results keep their uses, until `commit`; `mapping` says what its results
    have become.  So that all can be taken back, ops must be put in place by the builders (or `insert`), and what stood in
    the module before is changed through this class only.
    """

    def __init__(self) -> None:
        self.mapping: dict[Value, tuple[Value, ...]] = {}
        self.replaced: dict[Operation, None] = {}
        #: Casts that stand in for the conversion of an operand's definition, and for that of a user.
        self._casts: dict[Operation, None] = {}
        self._backs: dict[Value, Value] = {}
        self._converters: dict[Value, TypeConverter | None] = {}
        self._signatures: dict[Block, list[BlockArgument]] = {}
        self._log: list[Callable[[], None]] = []
        #: Ops that stood in regions which were taken: no pattern made them.
        self.kept: dict[Operation, None] = {}

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
        self.kept.update((inner, None) for region in regions for block in region.blocks for inner in block.ops)

        def undo() -> None:
            for region in regions:
                if region.parent is not None and region.parent is not op:
                    region.parent.regions = tuple(r for r in region.parent.regions if r is not region)
                region.parent = op
            op.regions = regions

        self._log.append(undo)
        return regions

    def apply_signature_conversion(
        self, block: Block, signature: SignatureConversion, converter: TypeConverter | None = None
    ) -> list[BlockArgument]:
        """Give `block` the arguments that `signature` says, and return them.

        `converter` goes back to the old types where an op that uses an old argument is not converted.
        """
        old_args = list(block.args)
        new: list[BlockArgument | None] = [None] * len(signature.converted_types)
        for number, old in enumerate(old_args):
            if number in signature.replacements:
                self._map(old, [signature.replacements[number]], converter)
                continue
            places = signature.get_input_mapping(number)
            types = [signature.converted_types[place] for place in places]
            if types == [old.type]:
                new[places[0]] = old
                continue
            for part, (place, type) in enumerate(zip(places, types)):
                name = f"{old.name}_{part}" if old.name and len(types) > 1 else old.name
                new[place] = block.add_arg(type, name, old.location)
            self._map(old, [arg for place in places if (arg := new[place]) is not None], converter)
        args = [arg or block.add_arg(type) for arg, type in zip(new, signature.converted_types)]
        self._signatures[block] = args

        def undo() -> None:
            del self._signatures[block]
            block.args = old_args

        self._log.append(undo)
        return args

    # ------------------------------------------------------------ for the driver

    def attempt(self, pattern: ConversionPattern, op: Operation) -> tuple[Answer, list[Operation]]:
        """Let `pattern` convert `op`; what it answered, and the ops that it made.  Without a match all is as it was."""
        mark = len(self._log)
        made: list[Operation] = []
        # An op without a block (the module) can be changed, but not replaced: there is no place before it.
        block, place = (Block(), None) if op.parent is None else (op.parent, op)
        try:
            with insertion_point(InsertionPoint(block, place, op.location, made.append)):
                operands = self._operands(op, pattern)
                answer = operands if isinstance(operands, NoMatch) else pattern.apply(op, operands, self)
        finally:
            # In front of what the pattern did beside: that is taken back first.
            self._log.insert(mark, lambda: _erase(made))
        if op.parent is None and isinstance(answer, _VALUES):
            answer = NoMatch("it stands in no block, and can only be changed where it is")
        if answer is None or isinstance(answer, NoMatch):
            self.roll_back(mark)
            return answer, []
        inside = dict.fromkeys(made)
        if isinstance(answer, _VALUES):
            self._replace(op, [answer] if isinstance(answer, Value) else answer, pattern, inside)
        # What stands in the module, but in none of the others; casts must not be converted.
        top = [new for new in made if new.parent_op not in inside and new not in self._casts]
        return answer, [new for new in top if new.parent is op.parent or _root(new) is _root(op)]

    def is_gone(self, op: Operation) -> bool:
        """Whether `op` has been replaced, or stands in one that has."""
        outer: Operation | None = op
        replaced = self.replaced
        while outer is not None:
            if outer in replaced:
                return True
            # As `parent_op`, without the price of a call: this runs for every op and every use.
            block = outer.parent
            outer = None if block is None or block.parent is None else block.parent.parent
        return False

    def current(self, value: Value) -> tuple[Value, ...]:
        """What has become of `value`."""
        found = self.mapping.get(value)
        if found is None:
            return (value,)
        while any(part in self.mapping for part in found):
            found = tuple([new for part in found for new in self.mapping.get(part, (part,))])
        return found

    def materialize(self) -> list[Operation]:
        """Make what stands between old types and new ones; the ops that were made.

        A cast of an operand whose definition was converted after all is gone.
        """
        for op in self._casts:
            values = tuple([new for value in op.operands for new in self.current(value)])
            if _types(values) == op.result_types:
                self._note_replaced(op)
                for result, value in zip(op.results, values, strict=True):
                    self._map(result, [value], None)
        made: list[Operation] = []
        self._log.append(lambda: _erase(made))
        for value in list(self.mapping):
            if next(self._live_uses(value), None) is None:
                continue
            new = self.current(value)
            if _types(new) != (value.type,):
                self._backs[value] = self._back(value, new, made)
                self._log.append(lambda old=value: self._backs.__delitem__(old))  # type: ignore[misc]
        return [op for op in made if not isinstance(op, UnrealizedConversionCast)]

    def left_casts(self) -> Iterator[tuple[tuple[Value, ...], Use]]:
        """The uses for which a cast must stay, with the values that would have to be of the type that is needed there."""
        for op in self._casts:
            if not self.is_gone(op):
                values = tuple([new for value in op.operands for new in self.current(value)])
                yield from ((values, use) for result in op.results for use in self._live_uses(result))
        for value, back in self._backs.items():
            if isinstance(back.defining_op, UnrealizedConversionCast):
                uses = (use for use in self._live_uses(value) if use.owner not in self._casts)
                yield from ((self.current(value), use) for use in uses)

    def roll_back(self, mark: int = 0) -> None:
        """Take back everything since the log had length `mark`."""
        while len(self._log) > mark:
            self._log.pop()()

    def commit(self) -> None:
        """Make the conversion final.  Nothing here can fail."""
        for value in self.mapping:
            if value.is_used:
                back = self._backs.get(value)
                new = self.current(value)
                if back is None and _types(new) == (value.type,):
                    (back,) = new
                for use in value.uses:
                    if back is not None and not self.is_gone(use.owner):
                        use.set(back)
        for op in self.replaced:
            _drop_uses(op)
        for op in self.replaced:
            op.erase()
        for block, args in self._signatures.items():
            block.args = list(args)
            for index, arg in enumerate(args):
                arg.index = index
        backs = [back.defining_op for back in self._backs.values()]
        reconcile_casts([op for op in (*self._casts, *backs) if op is not None and op.parent is not None])

    # ------------------------------------------------------------ parts

    def _operands(self, op: Operation, pattern: ConversionPattern) -> list[Value] | list[tuple[Value, ...]] | NoMatch:
        """The operands of `op` as they are now, in their new types if the pattern has a converter."""
        groups: list[tuple[Value, ...]] = []
        made: dict[Value, tuple[Value, ...]] = {}
        converter = pattern.converter
        for number, value in enumerate(op.operands):
            found = self.current(value)
            if converter is not None:
                types = converter.types_for(value.type)
                if types is None:
                    return NoMatch(f"operand {number} has type {value.type}, which cannot be converted")
                if _types(found) != types:
                    if value not in made:
                        made[value] = converter.materialize_target(types, found)
                        self._note_cast(made[value])
                    found = made[value]
            groups.append(found)
            if len(found) != 1 and not pattern.one_to_n:
                return NoMatch(f"operand {number} became {count(len(found), 'value')}, and it takes one")
        return groups if pattern.one_to_n else [value for (value,) in groups]

    def _replace(
        self,
        op: Operation,
        answer: Sequence[Value | Sequence[Value]],
        pattern: ConversionPattern,
        made: Mapping[Operation, None],
    ) -> None:
        if len(answer) != len(op.results):
            what = f"{len(answer)} values for the {len(op.results)} results of '{op.name}'"
            raise DlirError(f"pattern '{pattern.name}' gives {what}", op.location)
        groups = [[item] if isinstance(item, Value) else list(item) for item in answer]
        if any(value in op.results for values in groups for value in values):
            raise DlirError(f"pattern '{pattern.name}' gives '{op.name}' back as its own replacement", op.location)
        self._note_replaced(op)
        for result, values in zip(op.results, groups, strict=True):
            if len(values) == 1 and values[0].name is None and values[0].defining_op in made:
                values[0].name = result.name
            self._map(result, values, pattern.converter)

    def _note_replaced(self, op: Operation) -> None:
        self.replaced[op] = None
        self._log.append(lambda: self.replaced.__delitem__(op))

    def _map(self, old: Value, new: Sequence[Value], converter: TypeConverter | None) -> None:
        self.mapping[old] = tuple(new)
        self._converters[old] = converter
        self._log.append(lambda: self.mapping.__delitem__(old))

    def _note_cast(self, values: Sequence[Value]) -> None:
        for op in dict.fromkeys(value.defining_op for value in values):
            if isinstance(op, UnrealizedConversionCast):
                self._casts[op] = None
                self._log.append(lambda cast=op: self._casts.__delitem__(cast))  # type: ignore[misc]

    def _live_uses(self, value: Value) -> Iterator[Use]:
        return (use for use in value.uses if not self.is_gone(use.owner))

    def _back(self, value: Value, new: tuple[Value, ...], made: list[Operation]) -> Value:
        """`value`'s old type, of what it has become."""
        converter, step = self._converters[value], value
        while converter is None and self.mapping.get(step):
            step = self.mapping[step][0]
            converter = self._converters.get(step)
        converter = converter or TypeConverter()
        if isinstance(value, BlockArgument):
            point = InsertionPoint(value.owner, value.owner.first, value.location, made.append)
            make = converter.materialize_argument
        else:
            op = value.owner
            assert op.parent is not None
            point = InsertionPoint(op.parent, op, op.location, made.append)
            make = converter.materialize_source
        with insertion_point(point):
            return make(value.type, new)


def _types(values: Sequence[Value]) -> tuple[object, ...]:
    return tuple([value.type for value in values])


def _root(op: Operation) -> Operation:
    while (outer := op.parent_op) is not None:
        op = outer
    return op


def _drop_uses(op: Operation) -> None:
    for inner in op.walk():
        inner.set_operands(())


def _erase(ops: Sequence[Operation]) -> None:
    for op in ops:
        _drop_uses(op)
    for op in ops:
        op.detach()
