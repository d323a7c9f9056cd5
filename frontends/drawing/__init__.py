"""Drawings of graphs, as Graphviz' language and as SVG."""

from dlir.frontends.drawing.picture import Box, Picture
from dlir.frontends.drawing.sources import picture_of_function, picture_of_nodes

__all__ = ["Box", "Picture", "picture_of_function", "picture_of_nodes"]
