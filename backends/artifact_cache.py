"""Compiled artefacts on disk: CPU objects and CUDA cubins, found again by everything that went into them.

One file an entry, written whole and moved into place, so that any number of processes read and write without a lock:

    magic | version u32 | key length u32 | key | SHA-256 of key and payload | payload length u64 | payload

The cache only ever saves time.  Whatever does not match is a miss with one warning, and no error of the file system
(full, read-only, forbidden) reaches the caller.  What is loaded is machine code, so the directory belongs to the user
alone (0700), and one that another user owns or may write to is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

MAGIC = b"DLIRCODE"
VERSION = 1
_HEADER = struct.Struct("<8sII")
_LENGTH = struct.Struct("<Q")
_DIGEST_BYTES = 32

DEFAULT_MAX_BYTES = 1 << 30
# Eviction makes room for a while, so that a full cache is not scanned and trimmed at each new entry for one file.
_KEPT_FRACTION = 0.8
_TEMPORARY_PREFIX = ".new-"
_ABANDONED_SECONDS = 3600

_logger = logging.getLogger("dlir.cache")
#: Directories that do not work, of which that was said.
_warned: set[Path | None] = set()


def default_directory() -> Path | None:
    """`$DLIR_CACHE_DIR`, else the user's cache directory; None when the variable is empty or `off`."""
    configured = os.environ.get("DLIR_CACHE_DIR")
    if configured is not None:
        return None if configured in ("", "off") else Path(configured)
    import platformdirs

    return Path(platformdirs.user_cache_dir("dlir", appauthor=False))


class ArtifactCache:
    """The entries of one kind (`cpu`, `cuda`) under `directory`; None means no cache: every `get` misses.

    The least recently used entries are dropped once their files exceed `max_bytes`.
    """

    def __init__(self, kind: str, directory: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        base = directory or default_directory()
        self.directory = base / kind if base else None
        self.max_bytes = max_bytes
        self._usable: bool | None = None

    def get(self, key: Sequence[str | bytes]) -> bytes | None:
        """The payload stored under exactly these parts, or None."""
        if not self._ready():
            return None
        encoded = _encoded(key)
        path = self._path(encoded)
        try:
            content = _read_own_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"cannot read {path}: {error.strerror}")
            return None
        payload = _payload(content, encoded)
        if payload is None:
            # The next `put` replaces the file.
            _logger.warning("ignored the damaged cache entry %s", path)
            return None
        _touch(path)
        return payload

    def put(self, key: Sequence[str | bytes], payload: bytes) -> None:
        """Store `payload`; whatever goes wrong leaves the cache as it was."""
        if not self._ready():
            return
        encoded = _encoded(key)
        size = _HEADER.size + len(encoded) + _DIGEST_BYTES + _LENGTH.size + len(payload)
        if size > self.max_bytes:
            return
        path = self._path(encoded)
        try:
            self._make_room(size)
            _write_atomically(path, _framed(encoded, payload))
        except OSError as error:
            self._warn(f"cannot write to {path.parent}: {error.strerror}")

    def _path(self, encoded: bytes) -> Path:
        assert self.directory is not None
        return self.directory / hashlib.sha256(encoded).hexdigest()

    def _ready(self) -> bool:
        if self._usable is None:
            self._usable = self.directory is not None and self._prepare(self.directory)
        return self._usable

    def _prepare(self, directory: Path) -> bool:
        try:
            _make_private(directory)
            reason = _why_unsafe(directory)
        except OSError as error:
            reason = error.strerror
        if reason:
            self._warn(f"not using {directory}: {reason}")
        return not reason

    def _warn(self, message: str) -> None:
        """Say once in this process that the cache does not work; later errors would have the same cause."""
        if self.directory not in _warned:
            _warned.add(self.directory)
            _logger.warning("compiled code is not cached: %s", message)

    def _make_room(self, incoming: int) -> None:
        """Delete the least recently used entries, and files that a killed process left, until `incoming` bytes fit."""
        assert self.directory is not None
        entries = []
        now = time.time()
        with os.scandir(self.directory) as files:
            for file in files:
                try:
                    status = file.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not file.name.startswith(_TEMPORARY_PREFIX):
                    entries.append((status.st_mtime, file.path, status.st_size))
                elif now - status.st_mtime > _ABANDONED_SECONDS:
                    _remove(file.path)
        total = sum(size for _, _, size in entries)
        if total + incoming <= self.max_bytes:
            return
        for _, path, size in sorted(entries):
            if total + incoming <= self.max_bytes * _KEPT_FRACTION:
                break
            _remove(path)
            total -= size


# Entries


def _encoded(key: Iterable[str | bytes]) -> bytes:
    """The parts, each after its length: no two keys have the same bytes."""
    parts = [part.encode() if isinstance(part, str) else part for part in key]
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _framed(encoded: bytes, payload: bytes) -> bytes:
    digest = hashlib.sha256(encoded + payload).digest()
    return b"".join([_HEADER.pack(MAGIC, VERSION, len(encoded)), encoded, digest, _LENGTH.pack(len(payload)), payload])


def _payload(content: bytes, encoded: bytes) -> bytes | None:
    """The payload of an entry if every field is as it must be for this key."""
    head = _HEADER.pack(MAGIC, VERSION, len(encoded)) + encoded
    start = len(head) + _DIGEST_BYTES + _LENGTH.size
    if len(content) < start or not content.startswith(head):
        return None
    digest = content[len(head) : len(head) + _DIGEST_BYTES]
    (length,) = _LENGTH.unpack_from(content, len(head) + _DIGEST_BYTES)
    payload = content[start:]
    if len(payload) != length or hashlib.sha256(encoded + payload).digest() != digest:
        return None
    return payload


# Files


def _make_private(directory: Path) -> None:
    """Create `directory` and what is missing above it for the user alone; Path.mkdir gives parents the default mode."""
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def _why_unsafe(directory: Path) -> str | None:
    """Why code from `directory` may not be run, or None."""
    status = directory.stat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a directory"
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid != os.geteuid():
        return "another user owns it"
    if status.st_mode & 0o022:
        return "other users may write to it"
    return None


def _read_own_file(path: Path) -> bytes:
    """The bytes of a regular file; links are not followed."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        return file.read()


def _write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path` and move into place; not synced, since a file torn by a power cut fails its checksum."""
    descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _touch(path: Path) -> None:
    """Mark as used now."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)
