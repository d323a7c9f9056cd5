"""Tables of rewrite rules by theme.  Each rule's docstring is its equation; plugins add tables of their own.

A rule over floats must hold for NaN, infinities and both zeros, bit for bit, or say in its docstring what it gives up.
"""

from __future__ import annotations

from collections.abc import Iterable

from dlir.ir.core import Operation
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
        "movement": "dlir.passes.rules.movement:MOVEMENT",
    },
)


def canonical_rules(root: Operation, more: Iterable[str] = ()) -> list[Pattern]:
    """The rules for what is inside `root`, and those of the tables called `more`; DlirError if there is no such table.

    On are dlir's own tables and those of plugins that somebody loaded.  The table of a plugin that is merely installed is
    on where there are ops of the plugin's dialect of the same name.
    """
    names = dict.fromkeys(name for name in RULES if name not in RULES.installed)
    if DIALECTS.plugins:
        used = dict.fromkeys(op.name.partition(".")[0] for op in root.walk())
        names.update((name, None) for name in used if name in DIALECTS.plugins and RULES.find(name) is not None)
    for name in more:
        if RULES.find(name) is None:
            raise unknown(RULES, name)
        names[name] = None
    return [rule for name in names for rule in RULES.load(name)]
