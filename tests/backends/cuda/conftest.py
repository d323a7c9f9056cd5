"""What the CUDA tests need: NVRTC, and a C++ compiler for cuda-sim. Both must be there in CI; elsewhere tests skip."""

import os

import pytest

from dlir.backends.cuda import nvrtc
from dlir.backends.cuda.sim import toolchain


def _require(reason: str | None) -> None:
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def needs_nvrtc() -> None:
    """Skip where nothing can be compiled for a GPU."""
    _require(nvrtc.unavailable())


@pytest.fixture(scope="session")
def needs_sim() -> None:
    """Skip where kernels cannot run on the host."""
    _require(toolchain.unavailable())
