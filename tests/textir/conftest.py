"""What the tests of the text form share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import support.text_dialect  # noqa: F401 - registers the ops of the dialect `tst`
from support.upstream import Tool

from dlir.ir.errors import DlirError
from dlir.textir import parse
from dlir.textir.diagnostics import render


@pytest.fixture
def complaint() -> Callable[[str], str]:
    """What a user is shown for a wrong text called ``a.dlir``."""

    def shown(text: str) -> str:
        with pytest.raises(DlirError) as caught:
            parse(text, "a.dlir")
        return render(caught.value, {"a.dlir": text})

    return shown


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample files that are not part of the project (DLIR_SHARED_DATA, or ../shared/data)."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("DLIR_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip("the shared sample files are not here")
    return folder


@pytest.fixture(scope="session")
def mlir_opt() -> Tool:
    """Upstream's mlir-opt; it prints the generic form."""
    return Tool("mlir-opt", "--allow-unregistered-dialect", "--mlir-print-op-generic")


@pytest.fixture(scope="session")
def iree_opt() -> Tool:
    """IREE's mlir-opt, which knows StableHLO; it prints the generic form."""
    return Tool("iree-opt", "--allow-unregistered-dialect", "--mlir-print-op-generic")


@pytest.fixture(scope="session")
def xdsl_opt() -> Tool:
    """xDSL's; it prints the generic form."""
    return Tool("xdsl-opt", "--allow-unregistered-dialect", "--print-op-generic")
