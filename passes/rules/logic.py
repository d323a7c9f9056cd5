"""Rules of comparisons, logic and choice: ``logic.pattern``."""

from __future__ import annotations

from dlir.passes.patterns import load_rules

LOGIC = load_rules("logic")
