"""The reference interpreter lets go of tensors that nothing needs any more."""

from __future__ import annotations

import tracemalloc

import numpy as np

from dlir.backends.ref import Reference
from dlir.textir.parser import parse


def test_a_long_chain_holds_only_a_few_tensors():
    lines = [f"%{i + 1} = nd.add %{i}, %{i}" for i in range(50)]
    body = "\n".join(lines).replace("%0", "%x")
    text = f"module {{ func.func @main(%x: tensor<262144xf32>) -> tensor<262144xf32> {{\n{body}\nreturn %50\n}} }}"
    reference = Reference(parse(text))
    x = np.ones(262144, np.float32)
    tracemalloc.start()
    (got,) = reference.run("main", [x])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got[0] == 2.0**50
    assert peak < 8 << 20
