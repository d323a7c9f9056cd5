"""A program cache that is on and empty, and what compiling does."""

from __future__ import annotations

import pytest

from dlir.backends import program_cache
from dlir.backends.cpu import jit
from dlir.passes.manager import PassManager


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of a cache that is on and empty."""
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("DLIR_PROGRAM_CACHE")
    program_cache.RECENT.clear()
    yield tmp_path / "programs"
    program_cache.RECENT.clear()


@pytest.fixture
def work(monkeypatch):
    """What is done: the passes that run, and "llvm" for each module that LLVM optimises."""
    done = []
    run_pass, optimised = PassManager.run_pass, jit._optimised

    def noting_pass(self, item, module):
        done.append(item.name)
        run_pass(self, item, module)

    def noting_llvm(*arguments):
        done.append("llvm")
        return optimised(*arguments)

    monkeypatch.setattr(PassManager, "run_pass", noting_pass)
    monkeypatch.setattr(jit, "_optimised", noting_llvm)
    return done
