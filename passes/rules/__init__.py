"""Tables of rewrite rules by theme.  Each rule's docstring is its equation.

A rule over floats must hold for NaN, infinities and both zeros, bit for bit, or say in its docstring what it gives up.
"""

from __future__ import annotations

from dlir.passes.rules.arithmetic import ARITHMETIC
from dlir.passes.rules.folding import FOLDING
from dlir.passes.rules.movement import MOVEMENT

#: What ``canonicalize`` applies: always true and never making anything larger.
CANONICAL = (*FOLDING, *ARITHMETIC, *MOVEMENT)
