"""What `map` makes of kernels for CPU threads."""

import numpy as np
import pytest

from dlir.ir.ops import nd
from dlir.ir.types import F64
from dlir.textir import parse, to_text

BEFORE = "fuse,schedule,bufferize,plan-memory,lower-kernels"


def lowered(tools, options, rows=100):
    x = np.zeros((rows, 40), np.float32)
    module = tools.make(lambda x: nd.softmax(x), x)
    return tools.passes(module, f"{BEFORE},map{options}")


def calls(module):
    return [op for op in module.walk() if op.name == "func.call"]


def test_a_small_kernel_is_called_once_for_all_items(tools):
    (call,) = calls(lowered(tools, ""))
    assert call.parent_op.name == "func.func"


def test_a_large_kernel_is_called_in_chunks(tools):
    (call,) = calls(lowered(tools, "{threshold=1000}"))
    assert call.parent_op.name == "scf.parallel"


def test_threads_say_how_many_chunks(tools):
    text = to_text(lowered(tools, "{threshold=1 threads=3}"))
    assert "%c3" in text or "3 : index" in text
    (call,) = calls(lowered(tools, "{threshold=1 threads=1}"))
    assert call.parent_op.name == "func.func"


@pytest.mark.parametrize("threads", [2, 3, 7, 64])
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_chunks_cover_every_item_once(tools, rows, threads):
    x = np.random.default_rng(0).standard_normal((rows, 40)).astype(np.float32)
    module = tools.make(lambda x: nd.softmax(x), x)
    tools.check(module, [x], f"{BEFORE},map{{threshold=1 threads={threads}}}")


def test_sums_may_be_reassociated_and_maxima_give_either_zero(tools):
    module = lowered(tools, "")
    flags = {op.name: str(op.attributes["fastmath"]) for op in module.walk() if "fastmath" in op.attributes}
    assert flags == {"arith.addf": "#arith.fastmath<reassoc>", "arith.maximumf": "#arith.fastmath<nsz>"}


def test_scratch_is_allocated_once(tools):
    x = np.zeros((100, 40), np.float32)
    # What is kept for the result is of another type than that.
    module = tools.make(lambda x: nd.cast(nd.softmax(x), dtype=F64), x)
    module = tools.passes(module, f"{BEFORE},map")
    (scratch,) = [op for op in module.walk() if op.name == "memref.alloca"]
    assert scratch.parent_op.name == "func.func"


def test_mapping_again_changes_nothing(tools):
    module = lowered(tools, "")
    assert to_text(tools.passes(module, "map")) == to_text(module)


def test_a_kernel_written_by_hand(tools):
    """Loops over a box from other bounds, with a step, are work items too."""
    text = """
    func.func private @kernel_0(%x: memref<8x9xf32>, %y: memref<8x9xf32>) attributes {dlir.kernel} {
      %one = arith.constant {value = 1 : index}
      %two = arith.constant {value = 2 : index}
      %eight = arith.constant {value = 8 : index}
      %nine = arith.constant {value = 9 : index}
      "scf.parallel"(%one, %two, %eight, %nine, %one, %two) ({
      ^bb0(%i: index, %j: index):
        %v = memref.load %x, %i, %j
        memref.store %v, %y, %i, %j
        scf.reduce
      }) {operandSegmentSizes = array<i32: 2, 2, 2, 0>} : (index, index, index, index, index, index) -> ()
      return
    }
    func.func @main(%x: memref<8x9xf32> {dlir.input = 0}, %y: memref<8x9xf32> {dlir.input = 1, dlir.result = 0}) {
      func.call @kernel_0 %x, %y
      return
    }
    """
    x, y = np.arange(72, dtype=np.float32).reshape(8, 9), np.zeros((8, 9), np.float32)
    want = y.copy()
    want[1:8, 2:9:2] = x[1:8, 2:9:2]
    for options in ("", "{threshold=1 threads=5}"):
        (found,) = tools.run(tools.passes(parse(text), f"map{options}"), [x, y])
        np.testing.assert_array_equal(found, want)


def test_a_kernel_without_work_items_is_one_item(tools):
    text = """
    func.func private @kernel_0(%x: memref<4xf32>) attributes {dlir.kernel} {
      %zero = arith.constant {value = 0 : index}
      %v = arith.constant {value = 3.0 : f32}
      memref.store %v, %x, %zero
      return
    }
    func.func @main(%x: memref<4xf32> {dlir.input = 0, dlir.result = 0}) {
      func.call @kernel_0 %x
      return
    }
    """
    (found,) = tools.run(tools.passes(parse(text), "map"), [np.zeros(4, np.float32)])
    np.testing.assert_array_equal(found, [3, 0, 0, 0])
