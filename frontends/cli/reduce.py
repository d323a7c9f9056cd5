"""``dlir-reduce``: make a module small while a command still holds for it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlir.frontends.cli.common import (
    OK,
    USAGE,
    ArgumentParser,
    add_common_options,
    file_name,
    read_module,
    run_command,
    writing,
)

if TYPE_CHECKING:
    from dlir.frontends.reduce.check import Check
    from dlir.ir.dialects.builtin import Module
    from dlir.textir import ParsedModule

BRIEF = """\
dlir-reduce: make a .dlir module small while it still shows a bug

  dlir-reduce FILE --check "dlir-run {}"           only what dlir-run accepts
  dlir-reduce FILE --check "./still-fails.sh {}"   what your script exits with 0 for
  dlir-reduce FILE --check CMD -o small.dlir       where to write; FILE.reduced.dlir if not given

The command runs for each candidate, and exit code 0 says that it is still interesting. 'dlir-reduce --help' tells all.
"""


def build_parser() -> ArgumentParser:
    """The command line of dlir-reduce."""
    parser = ArgumentParser(prog="dlir-reduce", description="Make a .dlir module small while a command holds for it.")
    parser.add_argument("file", nargs="?", type=file_name, default="-", help="the module; - for standard input")
    parser.add_argument("--check", required=True, metavar="CMD", help=_CHECK_HELP)
    parser.add_argument("-o", "--output", type=file_name, metavar="FILE", help=_OUTPUT_HELP)
    parser.add_argument("--timeout", type=_seconds, default=60.0, metavar="S", help="seconds that CMD may take (60)")
    parser.add_argument("--weights", metavar="FILE", help="safetensors file to use instead of the module's own")
    add_common_options(parser)
    return parser


_OUTPUT_HELP = "where to write; FILE.reduced.dlir if not given"
_CHECK_HELP = "command that exits with 0 for what is still interesting; {}, or else its end, is the file's name"


def _seconds(text: str) -> float:
    # What is longer than the clocks of the system can wait is refused, too.
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) <= threading.TIMEOUT_MAX:
            return seconds
    raise argparse.ArgumentTypeError(f"must be a positive number of seconds; got '{text}'")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv and sys.stdin.isatty():
        sys.stdout.write(BRIEF)
        return OK
    args = build_parser().parse_args(argv)
    sources: dict[str, str] = {}
    return run_command(lambda: _run(args, sources), sources, args.verbose, args.max_errors)


def _run(args: argparse.Namespace, sources: dict[str, str]) -> int:
    from dlir.frontends.plugins import load_plugin
    from dlir.frontends.reduce.check import Check

    path = args.file
    if path == "-" and args.output in (None, "-"):
        return _usage("give the output's name with -o when reading standard input")
    try:
        check = Check.parse(args.check, args.timeout)
    except ValueError as error:
        return _usage(f"--check: {str(error).lower()}")
    for plugin in args.load_plugin:
        load_plugin(plugin)
    parsed = read_module(path, args.weights, sources)
    _take_in_blobs(parsed)
    output = Path(args.output or Path(path).with_suffix(".reduced.dlir"))
    with tempfile.TemporaryDirectory(prefix="dlir-reduce-") as folder:
        candidate = Path(folder) / "candidate.dlir"
        parsed.copy_sidecars(candidate)
        return _reduce(parsed, check, candidate, output, path)


def _reduce(parsed: ParsedModule, check: Check, candidate: Path, output: Path, name: str) -> int:
    from dlir.frontends.reduce.progress import progress
    from dlir.frontends.reduce.search import Search, count_ops
    from dlir.textir import print_module
    from dlir.textir.atomic import atomic_write

    def interesting(module: Module) -> bool:
        candidate.write_text(print_module(module))
        return check(candidate)

    def keep(module: Module) -> None:
        with writing(output):
            atomic_write(output, print_module(module).encode())
        dataclasses.replace(parsed, module=module).copy_sidecars(output)

    search = Search(parsed.module, interesting, keep)
    if not search.holds_at_start():
        raise _does_not_hold(check, name)
    keep(search.best)
    try:
        with progress(sys.stderr) as search.observe:
            search.run()
    finally:
        words = f"{count_ops(parsed.module)} ops -> {search.size} ops after {search.checks} checks"
        print(f"{name}: {words}: {output}", file=sys.stderr)
    return OK


def _does_not_hold(check: Check, name: str) -> Any:
    from dlir.ir.errors import DlirError, Note

    notes = [Note(f"it wrote: {line}") for line in check.errors.strip().splitlines()[-3:]]
    hint = "it runs on the module as dlir prints it, and must exit with 0 while the bug is there"
    return DlirError(f"the check does not hold for '{name}': it {check.ended}", notes=notes, hint=hint)


def _take_in_blobs(parsed: ParsedModule) -> None:
    """Put the arrays that the text holds as blobs into the constants that name them: the printer has no blobs."""
    from dlir.ir.attributes import DenseElementsAttr, DenseResourceAttr

    for op in parsed.module.walk() if parsed.blobs else ():
        for name, attribute in op.attributes.items():
            if isinstance(attribute, DenseResourceAttr) and attribute.name in parsed.blobs:
                array = parsed.weights.get(attribute.name, attribute.type)
                op.attributes[name] = DenseElementsAttr(array, attribute.type)


def _usage(message: str) -> int:
    print(f"dlir-reduce: error: {message}", file=sys.stderr)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
