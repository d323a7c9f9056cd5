"""Packs the instances of MiniMalloc's benchmark: `python benchmarks/minimalloc.py FOLDER`.

Each CSV holds buffers as id,lower,upper,size (upper is the first time at which the buffer is dead).  Prints for each file
its name, the lower bound, the height of dlir's packing and the seconds.  A number in the file's name, as in
A.1048576.csv, is the height that is asked for; without one it is the lower bound.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path

from dlir.ir.errors import DlirError
from dlir.passes.memory.checker import conflicts
from dlir.passes.memory.packing import Lifetime, pack

#: About a minute of search at most.
EFFORT = 280_000_000


def read(path: Path) -> list[Lifetime]:
    """The buffers in a CSV file; DlirError if it does not hold any."""
    try:
        with path.open(newline="") as file:
            rows = [(int(row["size"]), int(row["lower"]), int(row["upper"])) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError) as error:
        raise DlirError(f"{path.name} is no table of id,lower,upper,size: {error}") from None
    if not all(size > 0 and lower < upper for size, lower, upper in rows):
        raise DlirError(f"{path.name} holds a buffer without bytes or time")
    return [Lifetime(size, lower, upper - 1) for size, lower, upper in rows]


def capacity(path: Path) -> int | None:
    """The height that is asked for in a file's name."""
    numbers = [part for part in path.name.split(".")[1:] if part.isdecimal()]
    return int(numbers[0]) if numbers else None


def main() -> None:
    """Pack all files of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--effort", type=int, default=EFFORT, help="steps of search")
    args = parser.parse_args()
    print("name lower_bound planned seconds")
    for path in sorted(args.folder.glob("*.csv")):
        items = read(path)
        start = time.perf_counter()
        packing = pack(items, math.gcd(*(item.size for item in items)), args.effort, capacity(path))
        seconds = time.perf_counter() - start
        assert not conflicts(items, packing), path
        print(path.stem, packing.lower_bound, packing.height, f"{seconds:.2f}", flush=True)


if __name__ == "__main__":
    main()
