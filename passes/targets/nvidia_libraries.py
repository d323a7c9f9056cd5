"""Where NVIDIA's libraries lie on this machine: in its wheels, or in an installed toolkit."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

#: Folders of wheels in the package `nvidia`: one for all from CUDA 13 on, and one for each library before.
_WHEELS = {"nvrtc": "cuda_nvrtc", "cudart": "cuda_runtime", "cublasLt": "cublas"}
_TOOLKIT = "/usr/local/cuda"


def folders(library: str) -> Iterator[Path]:
    """The folders that may have `lib` and `include` of a library ("nvrtc", "cudart", "cublasLt"), the best first."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for name in ("cu13", _WHEELS[library]):
            if (folder := Path(root, name)).is_dir():
                yield folder
    toolkit = Path(os.environ.get("CUDA_PATH", _TOOLKIT))
    if toolkit.is_dir():
        yield toolkit


def find_library(library: str) -> Path | None:
    """The file of a library; None if it is not installed."""
    for folder in folders(library):
        for place in ("lib", "lib64"):
            for path in sorted(folder.glob(f"{place}/lib{library}.so.*")):
                return path
    return None
