"""S36: the essay's three figures, drawn from the IR: the graph, the folded graph, and the backward graph."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from dlir.frontends.symbolic import Constant, Variable, compile

ARRAYS = {"A": np.ones(10), "B": np.ones(10) * 2}
SVG = "{http://www.w3.org/2000/svg}"


def figures():
    a, b = Variable("A"), Variable("B")
    d = b * a + Constant(1)
    plain, graded = compile(d), compile([d, *d.grad([a, b])])
    return {
        "graph": plain.draw("graph"),
        "folded": plain.draw("folded", **ARRAYS),
        "backward": graded.draw("backward", **ARRAYS),
    }


def texts_of(picture):
    return [text.text for text in ElementTree.fromstring(picture.svg()).iter(f"{SVG}text")]


def test_the_graph(measured):
    picture = figures()["graph"]
    assert texts_of(picture) == ["B", "A", "nd.mul", "1", "nd.add"]
    assert len(picture.arrows) == 4
    measured("graph: B, A, *, 1, + with 4 arrows")


def test_the_folded_graph(measured):
    picture = figures()["folded"]
    kernels = [box for box in picture.boxes if box.kind == "kernel"]
    assert len(kernels) == 1 and kernels[0].lines[:2] == ("nd.mul", "nd.add")
    assert len(picture.boxes) == 4, "two inputs, a kernel, a result"
    measured("folded: one kernel of * and +")


def test_the_backward_graph(measured):
    picture = figures()["backward"]
    forward = [box.lines[0] for box in picture.boxes if box.kind == "op"]
    backward = [box.lines[0] for box in picture.boxes if box.kind == "backward"]
    assert forward == ["nd.mul", "nd.add"]
    assert backward.count("nd.mul") == 2 and "nd.add" not in backward
    assert sum(box.kind == "output" for box in picture.boxes) == 3
    measured(f"backward: {len(forward)} ops forward, {len(backward)} for the gradients")


@pytest.mark.parametrize("name", ["graph", "folded", "backward"])
def test_each_is_a_file_for_browsers_and_for_graphviz(name, tmp_path):
    picture = figures()[name]
    picture.save(tmp_path / "figure.svg")
    picture.save(tmp_path / "figure.dot")
    root = ElementTree.parse(tmp_path / "figure.svg").getroot()
    assert root.tag == f"{SVG}svg"
    assert len(list(root.iter(f"{SVG}path"))) == len(picture.arrows) + 1  # and the tip of all arrows
    dot = (tmp_path / "figure.dot").read_text()
    assert dot.startswith("digraph {") and dot.count(" -> ") == len(picture.arrows)
