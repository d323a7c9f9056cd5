"""What the CUDA tests share: devices to run on, and array functions compiled for them.

NVRTC and g++ (for cuda-sim) must be there in CI; elsewhere tests that need them skip.
"""

import os

import pytest

from dlir.backends.compiler import lower_module
from dlir.backends.cuda import backend, nvrtc, simulated
from dlir.backends.cuda.emit import emit_kernels
from dlir.backends.cuda.sim import toolchain
from dlir.backends.cuda.sim.module import ORDERS
from dlir.ir.builder import at_end
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import func
from dlir.ir.types import TensorType, dtype_from_numpy
from dlir.ir.verifier import verified


def _require(reason):
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def needs_nvrtc():
    """Skip where nothing can be compiled for a GPU."""
    _require(nvrtc.unavailable())


@pytest.fixture(scope="session")
def needs_sim():
    """Skip where kernels cannot run on the host."""
    _require(toolchain.unavailable())


def _has_gpu():
    try:
        import cupy
    except ImportError:
        return False
    return cupy.cuda.is_available()


def _every_order(module, entry, weights):
    """An executable for cuda-sim that runs each call in three orders of threads, and gives the results of all."""
    runs = [simulated.load(module, entry, weights, order=order, seed=5) for order in ORDERS]
    return lambda *arrays: [run(*arrays) for run in runs]


@pytest.fixture(
    params=["sim", pytest.param("gpu", marks=pytest.mark.skipif(not _has_gpu(), reason="there is no CUDA GPU"))]
)
def load(request, needs_sim, needs_nvrtc):
    """``load(module, entry, weights)`` gives a function whose calls give one tuple of results for each way of running."""
    if request.param == "sim":
        return _every_order
    return lambda *args: lambda *arrays: [backend.load(*args)(*arrays)]


def array_function(compute, *arrays):
    """A module whose `main` applies `compute` to tensors of the kinds of `arrays`."""
    types = [TensorType(array.shape, dtype_from_numpy(array.dtype)) for array in arrays]
    main = Func.make("main", types, names=[f"x{number}" for number in range(len(types))])
    with at_end(main.body):
        found = compute(*main.body.args)
        func.return_(*(found if isinstance(found, tuple) else (found,)))
    main.update_type()
    module = Module.empty()
    module.body.append(main)
    return verified(module)


@pytest.fixture
def compiled(load):
    """``compiled(compute, *arrays, level="O2")``: a module mapped for CUDA, whose text NVRTC compiles without spilling, and
    what calling it with the arrays gives, in each way of running."""

    def run(compute, *arrays, level="O2"):
        lowered = lower_module(array_function(compute, *arrays), "cuda", level)
        text = emit_kernels(lowered).text
        assert all(kernel.spill_stores == 0 for kernel in nvrtc.compile_cubin(text).usage)
        return lowered, load(lowered, "main", None)(*arrays)

    return run


@pytest.fixture
def array_module():
    """``array_module(compute, *arrays)``: the module of an array function, not lowered."""
    return array_function


@pytest.fixture
def mapped():
    """``mapped(compute, *arrays)``: just the module, mapped for CUDA."""
    return lambda compute, *arrays, level="O2": lower_module(array_function(compute, *arrays), "cuda", level)


@pytest.fixture
def load_sim(needs_sim):
    """``load_sim(module, order)``: an executable of `main` for cuda-sim."""
    return lambda module, order="forward": simulated.load(module, "main", None, order=order)
