"""What every test shares: repeatable property tests, plain output and a private cache directory."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# The same examples on every run: a failure seen once can be seen again. No deadline: the machine may be shared.
hypothesis.settings.register_profile("dlir", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("dlir")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def examples_dir() -> Path:
    """The folder of example programs with their weights and data."""
    return ROOT / "examples"


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's caches out of the tests, and colours out of their output."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("NO_COLOR", "1")
    # Passes run in every test that compiles; those of the cache turn it on.
    patch.setenv("DLIR_PROGRAM_CACHE", "off")
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _plans_are_checked() -> Iterator[None]:
    """Whatever a test compiles: its buffers and its memory plan are held against the definition."""
    from support.buffer_checker import all_buffers_checked
    from support.plan_checker import every_plan_checked

    with all_buffers_checked(), every_plan_checked():
        yield
