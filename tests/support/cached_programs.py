"""A small net, compiled through the program cache."""

from __future__ import annotations

import numpy as np

from dlir.backends import program_cache
from dlir.backends.compiler import compile_module
from dlir.textir import parse

NET = """
module {
  state.variable @w {init = dense_resource<w> : tensor<96x80xf32>, type = tensor<96x80xf32>}
  state.variable @b {init = dense<0.5> : tensor<80xf32>, type = tensor<80xf32>}
  func.func @main(%x: tensor<24x96xf32>) -> (tensor<24x80xf32>, tensor<24xf32>) {
    %w = state.read @w : tensor<96x80xf32>
    %b = state.read @b : tensor<80xf32>
    %h = nn.dense %x, %w, %b {activation = "relu"} : tensor<24x80xf32>
    %s = nd.softmax %h : tensor<24x80xf32>
    %m = nd.sum %h {axes = [1]} : tensor<24xf32>
    return %s, %m
  }
}
"""
X = np.random.default_rng(0).standard_normal((24, 96), dtype=np.float32)
W = np.random.default_rng(1).standard_normal((96, 80), dtype=np.float32) / 10


def weights(name):
    return {"w": W}[name]


def compiled(text=NET, forget=False, **options):
    """A program for `text`; with `forget`, as another process would compile it."""
    if forget:
        program_cache.RECENT.clear()
    return compile_module(parse(text), options.pop("weights", weights), **options)


def entries(folder):
    return sorted(folder.iterdir()) if folder.exists() else []
