"""Finding what is not legal, and trying the patterns on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from dlir.ir.core import Operation, Value
from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.ir.location import UNKNOWN, Location
from dlir.ir.values import Use
from dlir.passes.conversion.pattern import MODIFIED, Answer, ConversionPattern, NoMatch
from dlir.passes.conversion.rewriter import ConversionRewriter
from dlir.passes.conversion.target import ConversionTarget

#: An op may be this many conversions away from one that stood in the module.
MAX_CHAIN = 64

#: One op, or several: they are converted themselves, and what stands in them.
Roots = Operation | Iterable[Operation]


def apply_partial_conversion(
    roots: Roots, target: ConversionTarget, patterns: Iterable[ConversionPattern]
) -> Counter[str]:
    """Convert what is illegal in `roots`, and what else the patterns take; returns how often each was used.

    Where an op that stays uses the old type of something that was converted, a cast is left.  DlirError if an illegal op
    stays; all is unchanged then.
    """
    return _Driver(roots, target, patterns, full=False).run()


def apply_full_conversion(
    roots: Roots, target: ConversionTarget, patterns: Iterable[ConversionPattern]
) -> Counter[str]:
    """Convert `roots` until all is legal, they and what stands in them; returns how often each pattern was used.

    DlirError if an op stays that is not legal, or a cast between an old type and a new one; all is unchanged then.
    """
    return _Driver(roots, target, patterns, full=True).run()


class _Driver:
    def __init__(
        self, roots: Roots, target: ConversionTarget, patterns: Iterable[ConversionPattern], full: bool
    ) -> None:
        self.roots = [roots] if isinstance(roots, Operation) else list(roots)
        self.target = target
        self.patterns = sorted(patterns, key=lambda item: -item.benefit)
        self.full = full
        self.rewriter = ConversionRewriter()
        self.fired: Counter[str] = Counter()
        self.failures: dict[Operation, Diagnostic] = {}
        #: Which pattern made an op, and from which one.
        self.origin: dict[Operation, tuple[ConversionPattern, Operation]] = {}
        self.by_op: dict[str, list[ConversionPattern]] = {}

    def run(self) -> Counter[str]:
        try:
            self._convert_all()
            if not self.failures:
                self._materialize()
            if self.failures:
                raise DlirError(self.failures.values())
        except BaseException:
            self.rewriter.roll_back()
            raise
        self.rewriter.commit()
        return self.fired

    def _convert_all(self) -> None:
        """Convert in program order, outer ops before inner ones; what is made of an op is converted right after it."""
        stack = self.roots[::-1]
        seen = dict.fromkeys(self.roots)  # a root in a root, and what was made in a place that is still to come
        while stack:
            op = stack.pop()
            if self.rewriter.is_gone(op):
                continue
            made = self._convert(op)
            seen.update(dict.fromkeys(made))
            stack += made[::-1]
            if op.regions and op not in self.rewriter.replaced and not self._is_closed(op):
                for region in reversed(op.regions):
                    for block in reversed(region.blocks):
                        stack += [inner for inner in block.reversed_ops if inner not in seen]

    def _is_closed(self, op: Operation) -> bool:
        """Whether nothing in `op` is looked at."""
        return self.target.is_recursively_legal(op) and self.target.is_legal(op) is True

    def _convert(self, op: Operation) -> list[Operation]:
        """Convert `op` unless it is legal; the ops that were made."""
        legal = self.target.is_legal(op)
        if legal:
            return []
        notes: list[Note] = []
        for pattern in self._patterns_for(op.name):
            answer, made = self.rewriter.attempt(pattern, op)
            if answer is None or isinstance(answer, NoMatch):
                reason = answer.reason if isinstance(answer, NoMatch) else "it did not match"
                notes.append(Note(f"pattern '{pattern.name}' was tried: {reason}", pattern.location))
                continue
            self._note_conversion(op, pattern, answer, made, notes)
            return made
        if legal is False or self.full:
            # The terminator of an op that stays goes with it.
            if notes or not op.is_terminator or op.parent_op not in self.failures:
                self._fail(op, notes or [Note("no pattern is for this op")])
        return []

    def _note_conversion(
        self, op: Operation, pattern: ConversionPattern, answer: Answer, made: list[Operation], notes: list[Note]
    ) -> None:
        self.fired[pattern.name] += 1
        for new in made:
            self.origin[new] = (pattern, op)
        if answer is MODIFIED and not self.target.is_legal(op):
            note = Note(f"pattern '{pattern.name}' changed it, but it is still not legal", pattern.location)
            self._fail(op, [*notes, note])
        self._check_chain(op, pattern)

    def _patterns_for(self, name: str) -> list[ConversionPattern]:
        if name not in self.by_op:
            self.by_op[name] = [item for item in self.patterns if not item.ops or name in item.ops]
        return self.by_op[name]

    def _materialize(self) -> None:
        """Make what stands between old types and new ones, and check that it may stand there."""
        for op in self.rewriter.materialize():
            legal = self.target.is_legal(op)
            if legal is False or (self.full and legal is None):
                self._fail(op, [Note("a materialization made it, between an old type and a new one")])
        if self.full:
            for values, use in self.rewriter.left_casts():
                self._fail_cast(values, use)

    # ------------------------------------------------------------ failures

    def _fail(self, op: Operation, notes: list[Note]) -> None:
        made_by = self._origin(op)
        if made_by is not None:
            pattern, source = made_by
            notes = [*notes, Note(f"pattern '{pattern.name}' made it from this '{source.name}'", source.location)]
        message = f"'{op.name}' stayed illegal: {self.target.why_not(op)}"
        self.failures[op] = Diagnostic(message, self._place(op), notes=notes)

    def _fail_cast(self, values: Sequence[Value], use: Use) -> None:
        op = use.owner
        if not values:
            now, note = "is gone", Note("a pattern gave nothing for it")
        elif (definition := values[0].defining_op) is not None:
            now, note = _is(values), Note(f"the value comes from this '{definition.name}'", self._place(definition))
        else:
            now, note = _is(values), Note("the value is a block argument", getattr(values[0], "location", UNKNOWN))
        message = (
            f"'{op.name}' needs {use.value.type} as its operand {use.index}, and the value {now}: "
            "only one side was converted"
        )
        self.failures.setdefault(op, Diagnostic(message, self._place(op), notes=[note]))

    def _place(self, op: Operation) -> Location:
        """The place of `op`, or of what it was made from if it was given none."""
        made_by = self._origin(op) if op.location is UNKNOWN else None
        return op.location if made_by is None else self._place(made_by[1])

    def _origin(self, op: Operation) -> tuple[ConversionPattern, Operation] | None:
        """What made `op`, or the op that it stands in; None if it was there before."""
        outer: Operation | None = op
        while outer is not None and outer not in self.origin:
            outer = None if outer in self.rewriter.kept else outer.parent_op
        return None if outer is None else self.origin[outer]

    def _check_chain(self, op: Operation, pattern: ConversionPattern) -> None:
        """DlirError if `op` comes from too long a chain of conversions: they go round in circles."""
        names: dict[str, None] = {pattern.name: None}
        length = 0
        source = self._origin(op)
        while source is not None:
            length += 1
            if length > MAX_CHAIN:
                listed = " and ".join(f"'{name}'" for name in names)
                what = (
                    f"pattern {listed} makes what it converts"
                    if len(names) == 1
                    else f"patterns {listed} undo each other"
                )
                raise DlirError(f"the conversion does not end: {what}", op.location)
            names.setdefault(source[0].name, None)
            source = self._origin(source[1])


def _is(values: Sequence[Value]) -> str:
    listed = ", ".join(str(value.type) for value in values)
    return f"is {listed}" if len(values) == 1 else f"is ({listed})"
