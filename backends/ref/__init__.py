"""The reference backend: NumPy, op by op."""

from dlir.backends.ref.limits import MAX_BYTES
from dlir.backends.ref.reference import Reference

__all__ = ["MAX_BYTES", "Reference"]
