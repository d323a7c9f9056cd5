"""Formulas written out in small ops, and the named ops that they are: ``recognise.pattern``."""

from __future__ import annotations

from dlir.passes.patterns import load_rules

#: Exact for f32 and f64, and for nothing else in most cases; not part of ``canonicalize``.
RECOGNISE = load_rules("recognise")
