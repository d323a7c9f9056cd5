"""Functions of array ops, lowered step by step and run by the reference interpreter or as machine code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dlir.backends.ref.reference import Reference
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import KernelRegion
from dlir.ir.ops import func
from dlir.ir.traversal import clone
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager

TO_LOOPS = "bufferize,plan-memory,lower-kernels"


class Tools:
    """What the tests of this folder share."""

    @staticmethod
    def make(body: Callable[..., Any], *arrays: np.ndarray | TensorType) -> Module:
        """A module whose @main is `body`, for arguments like `arrays`."""
        types = [a if isinstance(a, TensorType) else TensorType(a.shape, dtype_from_numpy(a.dtype)) for a in arrays]
        module = Module.empty()
        function = Func.make("main", types, names=[f"x{i}" for i in range(len(types))])
        module.body.append(function)
        with at_end(function.body):
            found = body(*function.body.args)
            func.return_(*(found if isinstance(found, tuple | list) else [found]))
        function.update_type()
        return verified(module)

    @staticmethod
    def passes(module: Module, pipeline: str) -> Module:
        """A copy of `module` after `pipeline`."""
        copy = clone(module)
        PassManager.from_text(pipeline).run(copy)
        return copy

    @staticmethod
    def regions(module: Module) -> list[KernelRegion]:
        return [op for op in module.walk() if isinstance(op, KernelRegion)]

    @staticmethod
    def ops_of(region: KernelRegion) -> list[str]:
        """The array ops in a region, without their dialect, in order."""
        return [op.name.removeprefix("nd.") for op in region.body.ops if not op.is_terminator]

    @staticmethod
    def run(module: Module, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return Reference(module).run("main", list(arrays))

    @staticmethod
    def assert_same(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
        """Equal shapes and dtypes; equal integers, and floats within what a change of order may do."""
        for got, want in zip(found, wanted, strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape
            if want.dtype.kind in "biu":
                np.testing.assert_array_equal(got, want)
                continue
            tolerance = {2: 2e-2, 4: 1e-4, 8: 1e-9}[want.dtype.itemsize]
            wide = [np.asarray(a, np.float64) for a in (got, want)]
            np.testing.assert_allclose(*wide, rtol=tolerance, atol=tolerance)

    def check(self, module: Module, arrays: Sequence[np.ndarray], pipeline: str) -> Module:
        """Lower and compare with the meaning of the ops; the lowered module."""
        lowered = self.passes(module, pipeline)
        self.assert_same(self.run(lowered, arrays), self.run(module, arrays))
        return lowered


@pytest.fixture(scope="session")
def tools() -> Tools:
    return Tools()
