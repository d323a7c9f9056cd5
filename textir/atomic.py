"""Writing files so that a reader, or a process killed half-way, sees the old file or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


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
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    # Made with the user's own permissions, and only if nothing has that name.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as stream:
            if target.exists():
                os.fchmod(descriptor, target.stat().st_mode & 0o777)
            stream.writelines(pieces)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a crash of the machine, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
