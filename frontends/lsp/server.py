"""``dlir-lsp``: the language server, for editors, over standard input and output."""

from __future__ import annotations

import argparse
import sys

from dlir import __version__
from dlir.frontends.cli.common import FAILED, LOAD_PLUGIN, OK, ArgumentParser, run_command

MISSING = "error: dlir-lsp needs pygls: pip install 'dlir[lsp]'"


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    description = "The language server of .dlir files: an editor starts it and talks to it on stdin and stdout."
    parser = ArgumentParser(prog="dlir-lsp", description=description)
    parser.add_argument("--stdio", action="store_true", help="accepted because editors say it: there is no other way")
    parser.add_argument("--load-plugin", action="append", default=[], metavar="MODULE_OR_FILE", help=LOAD_PLUGIN)
    parser.add_argument("--verbose", action="store_true", help="show a traceback for internal errors")
    parser.add_argument("--version", action="version", version=f"dlir-lsp {__version__}")
    args = parser.parse_args(argv)
    return run_command(lambda: _serve(args), {}, args.verbose)


def _serve(args: argparse.Namespace) -> int:
    try:
        import pygls  # noqa: F401
    except ImportError:
        print(MISSING, file=sys.stderr)
        return FAILED
    from dlir.frontends.lsp.protocol import server
    from dlir.frontends.plugins import load_plugin

    if sys.stdin.isatty():
        print("dlir-lsp is started by an editor; docs/editors.md says how (Ctrl-D ends it)", file=sys.stderr)
    output = sys.stdout.buffer
    # Whatever a plugin prints must not get between the messages.
    sys.stdout = sys.stderr
    for plugin in args.load_plugin:
        load_plugin(plugin)
    server.start_io(sys.stdin.buffer, output)
    return OK if server.was_shut_down else FAILED


if __name__ == "__main__":
    sys.exit(main())
