"""``dlir-opt``: read a module, run passes on it, write it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from dlir.frontends.cli.common import FAILED, LOAD_PLUGIN, OK, ArgumentParser, read_module, run_command, write_text

if TYPE_CHECKING:
    from dlir.ir.dialects.builtin import Module
    from dlir.passes.manager import Pass, PassManager

BRIEF = """\
dlir-opt: run passes on a .dlir module

  dlir-opt FILE                             check it and print it again
  dlir-opt FILE -p "lower-nn,canonicalize"  run these passes and print the result
  dlir-opt FILE -O2 -o out.dlir             the whole default pipeline, into a file
  dlir-opt --list-passes                    what there is to run

FILE may be - for standard input.  'dlir-opt --help' tells all.
"""


def build_parser() -> ArgumentParser:
    """The command line of dlir-opt."""
    parser = ArgumentParser(prog="dlir-opt", description="Read a .dlir module, run passes on it, write it.")
    parser.add_argument("file", nargs="?", help="the module; - for standard input")
    parser.add_argument("-p", "--passes", metavar="PIPELINE", help='passes to run, as in "lower-nn,fuse{max-ops=8}"')
    parser.add_argument("-O", dest="level", choices=["0", "1", "2"], help="run a whole pipeline: -O0, -O1, -O2")
    parser.add_argument("--target", choices=["cpu", "cuda"], default="cpu", help="what -O compiles for")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write; standard output if not given")
    parser.add_argument("--emit", choices=["dlir", "generic", "llvm", "cuda"], default="dlir", help="what to write")
    parser.add_argument("--locations", action="store_true", help="print loc(...) after each op")
    parser.add_argument("--weights", metavar="FILE", help="safetensors file to use instead of the module's own")
    parser.add_argument("--entry", default="main", metavar="NAME", help="the function to emit code for")
    parser.add_argument("--print-ir", metavar="WHEN", help="print the module to stderr: 'changed', 'all' or a pass name")
    parser.add_argument("--timing", action="store_true", help="print the time that each pass took")
    parser.add_argument("--stats", nargs="?", const="text", choices=["text", "json"], help="print what each pass counted")
    parser.add_argument("--no-verify-each", action="store_true", help="do not verify after each pass")
    parser.add_argument("--verify-roundtrip", action="store_true", help="check that the text reads back the same")
    parser.add_argument("--list-passes", action="store_true", help="list the passes with their options")
    parser.add_argument("--list-dialects", action="store_true", help="list the dialects with their ops")
    parser.add_argument("--load-plugin", action="append", default=[], metavar="MODULE_OR_FILE", help=LOAD_PLUGIN)
    parser.add_argument("--verbose", action="store_true", help="show a traceback for internal errors")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv and sys.stdin.isatty():
        sys.stdout.write(BRIEF)
        return OK
    args = build_parser().parse_args(argv)
    sources: dict[str, str] = {}
    return run_command(lambda: _run(args, sources), sources, args.verbose)


def _run(args: argparse.Namespace, sources: dict[str, str]) -> int:
    from dlir.frontends.cli import listings
    from dlir.frontends.plugins import load_plugin

    for plugin in args.load_plugin:
        load_plugin(plugin)
    if args.list_passes:
        sys.stdout.write(listings.passes())
        return OK
    if args.list_dialects:
        sys.stdout.write(listings.dialects())
        return OK
    # The pipeline is checked before a large file is read.
    manager = _make_manager(args)
    parsed = read_module(args.file or "-", args.weights, sources)
    try:
        manager.run(parsed.module)
    finally:
        _report(args, manager)
    if args.verify_roundtrip and not _round_trips(parsed.module):
        return FAILED
    write_text(_emit(args, parsed.module), args.output)
    if args.output not in (None, "-"):
        parsed.copy_sidecars(args.output)
    return OK


def _make_manager(args: argparse.Namespace) -> PassManager:
    from dlir.passes.manager import PassManager
    from dlir.passes.pipelines import pipeline_for

    text = args.passes or ""
    if args.level is not None:
        text = ",".join(part for part in (pipeline_for(f"O{args.level}", args.target), text) if part)
    manager = PassManager.from_text(text, verify_each=not args.no_verify_each)
    if args.print_ir:
        manager.after = _Printer(args.print_ir)
    return manager


class _Printer:
    """Prints the module after passes, to stderr."""

    def __init__(self, when: str) -> None:
        from dlir.passes.manager import find_pass

        if when not in ("changed", "all"):
            find_pass(when)
        self.when = when
        self.last = ""

    def __call__(self, item: Pass, module: Module) -> None:
        from dlir.textir import to_text

        if self.when not in ("changed", "all", item.name):
            return
        text = to_text(module)
        if self.when == "changed" and text == self.last:
            print(f"// ---- after {item}: unchanged", file=sys.stderr)
        else:
            print(f"// ---- after {item}\n{text}", file=sys.stderr)
        self.last = text


def _report(args: argparse.Namespace, manager: PassManager) -> None:
    if args.timing:
        total = sum(t.seconds for t in manager.timings) or 1e-9
        print(f"{'ms':>9}  {'%':>4}  {'ops':>13}  pass", file=sys.stderr)
        for t in manager.timings:
            ops = f"{t.ops_before} -> {t.ops_after}"
            print(f"{t.seconds * 1e3:9.2f}  {t.seconds / total:4.0%}  {ops:>13}  {t.name}", file=sys.stderr)
        print(f"{total * 1e3:9.2f}  100%  {'':>13}  total", file=sys.stderr)
    if args.stats:
        counted = [(str(p), dict(getattr(p, "stats", {}))) for p in manager.passes]
        if args.stats == "json":
            import json

            print(json.dumps([{"pass": name, "stats": stats} for name, stats in counted]), file=sys.stderr)
        else:
            for name, stats in counted:
                listed = ", ".join(f"{key} {value}" for key, value in stats.items())
                print(f"{name}: {listed or 'nothing'}", file=sys.stderr)


def _round_trips(module: Module) -> bool:
    from dlir.ir.traversal import difference
    from dlir.textir import parse, to_text

    for generic in (False, True):
        found = difference(module, parse(to_text(module, generic=generic)))
        if found is not None:
            form = "generic" if generic else "pretty"
            print(f"error: the {form} form does not read back the same: {found}", file=sys.stderr)
            return False
    return True


def _emit(args: argparse.Namespace, module: Any) -> str:
    from dlir.textir import to_text

    if args.emit in ("dlir", "generic"):
        return to_text(module, generic=args.emit == "generic", locations=args.locations)
    from dlir.backends.registry import emit_source

    return emit_source(module, args.entry, args.emit)


if __name__ == "__main__":
    sys.exit(main())
