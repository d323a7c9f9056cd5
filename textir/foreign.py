"""What NumPy, PyTorch, JAX and ONNX call ops that dlir has under another name."""

from __future__ import annotations

#: Names in small letters, without ``_`` -> ops of dlir.
_FOREIGN = {
    "where": "nd.select", "ternary": "nd.select", "multiply": "nd.mul", "divide": "nd.div", "truedivide": "nd.div",
    "subtract": "nd.sub", "power": "nd.pow", "negative": "nd.neg", "negate": "nd.neg", "absolute": "nd.abs",
    "remainder": "nd.mod", "square": "nd.mul", "logistic": "nd.sigmoid", "swish": "nd.silu",
    "dot": "nd.matmul", "dotgeneral": "nd.matmul", "gemm": "nd.matmul", "mm": "nd.matmul", "bmm": "nd.matmul",
    "permute": "nd.transpose", "view": "nd.reshape", "squeeze": "nd.reshape", "unsqueeze": "nd.reshape",
    "expanddims": "nd.reshape", "concatenate": "nd.concat", "cat": "nd.concat", "convert": "nd.cast",
    "astype": "nd.cast", "expand": "nd.broadcast_to", "broadcastindim": "nd.broadcast_to", "gather": "nd.take",
    "arange": "nd.iota", "range": "nd.iota", "full": "nd.constant", "zeros": "nd.constant", "ones": "nd.constant",
    "amax": "nd.max", "amin": "nd.min", "reducemax": "nd.max", "reducemin": "nd.min", "reducesum": "nd.sum",
    "reducemean": "nd.mean", "reduceprod": "nd.prod", "convolution": "nd.conv",
    "linear": "nn.dense", "fullyconnected": "nn.dense", "crossentropyloss": "nn.cross_entropy",
}  # fmt: skip


def foreign_op(name: str) -> str | None:
    """A hint with dlir's name for the op that others call `name` (``nd.where``, ``linear``), or None."""
    found = _FOREIGN.get(name.rpartition(".")[2].lower().replace("_", ""))
    return f"did you mean '{found}'?" if found else None
