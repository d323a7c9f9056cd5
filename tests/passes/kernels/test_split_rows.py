"""Reductions over groups of an output's dimension: the kernel goes over groups, and reduces each once."""

import numpy as np
import pytest

from dlir.ir.dialects.arith import constant_value
from dlir.ir.ops import nd, nn


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_group_norm_reduces_each_group_once(tools, target):
    rng = np.random.default_rng(0)
    x, gamma, beta = (rng.standard_normal(n).astype(np.float32) for n in ((2, 12, 5, 3), (12,), (12,)))
    module = tools.passes(tools.make(lambda *args: nn.group_norm(*args, groups=3), x, gamma, beta), "lower-nn")
    fused = tools.passes(module, f"fuse,schedule{{target={target}}}")
    assert len(tools.regions(fused)) == 1
    lowered = tools.passes(fused, "bufferize,plan-memory,lower-kernels")
    (items,) = [op for op in lowered.walk() if op.name == "scf.parallel" and op.parent_op.name == "func.func"]
    assert constant_value(items.groups[1][0]) == 2 * 3
    tools.assert_same(tools.run(lowered, [x, gamma, beta]), tools.run(module, [x, gamma, beta]))


def test_two_results_over_the_same_groups(tools):
    def body(x):
        grouped = nd.reshape(x, shape=(4, 3, 2, 7))
        largest = nd.max(grouped, axes=(2, 3), keepdims=True)
        return nd.reshape(nd.sub(grouped, largest), shape=(4, 6, 7)), nd.reshape(largest, shape=(12,))

    x = np.random.default_rng(0).standard_normal((4, 6, 7))
    tools.check(tools.make(body, x), [x], "fuse,schedule,bufferize,plan-memory,lower-kernels")
