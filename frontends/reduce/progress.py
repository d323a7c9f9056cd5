"""Showing how far a reduction is: on a terminal only, and well if rich is installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dlir.frontends.reduce.search import Search

#: Seconds between two plain lines.
_INTERVAL = 2.0


@contextmanager
def progress(stream: TextIO) -> Iterator[Callable[[Search], None] | None]:
    """What `reduce_module` takes as `observe`; None where nobody watches."""
    if not stream.isatty():
        yield None
        return
    try:
        from rich.console import Console
    except ImportError:
        yield plain(stream)
        return
    console = Console(file=stream)
    with console.status("starting") as status:
        yield lambda search: status.update(describe(search))


def plain(stream: TextIO) -> Callable[[Search], None]:
    """One line for each smaller module, not more often than people can read."""
    last: list[Any] = [0.0, ()]

    def observe(search: Search) -> None:
        now = time.monotonic()
        if now - last[0] >= _INTERVAL and search.cost != last[1]:
            last[:] = now, search.cost
            print(describe(search), file=stream, flush=True)

    return observe


def describe(search: Search) -> str:
    """The state of a search in one line."""
    return f"{search.size} ops after {search.checks} checks, trying {search.step}"
