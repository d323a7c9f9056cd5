"""The ``random`` dialect: numbers that are functions of a key and of their position, the same on every backend.

A key is a ``tensor<2xui32>`` value, made by `random.key` and handed on by `random.split` and `random.fold_in`; there is no
hidden state, and the same key gives the same numbers.  Numbers are those of JAX's default generator (threefry2x32,
partitionable): the word at position i is a hash of the key and i (:mod:`dlir.ir.dialects.random.threefry`), so any part
of an array can be made anywhere, and its maker fuses with what uses it.
"""

from dlir.ir.dialects.random import draws, keys, permutation, threefry

__all__ = ["draws", "keys", "permutation", "threefry"]
