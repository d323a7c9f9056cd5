"""Tables of names that plugins extend: dialects, passes, rules, backends, formats.

A table's own lines stand in the source.  Those of an installed plugin are its entry points in the table's group, and are read
only when a name is not found, or when all are listed; a plugin may also write ``TABLE[name] = line`` when it is loaded.
A line is the module (``"package.module"``) or the object (``"package.module:name"``) that is imported when it is needed.
"""

from __future__ import annotations

import importlib
from collections import UserDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dlir.ir.errors import DlirError, Note, did_you_mean
from dlir.ir.location import FileLoc

#: The plugin whose lines and modules are being read.
_plugin: ContextVar[str | None] = ContextVar("dlir_plugin", default=None)


class Table(UserDict[str, Any]):
    """Name -> line.  A name has one line: a second, different one is a DlirError that names both."""

    def __init__(self, kind: str, group: str, lines: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind = kind
        #: The group of entry points.
        self.group = group
        self.data = dict(lines)
        #: The plugin that each line comes from; dlir's own lines are not in here.
        self.plugins: dict[str, str] = {}
        #: Names that were found among the entry points: their plugins are installed, but nobody asked to load them.
        self.installed: dict[str, None] = {}
        self._is_complete = False
        self._broken: dict[str, DlirError] = {}

    def __setitem__(self, name: str, line: Any) -> None:
        plugin = _plugin.get()
        if name not in self.data:
            self.data[name] = line
            if plugin is not None:
                self.plugins[name] = plugin
        elif self.data[name] != line:
            raise DlirError(
                f"{self.kind} '{name}' is defined twice: by {self.source(name)} and by {_spell(plugin, line)}"
            )
        else:
            self.installed.pop(name, None)

    def discover(self) -> list[str]:
        """All names, after the lines of all installed plugins were read."""
        if not self._is_complete:
            from importlib.metadata import entry_points  # slow to import, and rarely needed

            for point in sorted(entry_points(group=self.group), key=lambda point: (point.name, point.value)):
                is_new = point.name not in self.data
                with _reading(point.dist.name if point.dist is not None else point.module):
                    if is_new or self.data[point.name] != point.value:
                        self[point.name] = point.value
                if is_new:
                    self.installed[point.name] = None
            self._is_complete = True
        return list(self.data)

    def find(self, name: str) -> Any:
        """The line of `name`, of an installed plugin too; None if there is none."""
        if name not in self.data:
            self.discover()
        return self.data.get(name)

    def source(self, name: str) -> str:
        """Where the line of `name` comes from, for a person."""
        return _spell(self.plugins.get(name), self.data[name])

    def load(self, name: str) -> Any:
        """What the line of `name` names; DlirError if it is a plugin's and cannot be imported."""
        line = self.data[name]
        if not isinstance(line, str):
            return line
        plugin = self.plugins.get(name)
        if plugin is None:
            return _import(line)
        # A module that failed half-way has registered some of its ops: a second try would only complain of those.
        if name in self._broken:
            raise self._broken[name]
        try:
            with plugin_code(plugin):
                return _import(line)
        except DlirError as error:
            self._broken[name] = error
            raise


@contextmanager
def plugin_code(plugin: str) -> Iterator[None]:
    """Run code of `plugin`: lines that it writes are its own, and whatever it raises is a DlirError that names it."""
    try:
        with _reading(plugin):
            yield
    except (Exception, SystemExit) as error:
        if isinstance(error, DlirError):
            reason = error.message
            if f"plugin '{plugin}'" in reason:
                raise
        else:
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        place = _raised_at(error)
        notes = [Note("it was raised here", place)] if place is not None else []
        raise DlirError(f"plugin '{plugin}' cannot be loaded: {reason}", notes=notes) from error


def _raised_at(error: BaseException) -> FileLoc | None:
    """The last line of code, not counting dlir's and Python's import, that was running when `error` was raised."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return FileLoc(error.filename, error.lineno, error.offset or 1)
    package = __name__.partition(".")[0] + "."
    found, trace = None, error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__") or ""
        if not name.startswith((package, "importlib")):
            found = FileLoc(trace.tb_frame.f_code.co_filename, trace.tb_lineno, 1)
        trace = trace.tb_next
    return found


@contextmanager
def _reading(plugin: str) -> Iterator[None]:
    token = _plugin.set(plugin)
    try:
        yield
    finally:
        _plugin.reset(token)


def _import(line: str) -> Any:
    module, _, path = line.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split(".") if path else ():
        found = getattr(found, name)
    return found


def _spell(plugin: str | None, line: Any) -> str:
    where = getattr(line, "module", line)
    return f"dlir ({where})" if plugin is None else f"plugin '{plugin}' ({where})"


def unknown(table: Table, name: str) -> DlirError:
    """The error for a name that is in no line, with a suggestion."""
    names = table.discover()
    hint = did_you_mean(name, names) or f"{table.group.partition('.')[2]}: {', '.join(names)}"
    return DlirError(f"unknown {table.kind} '{name}'", hint=hint)
