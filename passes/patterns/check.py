"""Whether a rule makes sense: every mistake that can be seen without running it, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlir.ir.errors import Diagnostic, did_you_mean
from dlir.ir.registry import DIALECTS, dialect_ops, find_op
from dlir.passes.patterns.conditions import WORDS, ConditionChecker, fits
from dlir.passes.patterns.schema import (
    ATTRIBUTE_KINDS,
    Misfit,
    encode,
    fit_operands,
    is_literal,
    literal,
    takes_numbers,
)
from dlir.passes.patterns.syntax import (
    Absent,
    Anything,
    App,
    Capture,
    Entry,
    Node,
    Number,
    Rest,
    Rule,
    Variable,
    walk,
)
from dlir.passes.patterns.vocabulary import STANCES
from dlir.textir.foreign import foreign_op
from dlir.textir.source import Source

#: A rule must not make ops of a level above its own.
LEVELS = {"nn": 1, "nd": 2, "kernel": 3, "memref": 4, "scf": 5, "arith": 5, "math": 5, "vector": 5, "gpu": 5}
LEVEL_NAMES = {1: "layers", 2: "arrays", 3: "kernels", 4: "buffers", 5: "loops"}


def check_rule(rule: Rule, source: Source) -> list[Diagnostic]:
    """The mistakes in one rule."""
    checker = _RuleChecker(rule, source)
    checker.run()
    return checker.problems


class _RuleChecker(ConditionChecker):
    def __init__(self, rule: Rule, source: Source) -> None:
        super().__init__(source)
        self.rule = rule
        #: Expressions that may use what stands behind them.
        self.deferred: list[Entry] = []
        self.bound_here: dict[str, Node] = {}

    def run(self) -> None:
        rule = self.rule
        self._match(rule.match, is_root=True)
        for entry in self.deferred:
            self.kind(entry.value)
        for condition in rule.where:
            self.condition(condition)
        for term in rule.rewrite:
            if isinstance(term, Rest | Absent):
                self.error(term, "a result needs a value")
            else:
                self._rewrite(term)
        self._head()
        if not self.problems:
            self._whole()

    # ------------------------------------------------------------ the match side

    def _match(self, app: App, is_root: bool = False) -> None:
        cls = self._op(app)
        if is_root and app.result is not None:
            self.error(app, "a rule matches a whole op: '#' is for its operands")
        for name in app.names:
            self._bind(name, app)
        if len(app.names) > 1 and not is_root:
            self.error(app, "only the op that the whole rule matches can name several results")
        for arg in self._fit(app, cls):
            match arg:
                case App():
                    self._match(arg)
                case Variable(name=name) if name == "_":
                    pass
                case Variable(name=name) if name in self.values:
                    self.used[f"%{name}"] = None
                case Variable(name=name):
                    self._bind(name, arg)
                case Number(name=str(name)):
                    self._bind(name, arg)
        if cls is not None:
            self._attributes(app, cls, is_match=True)

    def _bind(self, name: str, node: Node) -> None:
        if name == "_":
            self.error(node, "'%_' is for an operand that does not matter, and cannot be used as a name")
        elif name in self.values:
            self.error(node, f"'%{name}' is the name of something else already")
        self.values[name] = self.bound_here[f"%{name}"] = node

    def _fit(self, app: App, cls: Any) -> list[Any]:
        """The terms that are operands; all that are written if they do not fit."""
        if cls is None:
            return list(app.args)
        try:
            groups = fit_operands(app, cls.schema())
        except Misfit as misfit:
            self.misfit(misfit)
            return list(app.args)
        flat = [item for group in groups for item in (group if isinstance(group, tuple) else (group,))]
        return [item for item in flat if item is not None]

    # ------------------------------------------------------------ the rewrite side

    def _rewrite(self, term: Any) -> None:
        match term:
            case Variable(name=name):
                if name == "_":
                    self.error(term, "'%_' stands for nothing in particular, and cannot be used")
                else:
                    self.lookup(term, name, new=True)
            case Number(name=str()):
                self.error(term, "a number needs no name here")
            case App():
                self._rewrite_app(term)

    def _rewrite_app(self, app: App) -> None:
        cls = self._op(app)
        if cls is not None:
            if not _is_pure(cls):
                self.error(app, f"'{app.op}' does more than compute its results: a rule cannot make it")
            for arg in self._fit(app, cls):
                if isinstance(arg, Rest):
                    self.error(arg, "'...' can only be matched")
                elif isinstance(arg, Number) and not takes_numbers(cls):
                    self.error(arg, f"'{app.op}' does not take numbers for its operands")
                else:
                    self._rewrite(arg)
            self._attributes(app, cls, is_match=False)
        for name in app.names:
            if name in self.values or name in self.made:
                self.error(app, f"'%{name}' is the name of something else already")
            self.made[name] = app

    # ------------------------------------------------------------ both

    def _op(self, app: App) -> Any:
        cls = find_op(app.op)
        dialect = app.op.partition(".")[0]
        if cls is None:
            if DIALECTS.find(dialect) is None:
                self.error(app, f"unknown dialect '{dialect}'", did_you_mean(dialect, DIALECTS), length=len(dialect))
            else:
                hint = foreign_op(app.op) or did_you_mean(app.op, dialect_ops(dialect))
                self.error(app, f"unknown op '{app.op}'", hint, length=len(app.op))
        elif cls.schema().regions or cls.is_terminator:
            self.error(app, f"'{app.op}' cannot stand in a rule: it has regions or ends a block", length=len(app.op))
            return None
        return cls

    def _attributes(self, app: App, cls: Any, is_match: bool) -> None:
        specs = cls.schema().attributes
        given: dict[str, None] = {}
        for entry in app.attributes:
            if entry.name not in specs:
                hint = did_you_mean(entry.name, specs) or (f"it has {', '.join(specs)}" if specs else None)
                self.error(entry, f"'{app.op}' has no attribute '{entry.name}'", hint)
                continue
            if entry.name in given:
                self.error(entry, f"attribute '{entry.name}' is given twice")
            given[entry.name] = None
            self._attribute(entry, specs[entry.name], is_match)
        for name, spec in specs.items():
            if spec.required and name not in given:
                hint = f"write {{{name} = _}} if any will do, or {{{name} = $x}} to use it" if is_match else None
                self.error(app, f"'{app.op}' needs attribute '{name}' ({spec.kind})", hint)

    def _attribute(self, entry: Entry, spec: Any, is_match: bool) -> None:
        value = entry.value
        wanted = ATTRIBUTE_KINDS.get(spec.kind, "any")
        if isinstance(value, Anything):
            if not is_match:
                self.error(value, "'_' can only be matched")
        elif isinstance(value, Capture) and is_match and value.name not in self.captures:
            self.captures[value.name] = wanted
            self.bound_here[f"${value.name}"] = value
        elif is_literal(value):
            try:
                encode(spec, literal(value), value)
            except Misfit as misfit:
                self.misfit(misfit)
        elif is_match and not isinstance(value, Capture):
            self.deferred.append(entry)
        else:
            found = self.kind(value)
            if found is not None and not fits(found, wanted):
                self.error(value, f"attribute '{entry.name}' must be {spec.kind}, and this is {WORDS[found]}")

    # ------------------------------------------------------------ the rule as a whole

    def _head(self) -> None:
        rule = self.rule
        for name in rule.ignores:
            if name not in STANCES:
                hint = did_you_mean(name, STANCES) or f"a rule may ignore {', '.join(STANCES)}"
                self.error(self._word("ignores", name), f"a rule cannot ignore '{name}'", hint)
        if not isinstance(rule.benefit, int) or rule.benefit < 1:
            self.error(self._word("benefit", ""), "a benefit is a whole number from 1 on")
        for node in walk(rule):
            if isinstance(node, Number) and isinstance(node.value, int) and not -(1 << 63) <= node.value < 1 << 64:
                self.error(node, "no integer type holds this number")

    def _word(self, keyword: str, text: str) -> Node:
        """Where `text` stands behind a keyword of the rule's own; the keyword if that is not found."""
        rule, whole = self.rule, self.source.text
        start = whole.rfind(keyword, rule.start, rule.end) if text else whole.find(keyword, rule.start, rule.end)
        word = text.partition(" ")[0]
        found = whole.find(word, start + len(keyword), rule.end) if word else -1
        start, length = (found, len(text)) if found >= 0 else (start, len(keyword))
        return Node(start=start, end=start + length)

    def _whole(self) -> None:
        rule, root = self.rule, find_op(self.rule.match.op)
        for name, node in self.bound_here.items():
            if name not in self.used:
                instead = (
                    "'%_'" if name[0] == "%" and isinstance(node, Variable) else "'_'" if name[0] == "$" else "no name"
                )
                self.error(node, f"'{name}' is never used", f"write {instead} for what does not matter")
        if not _is_pure(root):
            self.error(rule.match, f"'{rule.match.op}' does more than compute its results: a rule cannot replace it")
        if rule.rewrite == (rule.match,):
            self.error(rule.match, "the rule replaces an op by itself, and would never end")
        level = LEVELS.get(rule.match.op.partition(".")[0])
        for app in _apps(rule.rewrite):
            made = LEVELS.get(app.op.partition(".")[0])
            if level is not None and made is not None and made < level:
                what = f"it makes {LEVEL_NAMES[made]} of {LEVEL_NAMES[level]}"
                self.error(app, f"a rule must not raise the level: {what}", length=len(app.op))


def _is_pure(cls: Any) -> bool:
    return not cls.effects and not cls.is_terminator


def _apps(terms: Iterable[Any]) -> list[App]:
    return [node for term in terms for node in walk(term) if isinstance(node, App)]
