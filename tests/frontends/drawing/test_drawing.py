"""Drawings: boxes do not overlap, arrows go down, and the text is safe in any viewer."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlir.frontends.drawing import Box, Picture
from dlir.frontends.drawing.layout import GAP, lay_out
from dlir.frontends.symbolic import Parameter, Variable, compile, nd
from dlir.ir.errors import DlirError


@st.composite
def pictures(draw):
    count = draw(st.integers(0, 25))
    sizes = [(draw(st.integers(10, 90)), draw(st.integers(10, 60))) for _ in range(count)]
    arrows = [
        (source, target)
        for target in range(1, count)
        for source in draw(st.lists(st.integers(0, target - 1), max_size=3, unique=True))
    ]
    return sizes, arrows


@settings(deadline=None, max_examples=60)
@given(pictures())
def test_boxes_stand_apart_and_arrows_go_down(picture):
    sizes, arrows = picture
    layout = lay_out(sizes, arrows)
    corners = [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(layout.centres, sizes, strict=True)
    ]
    for number, one in enumerate(corners):
        assert one[0] >= -1e-6 and one[1] >= -1e-6 and one[2] <= layout.width + 1e-6 and one[3] <= layout.height + 1e-6
        for other in corners[:number]:
            apart = one[2] <= other[0] - GAP + 1e-6 or other[2] <= one[0] - GAP + 1e-6
            assert apart or one[3] <= other[1] or other[3] <= one[1]
    for (source, target), path in zip(arrows, layout.paths, strict=True):
        assert path[0] == (layout.centres[source][0], corners[source][3])
        assert path[-1] == (layout.centres[target][0], corners[target][1])
        assert all(low > high for (_, high), (_, low) in pairwise(path))


def test_a_chain_is_a_straight_line_and_a_ladder_has_no_crossings():
    chain = lay_out([(50, 20)] * 4, [(0, 1), (1, 2), (2, 3)])
    assert len({x for x, _ in chain.centres}) == 1
    # 0-3, 1-2 cross if 2 and 3 keep the order of their numbers.
    ladder = lay_out([(50, 20)] * 4, [(0, 3), (1, 2)])
    assert (ladder.centres[0][0] < ladder.centres[1][0]) == (ladder.centres[3][0] < ladder.centres[2][0])


def test_a_layout_is_the_same_each_time():
    x = Variable("x")
    y = nd.exp(x) * nd.tanh(x) + nd.sum(x)
    assert y.svg() == y.svg() and y.dot() == y.dot()


def test_names_are_quoted():
    name = '<b>"&\\'
    node = Variable(name) + 1.0
    texts = [text.text for text in ElementTree.fromstring(node.svg()).iter("{http://www.w3.org/2000/svg}text")]
    assert name in texts
    assert 'label="<b>\\"&\\\\"' in node.dot()


def test_updates_are_drawn_too():
    w = Parameter("w", np.zeros(2))
    f = compile([], updates={w: w - nd.sum(w * w).grad(w)})
    assert {box.lines[-1] for box in f.draw("graph").boxes} >= {"w", "nd.mul", "diff.gradient", "nd.sub"}
    folded = f.draw("folded").boxes
    assert any(box.lines[0] == "write @w" for box in folded) and any(box.kind == "kernel" for box in folded)
    assert any(box.kind == "backward" for box in f.draw("backward").boxes)


def test_notebooks_show_drawings():
    assert (Variable("x") + 1)._repr_svg_().startswith("<svg")
    assert compile(Variable("x") + 1).draw("graph")._repr_svg_().startswith("<svg")


def test_other_files_are_refused(tmp_path):
    picture = Picture([Box(("a",)), Box(("b",))], [(0, 1)])
    picture.save(tmp_path / "x.SVG")
    with pytest.raises(DlirError, match="cannot draw"):
        picture.save(tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_an_empty_picture():
    assert Picture().svg().startswith("<svg") and Picture().dot().startswith("digraph")
