"""Programs that are not found: whatever could make another program."""

from __future__ import annotations

import os

import pytest
from support.cached_programs import NET, compiled, entries

from dlir.backends import device_memory, program_cache
from dlir.backends.compiler import compile_module
from dlir.backends.variables import VariableStore
from dlir.ir.errors import DlirError
from dlir.passes.rules import RULES
from dlir.textir import parse


def test_what_makes_another_program(cache, work):
    texts = [NET, NET.replace("24x", "25x").replace("<24xf32>", "<25xf32>"), NET.replace("relu", "tanh")]
    texts += [NET.replace("dense<0.5>", "dense<0.25>"), NET.replace("%x", "%y")]
    for text in texts:
        compiled(text)
    compiled(NET, level="O1")
    compiled(NET, variables=VariableStore())
    assert work.count("fuse") == len(entries(cache)) == len(texts) + 2
    compiled(NET.replace("@main", "@other"), entry="other")
    assert len(entries(cache)) == len(texts) + 3


def test_names_that_the_text_spells_alike_are_apart(cache):
    """The printer makes names unique, but callers use those that arguments have."""
    for names in (["a", "a_1"], ["a", "a"]):
        module = parse("func.func @main(%a: tensor<2xf32>, %a_1: tensor<2xf32>) -> tensor<2xf32> { return %a }")
        function = module.body.first
        for arg, name in zip(function.body.args, names, strict=True):
            arg.name = name
        found = [item.name for item in compile_module(module).executable.signature.inputs]
        assert found == names


def test_whoever_watches_the_passes_sees_them(cache, work):
    compiled()
    del work[:]
    seen = []
    compiled(after=lambda item, module: seen.append(item.name))
    assert seen == work[: len(seen)] and "fuse" in seen
    assert len(entries(cache)) == 1


def test_the_switch(cache, work, monkeypatch):
    monkeypatch.setenv("DLIR_PROGRAM_CACHE", "off")
    compiled()
    compiled()
    assert work.count("fuse") == 2
    assert not entries(cache)


def test_without_a_folder_programs_are_kept_in_memory(cache, work, monkeypatch):
    monkeypatch.setenv("DLIR_CACHE_DIR", "off")
    compiled()
    compiled()
    assert work.count("fuse") == 1
    compiled(forget=True)
    assert work.count("fuse") == 2


def test_plugins_have_a_say_in_compiling_and_may_change(cache, work, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(RULES.data, "somebody's", ())
        compiled()
        assert not entries(cache)
    compiled()
    assert len(entries(cache)) == 1 and work.count("fuse") == 2
    monkeypatch.setitem(RULES.data, "somebody's", ())
    compiled()
    assert work.count("fuse") == 3


def test_another_dlir_finds_nothing(cache, work, monkeypatch):
    compiled()
    monkeypatch.setattr(program_cache, "_fingerprint", lambda: "another")
    compiled()
    assert work.count("fuse") == 2
    monkeypatch.setattr(program_cache, "_fingerprint", lambda: None)
    compiled()
    assert work.count("fuse") == 3


def test_which_dlir_it_is_depends_on_every_file(tmp_path, monkeypatch):
    import dlir

    for package in program_cache._PACKAGES:
        (tmp_path / package / "inner").mkdir(parents=True)
    file = tmp_path / "passes" / "inner" / "a.pattern"
    file.write_text("one")
    monkeypatch.setattr(dlir, "__path__", [str(tmp_path)])
    fingerprint = program_cache._fingerprint.__wrapped__
    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    file.write_text("other")
    seen.append(fingerprint())
    os.utime(file, ns=(1, 1))
    seen.append(fingerprint())
    (tmp_path / "ir" / "new.py").write_text("")
    seen.append(fingerprint())
    (tmp_path / "ir" / "__pycache__").mkdir()
    assert fingerprint() == seen[-1]
    assert len(set(seen)) == len(seen)
    for package in program_cache._PACKAGES:
        (tmp_path / package).rename(tmp_path / f"no {package}")
    assert fingerprint() is None


def test_a_program_that_no_longer_fits_says_what_is_too_large(cache, monkeypatch):
    compiled()
    monkeypatch.setattr(device_memory, "device_bytes", lambda backend: 10_000)
    with pytest.raises(DlirError, match=r"needs [\d,]+ bytes, but this machine has 10,000"):
        compiled()


def test_other_backends_are_left_alone(cache):
    compiled(backend="ref")
    assert not entries(cache)
