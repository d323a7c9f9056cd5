"""How fast the core is: parse, print, verify, clone, cse, canonicalize and dce, dlir against xDSL on the same modules.

    python benchmarks/xdsl_speed.py [--ops 3000] [--large 10000 100000] [--repeats 7] [--kinds NAME...] [--json FILE]
    python benchmarks/xdsl_speed.py --startup

Microseconds of CPU an op, the best of the repeats, in one process, with Python's cyclic garbage collector off for both; and
how many times faster dlir is.  The rows below that are dlir on more ops: where they agree, time is linear.
The ops of `layers`, `loops` and `types` are unknown to both tools, which must leave them alone; `known-...` is the same text
with ops that both know to be without effects.  "ops left" counts what the three passes leave, dlir / xDSL: dlir's cse merges
and leaves unused ops to dce, xDSL's removes them too; xDSL's canonicalize also joins a block to its only predecessor, which
dlir's does not.  A ratio in brackets is of two passes neither of which changes anything; a dash stands where xDSL leaves alone
what dlir changes (its cse does not look into a region of several blocks).  "bytes" is what stays allocated of a
module of 10,000 ops besides its text, an op, and "peak" the most while it was read.  Needs ``xdsl==0.74.0``.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from io import StringIO
from typing import Any

from known_ops import register_with_dlir, register_with_xdsl
from modules import MODULES, UNKNOWN, with_known_ops

PASSES = ("cse", "canonicalize", "dce")
STEPS = ("parse", "print", "verify", "clone", *PASSES)
KINDS = {**MODULES, **{f"known-{kind}": with_known_ops(kind) for kind in UNKNOWN}}

#: Microseconds an op of each step, and the ops that each pass leaves.
Figures = tuple[dict[str, float], dict[str, int]]

#: A step that is slow is not repeated after so many seconds.
ENOUGH_SECONDS = 2.0


def timed(make: Callable[[], Any], run: Callable[[Any], Any], repeats: int) -> float:
    """CPU seconds of the fastest `run` on what `make` gives anew each time."""
    best, total = float("inf"), 0.0
    for count in range(repeats):
        if count > 1 and total > ENOUGH_SECONDS:
            break
        subject = make()
        gc.collect()
        gc.disable()
        start = time.process_time()
        run(subject)
        seconds = time.process_time() - start
        gc.enable()
        best, total = min(best, seconds), total + seconds
    return best


def measured(
    text: str, steps: dict[str, Callable[[Any], Any]], module: Any, clone: Callable[[Any], Any], repeats: int
) -> Figures:
    """Run each step: "parse" gets the text, a pass a copy of the module, any other the module."""
    ops = sum(1 for _ in module.walk())
    times, left = {}, {}
    for name, run in steps.items():
        if name in PASSES:
            copy = clone(module)
            run(copy)
            left[name] = sum(1 for _ in copy.walk())
            make: Callable[[], Any] = lambda: clone(module)  # noqa: E731
        else:
            subject = text if name == "parse" else module
            make = lambda subject=subject: subject  # type: ignore[misc]  # noqa: E731
        times[name] = timed(make, run, repeats) / ops * 1e6
    return times, {"": ops, **left}


def with_dlir(text: str, repeats: int) -> Figures:
    from dlir.ir.traversal import clone
    from dlir.ir.verifier import verify
    from dlir.passes.manager import find_pass
    from dlir.textir import parse, to_text

    def run(name: str) -> Callable[[Any], None]:
        item = find_pass(name)()
        item.stats = Counter()
        return item.run

    module = parse(text)
    assert not verify(module)
    steps: dict[str, Callable[[Any], Any]] = {
        "parse": parse,
        "print": lambda m: to_text(m, generic=True),
        "verify": verify,
        "clone": clone,
        **{name: run(name) for name in PASSES},
    }
    return measured(text, steps, module, clone, repeats)


def xdsl_context() -> Any:
    """A context that knows all dialects of xDSL, and ours."""
    from xdsl.context import Context
    from xdsl.dialects import get_all_dialects

    made = Context(allow_unregistered=True)
    for name, factory in get_all_dialects().items():
        made.register_dialect(name, factory)
    register_with_xdsl(made)
    return made


def with_xdsl(text: str, repeats: int) -> Figures:
    from xdsl.parser import Parser
    from xdsl.printer import Printer
    from xdsl.transforms import canonicalize, common_subexpression_elimination, dead_code_elimination

    context = xdsl_context()
    module = Parser(context, text).parse_module()
    module.verify()
    passes = {
        "cse": common_subexpression_elimination.CommonSubexpressionElimination(),
        "canonicalize": canonicalize.CanonicalizePass(),
        "dce": dead_code_elimination.DeadCodeElimination(),
    }
    steps: dict[str, Callable[[Any], Any]] = {
        "parse": lambda text: Parser(context, text).parse_module(),
        "print": lambda m: Printer(StringIO(), print_generic_format=True).print_op(m),
        "verify": lambda m: m.verify(),
        "clone": lambda m: m.clone(),
        **{name: lambda m, item=item: item.apply(context, m) for name, item in passes.items()},  # type: ignore[misc]
    }
    return measured(text, steps, module, lambda m: m.clone(), repeats)


def bytes_per_op(small: str, text: str) -> dict[str, float]:
    """What a parsed module takes besides its text, and the most that parsing took, an op; `small` loads the dialects."""
    from dlir.textir import parse

    parse(small)
    gc.collect()
    tracemalloc.start()
    try:
        module = parse(text)
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    ops = sum(1 for _ in module.walk())
    return {"bytes": kept / ops, "peak": peak / ops}


def rows_of(kind: str, ops: int, large: list[int], repeats: int) -> dict[str, dict[str, Any]]:
    """The rows of a kind of module: figures by step."""
    # First, while the attributes and types of this module are not in any table yet: they are part of what it takes.
    memory = {} if kind.startswith("known") else bytes_per_op(KINDS[kind](60), KINDS[kind](10_000))
    text = KINDS[kind](ops)
    ours, left = with_dlir(text, repeats)
    theirs, their_left = with_xdsl(text, repeats)
    assert left[""] == their_left[""], "the two parsers disagree"
    ratios = {step: f"{theirs[step] / ours[step]:.1f}" for step in STEPS}
    for name in PASSES:
        unchanged, theirs_unchanged = left[name] == left[""], their_left[name] == left[""]
        if theirs_unchanged:
            ratios[name] = f"({ratios[name]})" if unchanged else "-"
    return {
        "dlir us/op": {**ours, **memory},
        "xDSL us/op": theirs,
        "ratio": ratios,
        "ops left": {"parse": str(left[""]), **{name: f"{left[name]}/{their_left[name]}" for name in PASSES}},
        **{f"dlir {count // 1000}k": with_dlir(KINDS[kind](count), 2)[0] for count in large},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=3000)
    parser.add_argument("--large", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument(
        "--startup", action="store_true", help="measure the start of dlir-opt and large payloads instead"
    )
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.startup:
        import startup

        startup.main()
        return
    register_with_dlir()
    record: dict[str, Any] = {}
    columns = (*STEPS, "bytes", "peak")
    print(f"{'module':12} {'':10} " + " ".join(f"{column:>12}" for column in columns))
    for kind in args.kinds:
        record[kind] = rows_of(kind, args.ops, args.large, args.repeats)
        for name, row in record[kind].items():
            cells = [row.get(column, "") for column in columns]
            texts = [cell if isinstance(cell, str) else f"{cell:.{0 if cell >= 100 else 1}f}" for cell in cells]
            print(f"{kind:12} {name:10} " + " ".join(f"{text:>12}" for text in texts), flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(record, file, indent=1)


if __name__ == "__main__":
    main()
