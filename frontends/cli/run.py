"""``dlir-run``: compile a module, run it, and check it against the reference interpreter."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlir.frontends.cli import memory_map
from dlir.frontends.cli.common import (
    FAILED,
    OK,
    ArgumentParser,
    add_common_options,
    file_name,
    read_module,
    run_command,
    tolerance,
    whole_number,
)

if TYPE_CHECKING:
    from dlir.backends.compiler import Program
    from dlir.frontends.cli.inputs import Data
    from dlir.ir.types import TensorType
    from dlir.textir import ParsedModule

BRIEF = """\
dlir-run: compile and run a .dlir module

  dlir-run FILE                        run it on its own data, or on random inputs
  dlir-run FILE --input x=@x.npy       run it on your data
  dlir-run FILE --backend=ref          run it op by op, in NumPy
  dlir-run FILE --bench 1000           time it well

FILE may be - for standard input.  'dlir-run --help' tells all.
"""


def build_parser() -> ArgumentParser:
    """The command line of dlir-run."""
    parser = ArgumentParser(prog="dlir-run", description="Compile a .dlir module, run it, check it against ref.")
    parser.add_argument("file", nargs="?", type=file_name, default="-", help="the module; - for standard input")
    parser.add_argument("--entry", default="main", metavar="NAME", help="the function to run")
    parser.add_argument("--backend", default="cpu", metavar="NAME", help="cpu, ref, cuda or cuda-sim")
    parser.add_argument("-O", dest="level", choices=["0", "1", "2", "3"], default="2", help="optimisation level")
    parser.add_argument("--input", action="append", default=[], metavar="[%NAME=]WHAT", help=_INPUT_HELP)
    parser.add_argument("--dim", action="append", default=[], metavar="NAME.AXIS=N", help="size of a dynamic dimension")
    parser.add_argument(
        "--data", type=file_name, metavar="FILE", help="safetensors file to use instead of the module's own data"
    )
    parser.add_argument("--weights", metavar="FILE", help="safetensors file to use instead of the module's own")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="seed of random inputs")
    parser.add_argument("--expect", action="append", default=[], metavar="WHAT", help="what a result must be, in order")
    parser.add_argument("--compare", default="ref", metavar="NAME", help="backend to compare with; 'none' for none")
    parser.add_argument("--rtol", type=tolerance, default=1e-4, metavar="X", help="relative tolerance of comparisons")
    parser.add_argument("--atol", type=tolerance, default=1e-5, metavar="X", help="absolute tolerance of comparisons")
    parser.add_argument("--bench", type=whole_number, default=20, metavar="N", help="how often to run for the time")
    parser.add_argument("--save-outputs", type=file_name, metavar="FILE.npz", help="write the results of all batches")
    parser.add_argument(
        "--check-numerics", action="store_true", help="stop at the first op that makes a NaN or infinity"
    )
    parser.add_argument("--tune", action="store_true", help="measure the tiles of contractions and keep the fastest")
    parser.add_argument(
        "--save-tuned", type=file_name, metavar="FILE", help="tune, and write the text with its schedules"
    )
    parser.add_argument(
        "--max-bytes", type=_bytes, default="8GiB", metavar="N", help="the largest tensor that may be made"
    )
    parser.add_argument("--list-backends", action="store_true", help="list the backends")
    parser.add_argument("--stats", action="store_true", help="print the memory that a call needs, in bytes")
    memory_map.add_options(parser)
    add_common_options(parser)
    return parser


_INPUT_HELP = "an input, by name or in order: @file.npy, rand, zeros, ones, or as in 2x2xf32:1,2,3,4"


def _bytes(text: str) -> int:
    from dlir.ir.byte_counts import parse_bytes

    try:
        count = parse_bytes(text)
    except (ValueError, KeyError, OverflowError):
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"must be a number of bytes, such as 8GiB; got '{text}'")
    return count


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
    from dlir.backends.compiler import compile_module
    from dlir.backends.registry import all_backends, find_backend
    from dlir.frontends.cli.report import Report
    from dlir.frontends.plugins import load_plugin
    from dlir.ir.limits import check_sizes

    for plugin in args.load_plugin:
        load_plugin(plugin)
    if args.list_backends:
        for backend in all_backends():
            print(f"{backend.name:10} {backend.help}")
        return OK
    for name in (args.backend, args.compare):
        if name != "none":
            find_backend(name)
    parsed = read_module(args.file, args.weights, sources)
    if args.dim:
        from dlir.passes.bind_shapes import BindShapes
        from dlir.passes.manager import PassManager

        PassManager([BindShapes(dims=";".join(args.dim), entry=args.entry)]).run(parsed.module)
    names, types = _signature(parsed, args.entry)
    check_sizes(parsed.module, args.max_bytes)
    after = None
    if args.tune or args.save_tuned:
        from dlir.frontends.cli.tuning import tuning

        after = tuning(parsed, args.backend, args.save_tuned)

    def compiled() -> Program:
        return compile_module(
            parsed.module,
            parsed.weights,
            backend=args.backend,
            level=f"O{args.level}",
            entry=args.entry,
            after=after,
            check_numerics=args.check_numerics,
        )

    # Before there are large inputs it should be said that there is no room for the rest.
    program = compiled() if _are_large(types) else None
    data = _data(args, parsed, names, types)
    _bind(parsed, args.entry, [array.shape for array in data.batch(0)], types)
    check_sizes(parsed.module, args.max_bytes)
    program = program or compiled()
    if args.stats:
        print(program.memory)
    if args.memory_map:
        memory_map.write_memory_map(args.memory_map, program.lowered, program.entry)
    report = Report(args.file, program, data, args.rtol, args.atol)
    return OK if _measure(args, parsed, program, data, report) else FAILED


def _measure(args: argparse.Namespace, parsed: ParsedModule, program: Program, data: Data, report: Any) -> bool:
    """Run, time, compare and print; False if anything did not match."""
    from dlir.frontends.cli.report import arguments, run_batches

    outputs = run_batches(program, data)
    # What comes after goes on from here; the other backend begins where this one began.
    variables = program.variables.snapshot()
    report.heading(args.level)
    batch = arguments(program, data.batch(0))
    report.time(lambda: program(*batch), args.bench)
    matches = report.accuracy(outputs)
    if args.compare != "none" and args.compare != args.backend:
        matches = report.compare(outputs, args.compare, parsed, variables) and matches
    if args.expect:
        matches = report.expect(outputs, args.expect) and matches
    if args.save_outputs:
        from dlir.frontends.cli.report import save_outputs

        save_outputs(args.save_outputs, outputs)
    return matches


def _are_large(types: list[TensorType]) -> bool:
    return all(type.is_static for type in types) and sum(type.nbytes for type in types) > 1 << 30


def _signature(parsed: ParsedModule, entry: str) -> tuple[list[str], list[TensorType]]:
    from dlir.backends.executable import input_types
    from dlir.ir.dialects.func import find_function

    return input_types(find_function(parsed.module, entry))


def _data(args: argparse.Namespace, parsed: ParsedModule, names: list[str], types: list[TensorType]) -> Data:
    from dlir.frontends.cli.inputs import from_file, from_specs
    from dlir.ir.errors import DlirError

    if args.data and args.input:
        raise DlirError("give --data or --input, not both")
    path = Path(args.data) if args.data else parsed.sidecar("dlir.data")
    if path is not None and not args.input:
        try:
            return from_file(path, names, types)
        except DlirError as error:
            raise (error if args.data else error.at(parsed.module.location)) from None
    return from_specs(args.input, names, types, args.seed)


def _bind(parsed: ParsedModule, entry: str, shapes: list[Any], types: list[TensorType]) -> None:
    if all(type.is_static for type in types):
        return
    from dlir.passes.bind_shapes import bind_shapes

    bind_shapes(parsed.module, entry, [t.with_shape(s) for t, s in zip(types, shapes, strict=True)])


if __name__ == "__main__":
    sys.exit(main())
