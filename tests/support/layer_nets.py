"""Nets of layers as texts, and arrays for them."""

from __future__ import annotations

import re

import numpy as np

PERCEPTRON = """
module @perceptron {
  state.variable @w1 {init = dense_resource<w1>, type = tensor<12x16xf32>}
  state.variable @b1 {init = dense_resource<b1>, type = tensor<16xf32>}
  state.variable @w2 {init = dense_resource<w2>, type = tensor<16x16xf32>}
  state.variable @b2 {init = dense_resource<b2>, type = tensor<16xf32>}
  state.variable @w3 {init = dense_resource<w3>, type = tensor<16x4xf32>}
  state.variable @b3 {init = dense_resource<b3>, type = tensor<4xf32>}
  func.func @main(%x: tensor<8x12xf32>, %labels: tensor<8xi64>) -> (tensor<8x4xf32>, tensor<f32>) {
    %w1 = state.read @w1 : tensor<12x16xf32>
    %b1 = state.read @b1 : tensor<16xf32>
    %w2 = state.read @w2 : tensor<16x16xf32>
    %b2 = state.read @b2 : tensor<16xf32>
    %w3 = state.read @w3 : tensor<16x4xf32>
    %b3 = state.read @b3 : tensor<4xf32>
    %h1 = nn.dense %x, %w1, %b1 {activation = "tanh"}
    %h2 = nn.dense %h1, %w2, %b2 {activation = "tanh"}
    %logits = nn.dense %h2, %w3, %b3
    %loss = nn.cross_entropy %logits, %labels
    return %logits, %loss
  }
}
"""

LENET = """
module @lenet {
  state.variable @k1 {init = dense_resource<k1>, type = tensor<4x1x3x3xf32>}
  state.variable @c1 {init = dense_resource<c1>, type = tensor<4xf32>}
  state.variable @k2 {init = dense_resource<k2>, type = tensor<6x4x2x2xf32>}
  state.variable @c2 {init = dense_resource<c2>, type = tensor<6xf32>}
  state.variable @w {init = dense_resource<w>, type = tensor<24x10xf32>}
  state.variable @b {init = dense_resource<b>, type = tensor<10xf32>}
  func.func @main(%x: tensor<4x1x12x12xf32>, %labels: tensor<4xi64>) -> (tensor<4x10xf32>, tensor<f32>) {
    %k1 = state.read @k1 : tensor<4x1x3x3xf32>
    %c1 = state.read @c1 : tensor<4xf32>
    %k2 = state.read @k2 : tensor<6x4x2x2xf32>
    %c2 = state.read @c2 : tensor<6xf32>
    %w = state.read @w : tensor<24x10xf32>
    %b = state.read @b : tensor<10xf32>
    %conv1 = nn.conv2d %x, %k1, %c1
    %tanh1 = nn.tanh %conv1
    %pool1 = nn.max_pool2d %tanh1 {kernel = [2, 2]}
    %conv2 = nn.conv2d %pool1, %k2, %c2
    %tanh2 = nn.tanh %conv2
    %pool2 = nn.max_pool2d %tanh2 {kernel = [2, 2]}
    %flat = nn.flatten %pool2
    %logits = nn.dense %flat, %w, %b
    %loss = nn.cross_entropy %logits, %labels
    return %logits, %loss
  }
}
"""


def weights_of(text: str) -> dict[str, np.ndarray]:
    """Small random weights for the variables of a net."""
    rng = np.random.default_rng(0)
    found = re.findall(r"dense_resource<(\w+)>, type = tensor<([\dx]+)xf32>", text)
    return {name: _small(rng, tuple(map(int, shape.split("x")))) for name, shape in found}


def _small(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(max(np.prod(shape[:-1]), 1))).astype(np.float32)


def inputs_of(text: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs and labels of a net."""
    rng = np.random.default_rng(seed)
    shape = tuple(map(int, re.search(r"%x: tensor<([\dx]+)xf32>", text)[1].split("x")))
    return rng.standard_normal(shape).astype(np.float32), rng.integers(0, 4, shape[0])
