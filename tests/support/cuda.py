"""What tests of the CUDA backend need from the machine."""

from __future__ import annotations

import os

import pytest


def need_simulator() -> None:
    """Skip the test where the simulator cannot be built; fail it where that must not happen, in CI."""
    from dlir.backends.cuda.sim.toolchain import unavailable

    reason = unavailable()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
