"""How fast text becomes IR: dlir against xDSL, on the same modules in MLIR's generic form, in one process.

    python benchmarks/parse_xdsl.py [--ops 10000] [--repeats 3]

xDSL is pip-installable (``xdsl==0.74.0``).  Times are CPU seconds, the best of the repeats, with a fresh context each time.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

from modules import MODULES

#: The kinds of `modules` that are measured here.
KINDS = ("scalars", "layers", "loops", "types")


def best(parse: Callable[[str], Any], text: str, repeats: int) -> tuple[float, Any]:
    """CPU seconds of the fastest run, and what it gave."""
    fastest, module = float("inf"), None
    for _ in range(repeats):
        module = None
        gc.collect()
        start = time.process_time()
        module = parse(text)
        fastest = min(fastest, time.process_time() - start)
    return fastest, module


def parse_with_xdsl(text: str) -> Any:
    """The module as xDSL's."""
    from xdsl.context import Context
    from xdsl.dialects import get_all_dialects
    from xdsl.parser import Parser

    context = Context(allow_unregistered=True)
    for name, load in get_all_dialects().items():
        context.register_dialect(name, load)
    return Parser(context, text).parse_module()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    from dlir.textir import parse

    print(f"{'module':10} {'ops':>7} {'dlir ops/s':>11} {'xDSL ops/s':>11} {'ratio':>6}")
    for kind in KINDS:
        text = MODULES[kind](arguments.ops)
        ours, module = best(parse, text, arguments.repeats)
        theirs, other = best(parse_with_xdsl, text, arguments.repeats)
        count = sum(1 for _ in module.walk())
        assert count == sum(1 for _ in other.walk()), "the two parsers disagree"
        print(f"{kind:10} {count:7} {count / ours:11.0f} {count / theirs:11.0f} {theirs / ours:6.1f}")


if __name__ == "__main__":
    main()
