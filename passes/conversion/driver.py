"""Finding what is not legal, and trying the patterns on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dlir.ir.core import Operation
from dlir.ir.errors import Diagnostic, DlirError, Note
from dlir.ir.location import UNKNOWN
from dlir.passes.conversion.pattern import MODIFIED, ConversionPattern, NoMatch
from dlir.passes.conversion.rewriter import ConversionRewriter
from dlir.passes.conversion.target import ConversionTarget

#: An op may be this many conversions away from one that stood in the module.
MAX_CHAIN = 64


def apply_partial_conversion(
    root: Operation, target: ConversionTarget, patterns: Iterable[ConversionPattern]
) -> Counter[str]:
    """Convert what is illegal inside `root`, and what else the patterns take; returns how often each was used.

    Where an op that stays uses the old type of something that was converted, a cast is left.  DlirError if an illegal op
    stays; `root` is unchanged then.
    """
    return _Driver(root, target, patterns, full=False).run()


def apply_full_conversion(
    root: Operation, target: ConversionTarget, patterns: Iterable[ConversionPattern]
) -> Counter[str]:
    """Convert everything inside `root` until all is legal; returns how often each pattern was used.

    DlirError if an op stays that is not legal, or a cast between an old type and a new one; `root` is unchanged then.
    """
    return _Driver(root, target, patterns, full=True).run()


class _Driver:
    def __init__(
        self, root: Operation, target: ConversionTarget, patterns: Iterable[ConversionPattern], full: bool
    ) -> None:
        self.root = root
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
            if self.full and not self.failures:
                self._check_casts()
            if self.failures:
                raise DlirError(self.failures.values())
        except BaseException:
            self.rewriter.roll_back()
            raise
        self.rewriter.commit(self.root)
        return self.fired

    def _convert_all(self) -> None:
        stack = [op for op in self.root.walk() if op is not self.root][::-1]
        while stack:
            op = stack.pop()
            if op not in self.failures and not self.rewriter.is_gone(op):
                made = self._convert(op)
                stack += [inner for new in made for inner in new.walk()][::-1]

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
            self.fired[pattern.name] += 1
            for new in made:
                self.origin[new] = (pattern, op)
            if answer is MODIFIED and not self.target.is_legal(op):
                note = Note(f"pattern '{pattern.name}' changed it, but it is still not legal", pattern.location)
                self._fail(op, [*notes, note])
            self._check_chain(op, pattern)
            return made
        if legal is False or self.full:
            self._fail(op, notes or [Note("no pattern is for this op")])
        return []

    def _patterns_for(self, name: str) -> list[ConversionPattern]:
        if name not in self.by_op:
            self.by_op[name] = [item for item in self.patterns if not item.ops or name in item.ops]
        return self.by_op[name]

    # ------------------------------------------------------------ failures

    def _fail(self, op: Operation, notes: list[Note]) -> None:
        made_by = self._origin(op)
        if made_by is not None:
            pattern, source = made_by
            notes = [*notes, Note(f"pattern '{pattern.name}' made it from this '{source.name}'", source.location)]
        message = f"'{op.name}' stayed illegal: {self.target.why_not(op)}"
        self.failures[op] = Diagnostic(message, op.location, notes=notes)

    def _origin(self, op: Operation) -> tuple[ConversionPattern, Operation] | None:
        """What made `op`, or the op that it stands in."""
        outer: Operation | None = op
        while outer is not None and outer not in self.origin:
            outer = outer.parent_op
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

    def _check_casts(self) -> None:
        for value, use in self.rewriter.unresolved():
            definition = value.defining_op
            note = (
                Note("the value is a block argument", getattr(value, "location", UNKNOWN))
                if definition is None
                else Note(f"the value comes from this '{definition.name}'", definition.location)
            )
            now = self.rewriter.current(value).type
            message = (
                f"'{use.owner.name}' needs {use.value.type} as its operand {use.index}, and the value is {now}: "
                "only one side was converted"
            )
            self.failures.setdefault(use.owner, Diagnostic(message, use.owner.location, notes=[note]))
