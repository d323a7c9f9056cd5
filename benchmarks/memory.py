"""How much memory networks need, beside what no plan can go below.

    python benchmarks/memory.py [NETWORK ...] [--output FILE]

One line for each network, with one kernel per op (`unfused`, O1) and with the default pipeline (`fused`, O2): bytes when
every op's result has memory of its own, bytes as planned (inputs, variables that are written, results and arena), the lower
bound, the seconds of the passes which order kernels, share buffers and place them, and those of the whole pipeline,
in CPU time of the one thread that passes run on.

Forward networks, then training steps (``training_graphs.py``).  A plan more than 2% over the bound is made again with ten
times the search (`longer`), as O3 does.  A line says ``over`` where a forward network's plan is larger than the bound, a
training step's more than 5%, or one that was searched for longer more than 2%.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from graphs import NETWORKS, Graph
from training_graphs import TRAINING

import dlir.backends.compiler  # noqa: F401 -- what the pipelines need
from dlir.ir.dialects.builtin import Module
from dlir.ir.traversal import clone
from dlir.passes.manager import Pass, PassManager
from dlir.passes.memory.report import MemoryReport, memory_report
from dlir.passes.pipelines import PIPELINES

#: The passes that plan memory.
PLANNING = ("reorder", "bufferize", "plan-memory")
LEVELS = {"unfused": "O1", "fused": "O2"}
#: What a plan may need, times the bound, for a word in the table.
FORWARD, TRAIN, LONGER = 1.0, 1.05, 1.02


def planned(graph: Graph, pipeline: str) -> tuple[MemoryReport, float, float]:
    """What a call needs after `pipeline`, the seconds that planning took, and those of all passes."""
    seconds: Counter[str] = Counter()
    started = time.process_time()

    def after(done: Pass, module: Module) -> None:
        nonlocal started
        now = time.process_time()
        seconds[done.name] += now - started
        started = time.process_time()

    lowered = PassManager.from_text(pipeline, verify_each=False, after=after).run(clone(graph.module))
    report = memory_report(graph.module, lowered)
    return report, sum(seconds[name] for name in PLANNING), seconds.total()


def lines_of(graph: Graph, limit: float) -> list[str]:
    """The lines of one network, whose plan may be `limit` times the bound."""
    lines = []
    for word, level in LEVELS.items():
        pipeline = PIPELINES[level]
        line, ratio = line_of(graph, word, pipeline, limit)
        lines.append(line)
        if ratio > LONGER:
            longer = pipeline.replace("plan-memory", "plan-memory{effort=40000000}")
            lines.append(line_of(graph, f"{word}, longer", longer, LONGER)[0])
    return lines


def line_of(graph: Graph, word: str, pipeline: str, limit: float) -> tuple[str, float]:
    """One line, and how many times the bound the plan needs."""
    report, seconds, total = planned(graph, pipeline)
    ratio = report.planned / report.lower_bound
    sizes = f"{report.naive:14,} {report.planned:13,} {report.lower_bound:13,}"
    over = "  over" if ratio > limit else ""
    return f"{graph.name:42} {word:15} {sizes} {ratio:6.3f} {seconds:8.2f} {total:8.2f}{over}", ratio


def _head() -> str:
    sizes = f"{'naive':>14} {'planned':>13} {'lower bound':>13}"
    return f"{'network':42} {'':15} {sizes} {'ratio':>6} {'planning':>8} {'all':>8}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a line is over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "networks", nargs="*", help="names of functions in graphs.py and training_graphs.py; default: all"
    )
    parser.add_argument("--output", type=Path, help="a file for the table, too")
    options = parser.parse_args(arguments)
    limits = {make: limit for makes, limit in ((NETWORKS, FORWARD), (TRAINING, TRAIN)) for make in makes}
    known = {make.__name__: make for make in limits}
    for name in options.networks:
        if name not in known:
            parser.error(f"there is no network '{name}'; there are {', '.join(known)}")
    lines = [_head()]
    print(lines[0])
    for name in options.networks or known:
        found = lines_of(known[name](), limits[known[name]])
        lines += found
        print("\n".join(found), flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(any(line.endswith("over") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
