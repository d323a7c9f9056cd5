"""What random ops promise beyond the numbers of another library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.ir.builder import at_end
from dlir.ir.core import Block
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd, random
from dlir.ir.registry import find_op
from dlir.ir.types import F32, I32, UI8, UI32, UI64, TensorType
from dlir.passes.manager import PassManager
from dlir.textir import parse

KEY = np.array([0, 42], np.uint32)


def compiled(body: str, results: str, backend: str, args: str = "%key: tensor<2xui32>") -> Any:
    names = ", ".join(f"%{n}" for n in range(results.count("tensor")))
    module = parse(f"func.func @main({args}) -> ({results}) {{\n{body}\n  func.return {names}\n}}")
    return compile_module(module, backend=backend)


@pytest.mark.parametrize(
    ("key", "counter", "wanted"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_hash_gives_the_authors_answers(key, counter, wanted):
    """The known answers that come with Random123, the code of Salmon et al."""
    words = [np.asarray(word, np.uint32) for word in (*key, *counter)]
    hash: Any = find_op("random.threefry2x32")
    first, second = (int(hash.eval(*words, word=word)) for word in ("first", "second"))
    assert (first, second) == wanted
    assert int(hash.eval(*words, word="mixed")) == first ^ second


DRAWS = """  %0 = random.bits %key {shape = [300]} : tensor<300xui32>
  %1 = random.bits %key {shape = [7, 9], dtype = ui64} : tensor<7x9xui64>
  %2 = random.uniform %key {shape = [40, 3]} : tensor<40x3xf32>
  %3 = random.uniform %key {shape = [40, 3], minval = -0.3, maxval = 7.7} : tensor<40x3xf32>
  %4 = random.uniform %key {shape = [55], dtype = f64} : tensor<55xf64>
  %5 = random.split %key {count = 3} : tensor<3x2xui32>
  %6 = random.permutation %key {count = 50} : tensor<50xi64>"""
TYPES = (
    "tensor<300xui32>, tensor<7x9xui64>, tensor<40x3xf32>, tensor<40x3xf32>, tensor<55xf64>, tensor<3x2xui32>, "
    "tensor<50xi64>"
)


@pytest.mark.parametrize("backend", ["cpu", "cuda-sim"])
def test_every_backend_draws_the_same_bits(backend):
    if backend == "cuda-sim":
        from support.cuda import need_simulator

        need_simulator()
    wanted = compiled(DRAWS, TYPES, "ref")(KEY)
    for one, other in zip(compiled(DRAWS, TYPES, backend)(KEY), wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_a_number_depends_on_its_position_alone():
    bits: Any = find_op("random.bits")
    long = bits.eval(KEY, None, shape=(100,), dtype=UI32)
    np.testing.assert_array_equal(bits.eval(KEY, None, shape=(10,), dtype=UI32), long[:10])
    np.testing.assert_array_equal(bits.eval(KEY, None, shape=(4, 5, 5), dtype=UI32).ravel(), long)


def test_dynamic_shapes_draw_the_same():
    text = """func.func @main(%x: tensor<?x3xf32>, %key: tensor<2xui32>) -> tensor<?x3xf32> {
  %y = random.uniform %key, %x {shape = [-1, 3]} : tensor<?x3xf32>
  func.return %y
}"""
    module = parse(text)
    PassManager.from_text("bind-shapes{dims=x.0=5}").run(module)
    (found,) = compile_module(module)(np.zeros((5, 3), "f4"), KEY)
    uniform: Any = find_op("random.uniform")
    np.testing.assert_array_equal(found, uniform.eval(KEY, None, shape=(5, 3), minval=0.0, maxval=1.0, dtype=F32))


def test_numbers_are_where_and_as_many_as_they_should_be():
    text = """  %0 = random.uniform %key {shape = [20000]} : tensor<20000xf32>
  %1 = random.normal %key {shape = [20000]} : tensor<20000xf32>
  %2 = random.truncated_normal %key {shape = [20000], lower = -1.0, upper = 0.5} : tensor<20000xf32>
  %3 = random.permutation %key {count = 3000} : tensor<3000xi64>"""
    types = "tensor<20000xf32>, tensor<20000xf32>, tensor<20000xf32>, tensor<3000xi64>"
    uniform, normal, cut, order = compiled(text, types, "cpu")(KEY)
    counts, _ = np.histogram(uniform, 10, (0, 1))
    assert counts.sum() == 20000 and uniform.max() < 1 and abs(counts - 2000).max() < 5 * 2000**0.5
    assert abs(normal.mean()) < 0.035 and abs(normal.std() - 1) < 0.03
    assert cut.min() > -1 and cut.max() < 0.5
    assert sorted(order.tolist()) == list(range(3000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, key: random.split(x), "takes a key, which is a tensor<2xui32>, got tensor<4xf32>"),
        (lambda x, key: random.split(key, count=-1), "'count' must not be negative"),
        (lambda x, key: random.key(seed=1 << 64), "'seed' must fit 64 bits"),
        (lambda x, key: random.fold_in(key, x), "takes an integer scalar as data, got tensor<4xf32>"),
        (lambda x, key: random.bits(key, shape=(2,), dtype=I32), "makes ui8, ui16, ui32 or ui64, not i32"),
        (lambda x, key: random.bits(key, shape=(-1,)), "takes -1 from operand 'like'"),
        (lambda x, key: random.uniform(key, shape=(2,), dtype=I32), "takes floats, got i32"),
        (lambda x, key: random.uniform(key, shape=(2,), minval=2.0, maxval=1.0), "and in this order"),
        (lambda x, key: random.truncated_normal(key, shape=(2,), lower=1.0, upper=1.0), "must be less than"),
        (lambda x, key: random.bernoulli(key, x, shape=(3,)), "do not broadcast"),
        (lambda x, key: random.permutation(key, count=4, dtype=UI8), "makes i32 or i64, not ui8"),
        (lambda x, key: random.threefry2x32(x, x, x, x), "takes words of ui32"),
    ],
)
def test_mistakes_are_named(make, message):
    block = Block([TensorType((4,), F32), TensorType((2,), UI32)])
    with at_end(block), pytest.raises(DlirError, match=message.replace("(", r"\(")):
        make(*block.args)


def test_python_numbers_become_keys_data_and_probabilities():
    block = Block([TensorType((2,), UI32)])
    with at_end(block):
        key = random.fold_in(block.args[0], -1)
        found = random.bernoulli(key, 0.25, shape=(3,))
        assert nd.cast(found, dtype=UI64).type is TensorType((3,), UI64)
    assert find_op("random.fold_in") is type(key.owner)
