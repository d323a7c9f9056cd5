"""The disk cache: what it returns, and that nothing wrong on disk reaches the caller."""

import errno
import logging
import multiprocessing
import os
import stat
import time

import pytest

from dlir.backends import artifact_cache
from dlir.backends.artifact_cache import ArtifactCache

KEY = ("module text", "cpu", b"\x00\xff")
PAYLOAD = bytes(range(256)) * 3


@pytest.fixture
def cache(tmp_path):
    return ArtifactCache("cpu", tmp_path / "cache")


def entry_of(cache):
    (path,) = cache.directory.iterdir()
    return path


def test_stored_payload_is_found_by_another_instance(cache):
    cache.put(KEY, PAYLOAD)
    assert ArtifactCache("cpu", cache.directory.parent).get(KEY) == PAYLOAD


def test_empty_payload_is_not_a_miss(cache):
    cache.put(KEY, b"")
    assert cache.get(KEY) == b""


@pytest.mark.parametrize(
    "other", [("module text", "cpu"), ("module textcpu", b"\x00\xff"), ("module text", "cpu", b"\x00"), ()]
)
def test_only_exactly_the_same_parts_match(cache, other):
    cache.put(KEY, PAYLOAD)
    assert cache.get(other) is None


def test_kinds_are_apart(cache):
    cache.put(KEY, PAYLOAD)
    assert ArtifactCache("cuda", cache.directory.parent).get(KEY) is None


def test_put_replaces(cache):
    cache.put(KEY, b"old")
    cache.put(KEY, b"new")
    assert cache.get(KEY) == b"new"
    assert entry_of(cache)


def field_ends():
    """Offsets where the fields of KEY's entry end, with their names."""
    encoded = artifact_cache._encoded(KEY)
    ends = {"magic": 8, "version": 12, "key length": 16, "key": 16 + len(encoded)}
    ends["digest"] = ends["key"] + 32
    ends["payload length"] = ends["digest"] + 8
    ends["payload"] = ends["payload length"] + len(PAYLOAD)
    return ends


