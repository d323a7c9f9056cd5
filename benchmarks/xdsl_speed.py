"""How fast the core is: parse, print, verify, clone, cse, canonicalize and dce, dlir against xDSL on the same modules.

    python benchmarks/xdsl_speed.py [--ops 10000] [--repeats 3] [--json FILE]

Microseconds of CPU an op, the best of the repeats, and how many times faster dlir is.  Every kind of module is measured at
the size given and at ten times that for dlir alone, to show that the cost an op does not grow.  Needs ``xdsl==0.74.0``.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from io import StringIO
from typing import Any

from parse_xdsl import KINDS, Generator, generate

STEPS = ("parse", "print", "verify", "clone", "cse", "canonicalize", "dce")


def blocks(count: int) -> str:
    """One function of many blocks, each with an op and a branch."""
    lines = []
    for i in range(count // 2):
        lines.append(
            f'    %v{i} = "arith.addi"(%x, %x) <{{overflowFlags = #arith.overflow<none>}}> : (i32, i32) -> i32'
        )
        lines.append(f'    "cf.br"()[^b{i}] : () -> ()\n  ^b{i}:')
    body = "\n".join(lines) + '\n    "func.return"(%x) : (i32) -> ()'
    head = '"builtin.module"() ({\n  "func.func"() <{function_type = (i32) -> i32, sym_name = "main"}> ({\n  ^bb0(%x: i32):\n'
    return head + body + "\n  }) : () -> ()\n}) : () -> ()\n"


def symbols(count: int) -> str:
    """Many small functions that call each other."""
    parts = []
    for i in range(count // 3):
        callee = (i * 7919) % (count // 3)
        parts.append(
            f'  "func.func"() <{{function_type = (i32) -> i32, sym_name = "f{i}"}}> ({{\n  ^bb0(%x: i32):\n'
            f'    %0 = "func.call"(%x) <{{callee = @f{callee}}}> : (i32) -> i32\n'
            '    "func.return"(%0) : (i32) -> ()\n  }) : () -> ()'
        )
    return '"builtin.module"() ({\n' + "\n".join(parts) + "\n}) : () -> ()\n"


def types(count: int) -> str:
    """Ops of an unregistered dialect, nearly every one with a type of its own."""
    to = Generator(0)

    def body(generator: Generator, ops: int) -> str:
        while generator.count < ops:
            i = generator.count
            generator.result(f'"dl.make"() : () -> tensor<{i % 997 + 1}x{i // 997 + 1}xf32>')
        return "%x"

    return to.module(count, body, "i32")


MODULES: dict[str, Callable[[int], str]] = {
    **{kind: lambda count, kind=kind: generate(kind, count) for kind in KINDS},  # type: ignore[misc]
    "blocks": blocks,
    "symbols": symbols,
    "types": types,
}


def timed(make: Callable[[], Any], run: Callable[[Any], Any], repeats: int) -> float:
    """CPU seconds of the fastest `run` on what `make` gives anew each time."""
    best = float("inf")
    for _ in range(repeats):
        subject = make()
        gc.collect()
        start = time.process_time()
        run(subject)
        best = min(best, time.process_time() - start)
    return best


def with_dlir(text: str, repeats: int) -> tuple[dict[str, float], int]:
    """Seconds of each step, and the number of ops."""
    from dlir.ir.traversal import clone
    from dlir.ir.verifier import verify
    from dlir.passes.manager import PassManager
    from dlir.textir import parse, to_text

    module = parse(text)
    assert not verify(module)
    ops = sum(1 for _ in module.walk())
    seconds = {
        "parse": timed(lambda: text, parse, repeats),
        "print": timed(lambda: module, lambda m: to_text(m, generic=True), repeats),
        "verify": timed(lambda: module, verify, repeats),
        "clone": timed(lambda: module, clone, repeats),
    }
    for name in ("cse", "canonicalize", "dce"):
        manager = PassManager.from_text(name, verify_each=False)
        seconds[name] = timed(lambda: clone(module), manager.run, repeats)
    return seconds, ops


def with_xdsl(text: str, repeats: int) -> dict[str, float]:
    """Seconds of each step."""
    from xdsl.context import Context
    from xdsl.dialects import get_all_dialects
    from xdsl.parser import Parser
    from xdsl.printer import Printer
    from xdsl.transforms import canonicalize, common_subexpression_elimination, dead_code_elimination

    def context() -> Any:
        made = Context(allow_unregistered=True)
        for name, factory in get_all_dialects().items():
            made.register_dialect(name, factory)
        return made

    def parse(ctx: Any) -> Any:
        return Parser(ctx, text).parse_module()

    ctx = context()
    module = parse(ctx)
    passes = {
        "cse": common_subexpression_elimination.CommonSubexpressionElimination(),
        "canonicalize": canonicalize.CanonicalizePass(),
        "dce": dead_code_elimination.DeadCodeElimination(),
    }
    seconds = {
        "parse": timed(context, parse, repeats),
        "print": timed(lambda: module, lambda m: Printer(StringIO(), print_generic_format=True).print_op(m), repeats),
        "verify": timed(lambda: module, lambda m: m.verify(), repeats),
        "clone": timed(lambda: module, lambda m: m.clone(), repeats),
    }
    for name, item in passes.items():
        seconds[name] = timed(module.clone, lambda m, item=item: item.apply(ctx, m), repeats)  # type: ignore[misc]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ops", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", default=list(MODULES))
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    record: dict[str, Any] = {}
    print(f"{'module':8} {'':10} " + " ".join(f"{step:>13}" for step in STEPS))
    for kind in args.kinds:
        text = MODULES[kind](args.ops)
        ours, ops = with_dlir(text, args.repeats)
        theirs = with_xdsl(text, 1)
        large, many = with_dlir(MODULES[kind](10 * args.ops), 1)
        rows = {
            "dlir us/op": {step: ours[step] / ops * 1e6 for step in STEPS},
            "at 10x": {step: large[step] / many * 1e6 for step in STEPS},
            "xDSL us/op": {step: theirs[step] / ops * 1e6 for step in STEPS},
            "ratio": {step: theirs[step] / ours[step] for step in STEPS},
        }
        record[kind] = rows
        for name, row in rows.items():
            print(f"{kind:8} {name:10} " + " ".join(f"{row[step]:13.1f}" for step in STEPS), flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(record, file, indent=1)


if __name__ == "__main__":
    main()
