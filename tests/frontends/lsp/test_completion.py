"""What is offered where."""

from __future__ import annotations

import pytest
from support.editor import PROGRAM, with_cursor

from dlir.frontends.lsp.completion import Item, complete
from dlir.ir.registry import dialect_ops


def offered(line: str) -> dict[str, Item]:
    """What is offered at the cursor of a line behind the dense layer, by label and in order."""
    place = "    %y = func.call @scale %h : tensor<2x3xf32>\n"
    document, offset = with_cursor(PROGRAM.replace(place, f"    {line}\n{place}"))
    items = complete(document, offset)
    assert all(item.start <= offset <= item.end for item in items)
    return {item.label: item for item in items}


@pytest.mark.parametrize(
    "line,replaced",
    [("%q = nd.¦", "nd."), ("nd.so¦", "nd.so"), ("%q = nd.ex¦p %h", "nd.exp"), ("%a, %b = nd.¦", "nd.")],
)
def test_behind_the_name_of_a_dialect_stand_its_ops(line, replaced):
    items = offered(line)
    assert list(items) == list(dialect_ops("nd"))
    softmax = items["nd.softmax"]
    assert softmax.detail.startswith("nd.softmax(x)") and "attribute `axis`" in softmax.documentation
    assert softmax.end - softmax.start == len(replaced)


def test_an_op_may_start_with_a_dialect_a_keyword_or_its_own_name():
    items = offered("%q = ¦")
    assert {"nd", "nn", "func.func", "return", "state"} <= set(items) and items["nd"].insert == "nd."
    assert {"nd.softmax", "nn.softmax"} <= set(offered("%q = softm¦"))
    assert "nd" in offered("¦") and "nd" in offered("n¦")


def test_ops_of_the_generic_form_keep_their_quotes():
    item = offered('%q = "nd.ex¦"(%h)')["nd.exp"]
    assert item.insert == '"nd.exp"' and item.end - item.start == len('"nd.ex"')


@pytest.mark.parametrize(
    "line", ["nd.exp %¦", "nd.exp ¦", "nd.add %h, ¦", "nd.add %h, %h¦", '"d.op"(¦', '"d.op"(%x, ¦)']
)
def test_operands_are_the_values_in_scope_the_nearest_first(line):
    items = offered(line)
    assert list(items) == ["%h", "%w", "%x"]  # not %y, which comes later, nor those of other functions
    assert [item.detail for item in items.values()] == ["tensor<2x3xf32>", "tensor<4x3xf32>", "tensor<2x4xf32>"]


def test_the_results_of_one_op_are_offered_one_by_one():
    items = offered('%r:2 = "d.op"() : () -> (f32, i8)\n    nd.exp %¦')
    assert [(item.label, item.detail) for item in items.values()][:2] == [("%r#0", "f32"), ("%r#1", "i8")]


def test_symbols():
    assert set(offered("%q = state.read ¦")) >= {"@w", "@main", "@scale"}
    assert "state.variable @w" in offered("%q = state.read @¦")["@w"].detail
    text = "gpu.module @k ({\n  gpu.func @inner ({\n    gpu.return\n  })\n})\nd.launch {kernel = @k::@¦}\n"
    assert [item.label for item in complete(*with_cursor(text))] == ["@k::@inner"]


def test_blocks():
    assert [item.label for item in complete(*with_cursor(PROGRAM.replace("[^done]", "[^¦]")))] == ["^done"]


@pytest.mark.parametrize("line", ["nd.sum %h {¦}", "%q = nd.sum %h {¦", "nd.sum %h {ax¦", "nd.sum %h {axes = [0], ¦}"])
def test_attributes_of_the_op_that_are_not_there_yet(line):
    items = offered(line)
    assert ("axes" in items) == ("axes" not in line) and items["keepdims"].insert == "keepdims = "
    assert items["keepdims"].detail == "a bool, default False"


def test_values_of_attributes():
    items = offered("%q = nn.dense %x, %w {activation = ¦}")
    assert '"relu"' in items and items['"none"'].detail == "default"
    assert '"relu"' in offered('%q = nn.dense %x, %w {activation = "r¦"}')
    assert list(offered("%q = nd.sum %h {keepdims = ¦}")) == ["true", "false"]
    assert "bf16" in offered("%q = nd.cast %h {dtype = ¦}")
    assert list(offered("state.variable @v {init = ¦}")) == ["dense<", "dense_resource<"]


@pytest.mark.parametrize(
    "line", ["nd.exp %h : ¦", "nd.exp %h : te¦", '"d.op"(%h) : (¦', '"d.op"(%h) : (f32) -> ¦', "^a(%b: ¦"]
)
def test_types(line):
    items = offered(line)
    assert next(iter(items)).startswith("tensor<") and {"tensor<", "f32", "index", "i1"} <= set(items)
    assert "tensor<2x4xf32>" in items  # one of this text


@pytest.mark.parametrize("line", ["nd.exp %h : tensor<4x¦>", "nd.exp %h : tensor<4x?xf¦", "nd.exp %h : vector<b¦f16>"])
def test_behind_dimensions_stand_element_types(line):
    items = offered(line)
    assert "bf16" in items and "tensor<" not in items and "4x" not in next(iter(items))


@pytest.mark.parametrize("line", ["// nd.¦", 'd.op {a = "nd.¦"}', "nd.exp %h : tensor<4xf32> ¦"])
def test_nothing_is_offered_where_nothing_is_known(line):
    assert offered(line) == {}
