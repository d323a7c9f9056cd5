"""Writing files so that a reader, or a process killed half-way, sees the old file or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

_SUFFIX = ".tmp"


def atomic_write(path: str | Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Replace the file at `path` by `data` (or by the pieces of it, in order).

    A path that is no regular file, such as a pipe or ``/dev/null``, is written to as it is.  OSError if that fails; then
    the old file is untouched and nothing new is left behind.
    """
    target = Path(os.path.realpath(path))
    pieces = [data] if isinstance(data, bytes) else data
    if target.exists() and not target.is_file():
        with open(target, "wb") as stream:
            stream.writelines(pieces)
        return
    _remove_abandoned(target)
    temporary, descriptor = _new_file(target)
    try:
        with open(descriptor, "wb") as stream:
            if target.exists():
                os.fchmod(descriptor, target.stat().st_mode & 0o777)
            stream.writelines(pieces)
            stream.flush()
            os.fsync(descriptor)
            # While it is still locked.
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _new_file(target: Path) -> tuple[Path, int]:
    """A new file beside `target` that is locked while it is open: `_remove_abandoned` tells it from those of the dead."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_SUFFIX}")
        # Made with the user's own permissions, and only if nothing has that name.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        # Somebody took it for abandoned before it was locked.
        os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    """Delete what processes that were killed while they wrote `target` have left: nobody holds a lock on it."""
    start = f".{target.name}."
    with contextlib.suppress(OSError):
        for name in os.listdir(target.parent):
            middle = name.removeprefix(start).removesuffix(_SUFFIX)
            if name != f"{start}{middle}{_SUFFIX}" or len(middle) != 12 or set(middle) - set("0123456789abcdef"):
                continue
            with contextlib.suppress(OSError):
                descriptor = os.open(target.with_name(name), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
                try:
                    if _lock(descriptor, wait=False):
                        os.unlink(target.with_name(name))
                finally:
                    os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> bool:
    """Lock an open file until it is closed; False if another process has it, or if this system has no such locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a crash of the machine, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
