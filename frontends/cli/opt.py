"""``dlir-opt``: read a module, run passes on it, write it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dlir.frontends.cli import memory_map, rules, why
from dlir.frontends.cli.common import (
    FAILED,
    OK,
    ArgumentParser,
    add_common_options,
    file_name,
    read_module,
    read_text,
    run_command,
    show_errors,
    write_text,
)

if TYPE_CHECKING:
    from dlir.ir.errors import Diagnostic
    from dlir.passes.manager import PassManager
    from dlir.textir import ParsedModule

BRIEF = """\
dlir-opt: run passes on a .dlir module

  dlir-opt FILE                             check it and print it again
  dlir-opt FILE -p "lower-nn,canonicalize"  run these passes and print the result
  dlir-opt FILE -O2 -o out.dlir             the whole default pipeline, into a file
  dlir-opt --list-passes                    what there is to run
  dlir-opt --example nd.softmax             a small module to start from

FILE may be - for standard input.  'dlir-opt --help' tells all.
"""


def build_parser() -> ArgumentParser:
    """The command line of dlir-opt."""
    parser = ArgumentParser(prog="dlir-opt", description="Read a .dlir module, run passes on it, write it.")
    add = parser.add_argument
    add("file", nargs="?", type=file_name, default="-", help="the module; - for standard input")
    add("-p", "--passes", action="append", default=[], metavar="PIPELINE", help=_PASSES_HELP)
    add("-O", dest="level", choices=["0", "1", "2", "3"], help="run a whole pipeline first: -O0, -O1, -O2, -O3")
    add("--target", choices=["cpu", "cuda"], default="cpu", help="what -O compiles for")
    add(
        "-o",
        "--output",
        type=file_name,
        metavar="FILE",
        help="where to write (.safetensors: with weights); standard output if not given",
    )
    add("--emit", choices=["dlir", "generic", "dot", "llvm", "cuda"], default="dlir", help="what to write")
    add("--locations", action="store_true", help="print loc(...) after each op")
    add("--weights", metavar="FILE", help="safetensors file to use instead of the module's own")
    add("--entry", default="main", metavar="NAME", help="the function to emit code for")

    group = parser.add_argument_group("seeing what happens (on stderr)")
    add = group.add_argument
    add(
        "--print-ir",
        metavar="WHEN",
        help="print the module after passes: 'changed', 'all' or names of passes: 'fuse,cse'",
    )
    add(
        "--diff",
        action="store_true",
        help="print what changed, not everything; after each pass, or where --print-ir says",
    )
    add("--timing", action="store_true", help="print the time that reading, each pass, verifying and writing took")
    add("--stats", nargs="?", const="text", choices=["text", "json"], help="print what each pass counted")
    memory_map.add_options(group)
    add("--dump-pipeline", action="store_true", help="print the pipeline as it was understood")

    group = parser.add_argument_group("checking")
    add = group.add_argument
    add("--no-verify-each", action="store_true", help="do not verify after each pass")
    add("--verify-roundtrip", action="store_true", help="check that the text reads back the same")
    add("--split-input-file", action="store_true", help="treat what '// -----' lines separate as files of their own")
    add("--verify-diagnostics", action="store_true", help="check the errors against // expected-error {{...}} comments")
    add("--reproducer", type=file_name, metavar="FILE", help="where to leave a reproducer when a pass fails")
    add("--run-reproducer", action="store_true", help="run the pipeline that the file's first line names")

    rules.add_options(parser)
    why.add_options(parser)

    group = parser.add_argument_group("what there is")
    add = group.add_argument
    add("--list-passes", nargs="?", const="text", choices=["text", "md", "json"], help="list the passes")
    add("--list-dialects", nargs="?", const="text", choices=["text", "md", "json"], help="list the dialects and ops")
    add("--example", metavar="OP", help="print a small module that uses an op, and end")
    add_common_options(group)
    return parser


_PASSES_HELP = 'passes to run, as in "lower-nn,fuse{max-ops=8}"; given again, more of them'


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv and sys.stdin.isatty():
        sys.stdout.write(BRIEF)
        return OK
    args = build_parser().parse_args(argv)
    args.passes = ",".join(filter(None, args.passes))
    sources: dict[str, str] = {}
    return run_command(lambda: _run(args, sources), sources, args.verbose, args.max_errors)


def _run(args: argparse.Namespace, sources: dict[str, str]) -> int:
    from dlir.frontends.plugins import load_plugin

    for plugin in args.load_plugin:
        load_plugin(plugin)
    listing = _listing(args)
    if listing is not None:
        write_text(listing, args.output)
        return OK
    if args.check_patterns:
        return rules.check(args.check_patterns, sources)
    if args.split_input_file or args.verify_diagnostics or args.run_reproducer:
        return _run_on_text(args, sources)
    # The pipeline is checked before a large file is read.
    manager = _make_manager(args, args.passes, sources)
    start = perf_counter()
    parsed = read_module(args.file, args.weights, sources)
    read = perf_counter() - start
    if args.why_not_fused:
        manager.run(parsed.module)
        write_text(why.answer(parsed.module, args.why_not_fused, args.target), args.output)
        return OK
    text = _process(args, manager, parsed, sources, read)
    if args.output is not None and args.output.endswith(".safetensors"):
        _write_checkpoint(args, parsed)
        return OK
    write_text(text, args.output)
    if args.output not in (None, "-"):
        parsed.copy_sidecars(args.output)
    return OK


def _write_checkpoint(args: argparse.Namespace, parsed: ParsedModule) -> None:
    """Write the module and its arrays to one file."""
    from dlir.ir.errors import DlirError
    from dlir.textir.checkpoint import save_checkpoint

    if args.emit not in ("dlir", "generic"):
        raise DlirError(f"'{args.output}' would be a checkpoint, which holds a module and not its --emit={args.emit}")
    save_checkpoint(args.output, parsed.module, parsed.weights)
    parsed.copy_sidecars(args.output, ("dlir.data",))


def _listing(args: argparse.Namespace) -> str | None:
    """What a flag asks for that needs no module, or None."""
    if not (args.list_passes or args.list_dialects or args.example):
        return None
    from dlir.frontends.cli import listings

    if args.list_passes:
        return listings.passes(args.list_passes)
    if args.list_dialects:
        return listings.dialects(args.list_dialects)
    from dlir.frontends.cli.examples import example

    return example(args.example)


def _make_manager(args: argparse.Namespace, pipeline: str, sources: dict[str, str]) -> PassManager:
    from dlir.passes.manager import PassManager
    from dlir.passes.pipeline_text import PIPELINE
    from dlir.passes.pipelines import pipeline_for

    if args.level is not None:
        pipeline = ",".join(filter(None, (pipeline_for(f"O{args.level}", args.target), pipeline)))
    sources[PIPELINE] = pipeline
    manager = PassManager.from_text(pipeline, verify_each=not args.no_verify_each)
    rules.use_patterns(manager, args.patterns, sources)
    if args.dump_pipeline:
        print(manager, file=sys.stderr)
    if args.print_ir is not None or args.diff:
        from dlir.frontends.cli.watch import IRPrinter

        IRPrinter("changed" if args.print_ir is None else args.print_ir, args.diff).attach(manager)
    return manager


def _process(
    args: argparse.Namespace, manager: PassManager, parsed: ParsedModule, sources: dict[str, str], read: float
) -> str:
    """Run the passes and return the text to write; on an internal error, leave a reproducer first.

    `read` is how many seconds it took to read the module.
    """
    from dlir.frontends.cli.watch import print_stats, print_timing
    from dlir.ir.errors import DlirError
    from dlir.passes.manager import BrokenModule, with_plugin

    written = None
    try:
        try:
            manager.run(parsed.module)
        except Exception as error:
            if not isinstance(error, DlirError | BrokenModule) and manager.timings and not hasattr(error, "__notes__"):
                error.add_note(f"in pass {with_plugin(manager.timings[-1].name)}")
            raise
        if args.verify_roundtrip:
            _check_round_trip(parsed.module)
        if args.memory_map:
            memory_map.write_memory_map(args.memory_map, parsed.module, args.entry)
        start = perf_counter()
        text = _emit(args, parsed.module, parsed.blobs)
        written = perf_counter() - start
        return text
    except DlirError:
        raise
    except Exception as error:
        _leave_reproducer(args, manager, sources, error)
        raise
    finally:
        if args.timing:
            print_timing(manager, read, written)
        if args.stats:
            print_stats(manager, args.stats)


def _leave_reproducer(
    args: argparse.Namespace, manager: PassManager, sources: dict[str, str], error: Exception
) -> None:
    """Write what failed to a file that this command can run again."""
    from dlir.frontends.cli.reproducer import DEFAULT, write_reproducer
    from dlir.textir import to_text

    flags = [f"--load-plugin={plugin}" for plugin in args.load_plugin] + [
        f"--patterns={file}" for file in args.patterns
    ]
    flags += [f"--emit={args.emit}", f"--entry={args.entry}"] if args.emit != "dlir" else []
    flags += [f"--weights={args.weights}"] if args.weights is not None else []
    flags += ["--verify-roundtrip"] if args.verify_roundtrip else []
    path = args.reproducer or DEFAULT
    # A file of another format has no text: it is read again, since the passes have changed the module.
    text = sources.get("<stdin>" if args.file == "-" else args.file)
    text = text if text is not None else to_text(read_module(args.file, args.weights, {}).module)
    command = write_reproducer(path, text, str(manager), flags, error)
    if command is not None:
        print(f"the module and the pipeline are in {path}: {command}", file=sys.stderr)


def _run_on_text(args: argparse.Namespace, sources: dict[str, str]) -> int:
    """The modes that look at the file's text first: reproducers, split files, expected diagnostics."""
    from dlir.frontends.cli.expected import split_text

    path = args.file
    name, text = read_text(path)
    pipeline = args.passes
    if args.run_reproducer:
        from dlir.frontends.cli.reproducer import pipeline_of

        pipeline = ",".join(filter(None, (pipeline_of(text, name), pipeline)))
    outputs: list[str] = []
    failed = False
    for part in split_text(text) if args.split_input_file else [text]:
        failed |= not _run_part(args, pipeline, name, part, sources, outputs)
    if not args.verify_diagnostics and not failed:
        write_text("// -----\n".join(outputs), args.output)
    return FAILED if failed else OK


