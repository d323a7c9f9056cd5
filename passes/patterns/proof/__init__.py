"""Checking rules: both sides are run on random programs and inputs, and must give the same bits.

A rule is tried on programs that it matches: random dtypes, shapes with dimensions of extent 0 and 1, rank 0, and attributes, as
far as its conditions allow; inputs hold NaN, infinities, both zeros, subnormals, the largest and smallest numbers.  What
a rule says that it ignores is left out of inputs and comparison, and nothing else is.
"""

from dlir.passes.patterns.proof.report import Report, Verdict
from dlir.passes.patterns.proof.trial import check_patterns, prove, prove_all

__all__ = ["Report", "Verdict", "check_patterns", "prove", "prove_all"]
