"""How fast `dlir-opt` starts, and what large payloads cost: a 100 MB blob in the text, a 500 MB safetensors file beside it.

    python benchmarks/startup.py        (or xdsl_speed.py --startup)

Each row is a fresh process: wall and CPU seconds of the fastest of several runs, and its largest resident set.  The safetensors
file is sparse, so the disk has nothing to do with it; a run that read it would show its 500 MB in the resident set.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

DLIR_OPT = "import sys; from dlir.frontends.cli.opt import main; sys.exit(main())"
#: Reads one array of the module in argv[1], a page of every MB of it.
READ_WEIGHTS = """
import sys
from dlir.textir import parse_file
array = parse_file(sys.argv[1]).weights.get("w")
print(array.reshape(-1)[:: 1 << 18].sum())
"""

MB = 1_000_000
BLOB_BYTES = 50 * MB
FILE_BYTES = 500 * MB


class Run(NamedTuple):
    """What a process took."""

    wall: float
    cpu: float
    megabytes: float


def run(code: str, *arguments: str) -> Run:
    """Run Python code in a process of its own; its output is thrown away."""
    start = time.perf_counter()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code, *arguments],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{arguments} failed")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MB)


def fastest(repeats: int, code: str, *arguments: str) -> Run:
    """The figures of the fastest of so many runs."""
    return min(run(code, *arguments) for _ in range(repeats))


def module_with_weight(elements: int, attributes: str = "") -> str:
    """A module that reads one resource."""
    return f"""module{attributes} {{
  state.variable @w {{init = dense_resource<w> : tensor<{elements}xf32>}}
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
    %y = nd.add %x, %x : tensor<4xf32>
    return %y
  }}
}}
"""


def write_inputs(folder: Path) -> dict[str, Path]:
    """An empty module, one with a blob, and one with a file of weights beside it that exists or not."""
    paths = {name: folder / f"{name}.dlir" for name in ("empty", "blob", "small", "beside")}
    paths["empty"].write_text("module {\n}\n")
    with open(paths["blob"], "w") as file:
        file.write(module_with_weight(BLOB_BYTES // 4))
        file.write('\n{-#\n  dialect_resources: {\n    builtin: {\n      w: "0x04000000')
        # In pieces: a process starts with the largest resident set of the one that made it.
        for _ in range(BLOB_BYTES // MB):
            file.write("3F" * MB)
        file.write('"\n    }\n  }\n#-}\n')
    elements = FILE_BYTES // 4
    named = ' attributes {dlir.weights = "w.safetensors"}'
    paths["small"].write_text(module_with_weight(elements))
    paths["beside"].write_text(module_with_weight(elements, named))
    header = json.dumps({"w": {"dtype": "F32", "shape": [elements], "data_offsets": [0, FILE_BYTES]}}).encode()
    header += b" " * (-(8 + len(header)) % 64)
    with open(folder / "w.safetensors", "wb") as weights:
        weights.write(struct.pack("<Q", len(header)) + header)
        weights.truncate(8 + len(header) + FILE_BYTES)
    return paths


def main() -> None:
    print(f"{'':58} {'wall s':>8} {'CPU s':>8} {'MB':>8}")
    with tempfile.TemporaryDirectory() as name:
        paths = write_inputs(Path(name))
        passes = ("-p", "canonicalize,cse,dce")
        rows = {
            "python -c pass": (7, "pass", ()),
            "dlir-opt --help": (7, DLIR_OPT, ("--help",)),
            "dlir-opt on an empty module": (7, DLIR_OPT, (str(paths["empty"]),)),
            "dlir-opt on a blob of 100 MB of text, printed again": (3, DLIR_OPT, (str(paths["blob"]),)),
            "the same, and the array that the blob holds": (3, READ_WEIGHTS, (str(paths["blob"]),)),
            "dlir-opt, three passes, no weights": (5, DLIR_OPT, (str(paths["small"]), *passes)),
            "dlir-opt, three passes, 500 MB of safetensors beside it": (5, DLIR_OPT, (str(paths["beside"]), *passes)),
            "one element in each MB of the 500 MB asked for": (3, READ_WEIGHTS, (str(paths["beside"]),)),
        }
        for title, (repeats, code, arguments) in rows.items():
            found = fastest(repeats, code, *arguments)
            print(f"{title:58} {found.wall:8.3f} {found.cpu:8.3f} {found.megabytes:8.0f}", flush=True)


if __name__ == "__main__":
    main()
