"""Rewrite rules as text: reading, checking, matching, and proving them on random inputs.

    // 1 / (1 + exp(-x)) -> sigmoid(x)
    pattern @sigmoid {
      match   nd.div(1.0, nd.add(1.0, nd.exp(nd.neg(%x))))
      rewrite nd.sigmoid(%x)
      where   type(%x) is f32 or f64
    }

docs/rules.md describes the language.
"""

from dlir.passes.patterns.load import load_patterns, parse_patterns
from dlir.passes.patterns.pattern import TextPattern
from dlir.passes.patterns.store import load_rules

__all__ = ["TextPattern", "load_patterns", "load_rules", "parse_patterns"]
