"""``dlir-opt --why-not-fused %a,%b``: why two ops do not become one kernel."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlir.ir.dialects.builtin import Module


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the option to the command line of dlir-opt."""
    parser.add_argument(
        "--why-not-fused",
        type=_names,
        metavar="%A,%B",
        help="say whether fuse would make one kernel of the ops that define these values, why if not, and do nothing else",
    )


def _names(text: str) -> tuple[str, str]:
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise argparse.ArgumentTypeError(f"needs the names of two values, as in %a,%b, not '{text}'")
    return names[0], names[1]


def answer(module: Module, names: tuple[str, str], target: str) -> str:
    """The answer for a target, a line; DlirError if there are no such values."""
    from dlir.passes.explain_fusion import explain
    from dlir.passes.fuse import Fuse

    return explain(module, *names, Fuse(target=target)) + "\n"
