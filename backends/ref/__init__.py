"""The reference backend: NumPy, op by op."""

from dlir.backends.ref.reference import Reference

__all__ = ["Reference"]
