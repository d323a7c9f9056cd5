"""What the rows of the essay share."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say what a test found, for the table that ``benchmarks/essay.py`` prints."""
    return lambda text: record_property("measured", text)
