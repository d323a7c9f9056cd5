"""Shrinking a module for as long as something holds: what ``dlir-reduce`` does, for use in Python too.

small = reduce_module(module, lambda candidate: crashes(candidate))
"""

from dlir.frontends.reduce.search import Search, reduce_module

__all__ = ["Search", "reduce_module"]
