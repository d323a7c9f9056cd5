"""The ``nn`` dialect: layers, each a shape rule and a decomposition into ``nd`` ops."""

from dlir.ir.dialects.nn import activation, attention, dropout, embedding, linear, loss, normalization, pooling

__all__ = ["activation", "attention", "dropout", "embedding", "linear", "loss", "normalization", "pooling"]
