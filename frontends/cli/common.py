"""What the commands share: exit codes, error reports, reading and writing modules.

Exit codes: 0 done, 1 a diagnostic or a mismatch, 2 wrong usage, 3 an internal error, 130 interrupted.
The IR goes to stdout, everything else to stderr.  Nothing heavy is imported before the arguments are understood.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from dlir import __version__
from dlir.frontends.cli.start import INTERRUPTED, Interruptible

if TYPE_CHECKING:
    from dlir.ir.errors import DlirError
    from dlir.textir import ParsedModule

OK, FAILED, USAGE, INTERNAL = 0, 1, 2, 3

#: Help of the flag that all commands have.
LOAD_PLUGIN = "Python module or file that brings dialects, passes, rules or backends; may be repeated"


def add_common_options(parser: argparse._ActionsContainer) -> None:
    """The options that all commands that read a module have."""
    add = parser.add_argument
    add("--load-plugin", action="append", default=[], metavar="MODULE_OR_FILE", help=LOAD_PLUGIN)
    add("--max-errors", type=whole_number, default=20, metavar="N", help="errors to show, 0 for all (20)")
    add("--verbose", action="store_true", help="show a traceback for internal errors")
    add("--version", action="version", version=f"%(prog)s {__version__}", help="print the version, and end")


def whole_number(text: str) -> int:
    """The value of an option that is 0, 1, 2, ..."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 0; got '{text}'")
    return int(text)


def tolerance(text: str) -> float:
    """The value of an option that is a number from 0 on."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)) and value >= 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a number, at least 0; got '{text}'")


def file_name(text: str) -> str:
    """The value of an argument that names a file: anything but nothing, as from a variable of a shell that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("must be the name of a file; got ''")
    return text


