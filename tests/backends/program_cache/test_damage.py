"""Damaged entries and folders: a warning, and the program is compiled."""

from __future__ import annotations

import json
import logging
import struct

import numpy as np
from support.cached_programs import X, compiled, entries

from dlir.backends import program_cache
from dlir.backends.artifact_cache import ArtifactCache


def spoilt(payload):
    """Payloads that are not what was written, although somebody stored them under the right key."""
    (length,) = struct.unpack_from("<Q", payload)
    description = json.loads(payload[8 : 8 + length])

    def with_description(change):
        changed = json.loads(json.dumps(description))
        change(changed)
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + payload[8 + length :]

    yield b""
    yield payload[:4]
    yield payload[: 8 + length // 2]
    yield payload[:-1]
    yield payload + b"\0"
    yield struct.pack("<Q", 1 << 62) + payload[8:]
    yield struct.pack("<Q", 2) + b"[]"
    for name in description:
        yield with_description(lambda changed, name=name: changed.pop(name))
    yield with_description(lambda changed: changed["skeleton"]["variables"].append({"type": ["strange"]}))
    yield with_description(lambda changed: changed["skeleton"]["functions"][0].pop("uses"))
    yield with_description(lambda changed: changed["functions"][0].pop())
    yield with_description(lambda changed: changed.update(functions=7))


def test_payloads_that_make_no_sense_are_a_miss_with_a_warning(cache, caplog):
    wanted = compiled()(X)
    payload = next(iter(program_cache.RECENT._payloads.values()))
    (key,) = program_cache.RECENT._payloads
    for bad in spoilt(payload):
        ArtifactCache("programs").put(key, bad)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            program = compiled(forget=True)
        assert len(caplog.records) == 1 and "passes" in program.seconds
        np.testing.assert_array_equal(program(X)[0], wanted[0])
        # It is mended.
        assert "cache" in compiled(forget=True).seconds


def test_damaged_files_are_a_miss_with_a_warning(cache, caplog):
    wanted = compiled()(X)
    (path,) = entries(cache)
    whole = path.read_bytes()
    for place in (0, 9, 40, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            program = compiled(forget=True)
        assert len(caplog.records) == 1 and "passes" in program.seconds
        np.testing.assert_array_equal(program(X)[0], wanted[0])


def test_a_folder_that_cannot_be_used_is_said_once(tmp_path, cache, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            compiled(forget=True)
    assert len([record for record in caplog.records if "programs" in record.getMessage()]) == 1
