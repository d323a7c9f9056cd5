"""How much memory networks need, beside what no plan can go below.

    python benchmarks/memory.py [NETWORK ...] [--output FILE]

One line for each network, with one kernel per op (`unfused`, O1) and with the default pipeline (`fused`, O2): bytes when
every op's result has memory of its own, bytes as planned (inputs, results and arena), the lower bound, and the seconds of
the passes which order kernels, share buffers and place them.  A line says ``over`` where the plan is larger than the bound.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from graphs import NETWORKS, Graph

from dlir.backends.compiler import make_manager
from dlir.ir.dialects.builtin import Module
from dlir.ir.traversal import clone
from dlir.passes.manager import Pass
from dlir.passes.memory.report import MemoryReport, memory_report

#: The passes that plan memory.
PLANNING = ("reorder", "bufferize", "plan-memory")
LEVELS = {"unfused": "O1", "fused": "O2"}


def planned(graph: Graph, level: str) -> tuple[MemoryReport, float]:
    """What a call needs after the pipeline of `level`, and the seconds that planning took."""
    seconds = 0.0
    started = time.perf_counter()

    def after(done: Pass, module: Module) -> None:
        nonlocal seconds, started
        now = time.perf_counter()
        seconds += now - started if done.name in PLANNING else 0.0
        started = time.perf_counter()

    lowered = make_manager("cpu", level, after).run(clone(graph.module))
    return memory_report(graph.module, lowered), seconds


def lines_of(graph: Graph) -> list[str]:
    """The lines of one network."""
    lines = []
    for word, level in LEVELS.items():
        report, seconds = planned(graph, level)
        ratio = report.planned / report.lower_bound
        sizes = f"{report.naive:14,} {report.planned:13,} {report.lower_bound:13,}"
        over = "  over" if report.planned > report.lower_bound else ""
        lines.append(f"{graph.name:38} {word:8} {sizes} {ratio:6.3f} {seconds:8.2f}{over}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a plan is larger than its bound."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", help="names of functions in graphs.py; all of them if none is given")
    parser.add_argument("--output", type=Path, help="a file for the table, too")
    options = parser.parse_args(arguments)
    known = {make.__name__: make for make in NETWORKS}
    for name in options.networks:
        if name not in known:
            parser.error(f"there is no network '{name}'; there are {', '.join(known)}")
    lines = [f"{'network':38} {'':8} {'naive':>14} {'planned':>13} {'lower bound':>13} {'ratio':>6} {'seconds':>8}"]
    print(lines[0])
    for name in options.networks or known:
        found = lines_of(known[name]())
        lines += found
        print("\n".join(found), flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(any(line.endswith("over") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