class ArgumentParser(argparse.ArgumentParser):
    """argparse with a suggestion for a misspelt flag, and without flags that are cut short."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments:"):
            message = self._unknown(message.split(":", 1)[1].split()[0].partition("=")[0])
        else:
            message = re.sub(
                r"^argument (\S+): ignored explicit argument .*", r"\1 takes no value", message, flags=re.S
            )
            message = re.sub(r"^argument (\S+): must ", r"\1 must ", message)
            message = re.sub(r"^the following arguments are required: (\S+)$", r"\1 is missing", message)
            choice = re.match(r"argument (\S+): invalid choice: '(.*?)'", message)
            message = self._no_choice(choice[1], choice[2]) if choice else message
            valueless = re.match(r"argument (\S+): expected one argument", message)
            message = self._no_value(valueless[1]) if valueless else message
        self.exit(USAGE, f"{self.prog}: error: {message}\nTry '{self.prog} --help'.\n")

    def _unknown(self, word: str) -> str:
        from dlir.ir.errors import did_you_mean

        if not word.startswith("-"):
            takes_file = any(action.dest == "file" for action in self._actions)
            reason = "one file is read at a time" if takes_file else "no file is read"
            return f"unexpected argument '{word}': {reason}"
        flags = [flag for action in self._actions for flag in action.option_strings]
        other = _command_with(word, self.prog)
        if other is not None:
            return f"unknown argument '{word}'; it is a flag of {other}"
        longer = [flag for flag in flags if flag.startswith(word) and word != "--"]
        hint = f"did you mean {' or '.join(map(repr, longer))}?" if longer else did_you_mean(word, flags)
        if hint is None and "--passes" in flags:
            from dlir.passes.manager import PASSES

            name = word.lstrip("-")
            hint = f"passes are run by -p {name}" if PASSES.find(name) is not None else None
        return f"unknown argument '{word}'" + (f"; {hint}" if hint else "")

    def _no_choice(self, names: str, given: str) -> str:
        """What to say of a flag (``-x/--xx``, as argparse spells it) whose value is not one of its choices."""
        from dlir.ir.errors import did_you_mean

        choices = [str(choice) for choice in self._action(names).choices or ()]
        hint = did_you_mean(given, choices)
        return f"{names} must be one of {', '.join(choices)}; got '{given}'" + (f"; {hint}" if hint else "")

    def _no_value(self, names: str) -> str:
        """What to say of a flag that stands alone and may not."""
        action = self._action(names)
        wanted = (
            f"one of {', '.join(map(str, action.choices))}" if action.choices else str(action.metavar or action.dest)
        )
        return f"{names} needs a value: {wanted.replace('%%', '%')}"

    def _action(self, names: str) -> argparse.Action:
        return next(action for action in self._actions if names.split("/")[0] in action.option_strings)


def _command_with(flag: str, prog: str) -> str | None:
    """The other command that has a flag, if only one has it."""
    from dlir.frontends.cli import opt, reduce, run

    parsers = [module.build_parser() for module in (opt, run, reduce)]
    having = [parser.prog for parser in parsers if any(flag in action.option_strings for action in parser._actions)]
    return having[0] if len(having) == 1 and having[0] != prog else None


def run_command(
    command: Callable[[], int], sources: dict[str, str], verbose: bool = False, max_errors: int = 20
) -> int:
    """Run `command` and turn whatever ends it into one clear message and an exit code.

    `sources` is filled by the command with the texts it reads, so that errors can show their lines.
    """
    try:
        with Interruptible():
            code = command()
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`| head`): that is its right.  Keep the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        from dlir.ir.errors import DlirError

        if isinstance(error, DlirError):
            show_errors(error, sources, max_errors)
            return FAILED
        if isinstance(error, OSError) and error.filename is not None:
            print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
            return FAILED
        if isinstance(error, MemoryError):
            # NumPy's says for what: "Unable to allocate 32.0 GiB for an array with shape ...".
            print(f"error: out of memory{f': {error}' if str(error) else ''}", file=sys.stderr)
            return FAILED
        return _internal_error(error, verbose)


def show_errors(error: DlirError, sources: Mapping[str, str], max_errors: int) -> None:
    """Print the diagnostics of `error` on stderr."""
    from dlir.textir.diagnostics import render

    color, hint = use_color(sys.stderr), "--max-errors=0 shows all"
    print(render(error, sources, color=color, max_errors=max_errors, hint=hint), file=sys.stderr)


def _internal_error(error: Exception, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exc()
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    where = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
    guilty = "the plugin" if " of plugin '" in where else "dlir"
    advice = "" if verbose else "; run again with --verbose to see where, and please report it with your file"
    print(f"internal error{where}: {text} (this is a bug in {guilty}{advice})", file=sys.stderr)
    return INTERNAL


def use_color(stream: Any) -> bool:
    """Whether to write colours to `stream`: a terminal, and NO_COLOR is not set."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def read_module(path: str, weights: str | None, sources: dict[str, str]) -> ParsedModule:
    """Read and verify the module in file `path`, or on standard input for ``-``."""
    from dlir.frontends.formats import find_format
    from dlir.ir.errors import DlirError
    from dlir.ir.verifier import verified
    from dlir.textir import parse_file, parse_stream

    if weights is not None and not os.path.isfile(weights):
        raise DlirError(f"there is no file '{weights}'")

    if path == "-":
        parsed = parse_stream(sys.stdin.buffer, weights=weights, sources=sources)
    else:
        read = find_format(path)
        parsed = parse_file(path, weights, sources) if read is None else read(path, weights)
    verified(parsed.module)
    return parsed


def read_text(path: str) -> tuple[str, str]:
    """The name and the text of file `path`, or of standard input for ``-``."""
    from dlir.textir.source import decode, read_bytes

    if path == "-":
        return "<stdin>", decode(sys.stdin.buffer.read(), "<stdin>")
    return path, decode(read_bytes(path), path)


def write_text(text: str, path: str | None) -> None:
    """Write to standard output, or to file `path` in one step: a reader sees the old file or the new one."""
    if not text.endswith("\n"):
        text += "\n"
    if path is None or path == "-":
        sys.stdout.write(text)
        return
    from dlir.textir.atomic import atomic_write

    with writing(path):
        atomic_write(path, text.encode())


@contextlib.contextmanager
def writing(path: object) -> Iterator[None]:
    """An OSError inside becomes a DlirError that says that file `path` cannot be written."""
    from dlir.ir.errors import DlirError

    try:
        yield
    except OSError as error:
        raise DlirError(f"cannot write '{path}': {error.strerror}") from None
