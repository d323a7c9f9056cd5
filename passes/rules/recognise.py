"""Formulas written out in small ops, and the named ops that they are."""

from __future__ import annotations

from dlir.passes.patterns import load_rules

#: ``recognise.pattern``: the same bit for bit, in f32 and f64; in two-byte floats mostly not, so no part of ``canonicalize``.
RECOGNISE = load_rules("recognise")
#: ``formulas.pattern``: the same function of real numbers, rounded elsewhere.
FORMULAS = load_rules("formulas")
