"""The style of layers: a net is a text, and the program asks for what it computes."""

from dlir.frontends.layers.layerwise import LayerwiseExecutor
from dlir.frontends.layers.net import Net

__all__ = ["LayerwiseExecutor", "Net"]