@pytest.mark.parametrize("field", list(field_ends()))
@pytest.mark.parametrize("where", ["before", "inside", "last byte"])
def test_truncated_entry_is_a_miss_with_one_warning(cache, caplog, field, where):
    ends = field_ends()
    names = list(ends)
    start = ends[names[names.index(field) - 1]] if field != "magic" else 0
    length = {"before": start, "inside": (start + ends[field]) // 2, "last byte": ends[field] - 1}[where]
    cache.put(KEY, PAYLOAD)
    path = entry_of(cache)
    path.write_bytes(path.read_bytes()[:length])
    with caplog.at_level(logging.WARNING):
        assert cache.get(KEY) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    cache.put(KEY, PAYLOAD)
    assert cache.get(KEY) == PAYLOAD


def test_every_flipped_bit_is_noticed(cache, caplog):
    cache.put(KEY, PAYLOAD)
    path = entry_of(cache)
    good = path.read_bytes()
    for offset in range(0, len(good)):
        damaged = bytearray(good)
        damaged[offset] ^= 1 << (offset % 8)
        path.write_bytes(damaged)
        assert cache.get(KEY) is None, f"bit {offset % 8} of byte {offset}"


@pytest.mark.parametrize("change", [lambda c: c + b"x", lambda c: b"NOTDLIR!" + c[8:], lambda c: b""])
def test_foreign_content_is_a_miss(cache, change):
    cache.put(KEY, PAYLOAD)
    path = entry_of(cache)
    path.write_bytes(change(path.read_bytes()))
    assert cache.get(KEY) is None


def test_links_and_folders_in_place_of_an_entry_are_not_followed(cache, tmp_path):
    cache.put(KEY, PAYLOAD)
    path = entry_of(cache)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.get(KEY) is None
    path.unlink()
    path.mkdir()
    assert cache.get(KEY) is None
    cache.put(KEY, PAYLOAD)


def test_directories_are_private(cache):
    cache.put(KEY, PAYLOAD)
    for directory in (cache.directory, cache.directory.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_directory_that_others_may_write_is_refused(tmp_path, caplog):
    (tmp_path / "cpu").mkdir(mode=0o777)
    (tmp_path / "cpu").chmod(0o777)
    cache = ArtifactCache("cpu", tmp_path)
    with caplog.at_level(logging.WARNING):
        cache.put(KEY, PAYLOAD)
        assert cache.get(KEY) is None
    assert len(caplog.records) == 1
    assert "may write" in caplog.text


def test_directory_of_another_user_is_refused(cache, monkeypatch, caplog):
    cache.put(KEY, PAYLOAD)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert ArtifactCache("cpu", cache.directory.parent).get(KEY) is None
    assert "another user" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_failed_write_leaves_the_old_entry_and_warns_once(cache, monkeypatch, caplog, number):
    cache.put(KEY, b"old")

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(artifact_cache.os, "replace", fail)
    with caplog.at_level(logging.WARNING):
        cache.put(KEY, b"new")
        cache.put(KEY, b"new")
    monkeypatch.undo()
    assert len(caplog.records) == 1
    assert cache.get(KEY) == b"old"
    assert entry_of(cache)  # and no temporary file beside it


def test_path_through_a_file_disables_the_cache(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = ArtifactCache("cpu", tmp_path / "file")
    cache.put(KEY, PAYLOAD)
    assert cache.get(KEY) is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize("value", ["", "off"])
def test_environment_switches_the_cache_off(monkeypatch, tmp_path, value):
    monkeypatch.setenv("DLIR_CACHE_DIR", value)
    monkeypatch.chdir(tmp_path)
    cache = ArtifactCache("cpu")
    cache.put(KEY, PAYLOAD)
    assert cache.get(KEY) is None
    assert not list(tmp_path.iterdir())


def test_environment_places_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path / "here"))
    ArtifactCache("cpu").put(KEY, PAYLOAD)
    assert (tmp_path / "here" / "cpu").is_dir()


def test_least_recently_used_entries_go_first(tmp_path):
    cache = ArtifactCache("cpu", tmp_path, max_bytes=5_000)
    for number in range(3):
        cache.put((str(number),), bytes(1_000))
        for path in cache.directory.iterdir():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 100))
    assert cache.get(("0",)) is not None  # used now, so that 1 is the oldest
    cache.put(("3",), bytes(2_500))
    assert cache.get(("1",)) is None
    assert cache.get(("0",)) is not None
    assert cache.get(("3",)) is not None


def test_payload_above_the_limit_is_not_stored(tmp_path):
    cache = ArtifactCache("cpu", tmp_path, max_bytes=1_000)
    cache.put(KEY, bytes(1_000))
    assert cache.get(KEY) is None


def test_abandoned_temporary_files_are_cleared(cache):
    cache.put(KEY, PAYLOAD)
    old, new = (cache.directory / f"{artifact_cache._TEMPORARY_PREFIX}{age}" for age in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 10_000,) * 2)
    cache.put(("another",), PAYLOAD)
    assert new.exists()
    assert not old.exists()


def _write_and_read(directory, number, wrong):
    cache = ArtifactCache("cpu", directory, max_bytes=60_000)
    for turn in range(60):
        key = (str(turn % 7),)
        cache.put(key, (f"{turn % 7}" * 3_000).encode())
        found = cache.get(key)
        if found is not None and found != (f"{turn % 7}" * 3_000).encode():
            wrong.value += 1


def test_writers_in_several_processes_never_see_wrong_bytes(tmp_path):
    context = multiprocessing.get_context("spawn")
    wrong = context.Value("i", 0)
    processes = [context.Process(target=_write_and_read, args=(tmp_path, n, wrong)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert wrong.value == 0
