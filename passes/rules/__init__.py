"""Tables of rewrite rules by theme; plugins add tables of their own.

Rules that can be text are text (``*.pattern``), the others functions; the equation is the comment above a rule, or the
docstring.  The tests check all of them on random programs.  docs/rules.md has the laws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dlir.ir.core import Operation
from dlir.ir.errors import DlirError
from dlir.ir.registry import DIALECTS
from dlir.ir.tables import Table, unknown
from dlir.passes.rewriter import Pattern

#: What ``canonicalize`` applies: always true and never making anything larger.
RULES = Table(
    "rule table",
    "dlir.rules",
    {
        "folding": "dlir.passes.rules.folding:FOLDING",
        "arithmetic": "dlir.passes.rules.arithmetic:ARITHMETIC",
        "logic": "dlir.passes.rules.logic:LOGIC",
        "movement": "dlir.passes.rules.movement:MOVEMENT",
    },
)


def canonical_rules(root: Operation, more: Iterable[str] = ()) -> list[Pattern]:
    """The rules for what is inside `root`, and those of the tables called `more`; DlirError if there is no such table.

    On are dlir's own tables and those of plugins that somebody loaded.  The table of a plugin that is merely installed is
    on where there are ops of a dialect of the same name.
    """
    names = dict.fromkeys(name for name in RULES if name not in RULES.installed)
    for dialect in dict.fromkeys(op.name.partition(".")[0] for op in root.walk()):
        is_own = dialect in DIALECTS and dialect not in DIALECTS.plugins
        if not is_own and RULES.find(dialect) is not None:
            names[dialect] = None
    for name in more:
        if RULES.find(name) is None:
            raise unknown(RULES, name)
        names[name] = None
    return [rule for name in names for rule in _table(name)]


def _table(name: str) -> Sequence[Pattern]:
    found = RULES.load(name)
    if not isinstance(found, tuple | list) or not all(isinstance(rule, Pattern) for rule in found):
        raise DlirError(f"{RULES.source(name)} is not a table of rules")
    return found