def _run_part(
    args: argparse.Namespace, pipeline: str, name: str, part: str, sources: dict[str, str], outputs: list[str]
) -> bool:
    """One input of a file; False if it failed, or did not give the diagnostics that it says it must give."""
    from dlir.ir.errors import DlirError
    from dlir.ir.verifier import verified
    from dlir.textir import parse_text

    diagnostics: list[Diagnostic] = []
    part_sources = {name: part}
    manager = _make_manager(args, pipeline, sources)
    try:
        start = perf_counter()
        parsed = parse_text(part, name, None if name == "<stdin>" else Path(name), weights=args.weights)
        verified(parsed.module)
        outputs.append(_process(args, manager, parsed, part_sources, perf_counter() - start))
    except DlirError as error:
        diagnostics = error.diagnostics
    if args.verify_diagnostics:
        from dlir.frontends.cli.expected import unmet

        complaints = unmet(part, diagnostics, name)
        for complaint in complaints:
            print(complaint, file=sys.stderr)
        return not complaints
    if diagnostics:
        show_errors(DlirError(diagnostics), part_sources, args.max_errors)
    return not diagnostics


class RoundTripError(Exception):
    """A text that dlir wrote does not read back the same: a bug of dlir."""


def _check_round_trip(module: Any) -> None:
    from dlir.ir.errors import DlirError
    from dlir.ir.traversal import difference
    from dlir.textir import parse, to_text

    for generic in (False, True):
        form = "generic" if generic else "pretty"
        try:
            found = difference(module, parse(to_text(module, generic=generic)))
        except DlirError as error:
            raise RoundTripError(f"the {form} form cannot be read back: {error}") from None
        if found is not None:
            raise RoundTripError(f"the {form} form does not read back the same: {found}")


def _emit(args: argparse.Namespace, module: Any, blobs: dict[str, str]) -> str:
    from dlir.textir import print_module

    if args.emit in ("dlir", "generic"):
        return print_module(module, generic=args.emit == "generic", locations=args.locations, blobs=blobs)
    if args.emit == "dot":
        from dlir.frontends.cli.dot import to_dot

        return to_dot(module)
    from dlir.backends.registry import emit_source

    return emit_source(module, args.entry, args.emit)


if __name__ == "__main__":
    sys.exit(main())
