"""Attention."""

from __future__ import annotations

from dlir.ir.dialects.nd.attention import Attention as NdAttention
from dlir.ir.dialects.nn.base import Mirror


class Attention(Mirror, name="nn.attention", of=NdAttention):
    """softmax(q @ k.T * scale + mask) @ v: PyTorch's ``scaled_dot_product_attention``.

    q [..., T, d], k [..., S, d] and v [..., S, e] -> [..., T, e]; heads are a leading dimension.  See ``nd.attention``.
    """
