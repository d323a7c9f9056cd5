"""Compiling and linking LLVM IR text."""

import ctypes
import subprocess
import sys

import pytest

from dlir.backends.artifact_cache import ArtifactCache
from dlir.backends.cpu import jit

ADD = "define i64 @add(i64 %a, i64 %b) {\n  %c = add i64 %a, %b\n  ret i64 %c\n}\n"
CALLER = """
declare i64 @SYMBOL(i64, i64)
define i64 @caller(i64 %a, i64 %b) {
  %c = call i64 @SYMBOL(i64 %a, i64 %b)
  ret i64 %c
}
"""
UNDOMINATED = """
define i64 @f(i1 %c) {
entry:
  br i1 %c, label %a, label %b
a:
  %x = add i64 1, 1
  br label %b
b:
  ret i64 %x
}
"""
BINARY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def test_compiled_function_runs():
    assert jit.compile_ir(ADD, ["add"]).function("add", BINARY)(40, 2) == 42


def test_imported_address_is_called():
    add = jit.compile_ir(ADD, ["add"])
    library = jit.compile_ir(CALLER.replace("SYMBOL", "dlir.add"), ["caller"], imports={"dlir.add": add["add"]})
    assert library.function("caller", BINARY)(40, 2) == 42


@pytest.mark.parametrize(
    "ir",
    ["this is not IR", "define i64 @f() {\n  ret float 0.0\n}\n", UNDOMINATED],
    ids=["syntax", "types", "dominance"],
)
def test_refused_ir_is_an_error_with_its_text(ir):
    with pytest.raises(jit.CodegenError) as error:
        jit.object_code(jit.Source(ir))
    assert error.value.ir == ir


def test_missing_symbol_is_an_error():
    with pytest.raises(jit.CodegenError, match="link"):
        jit.compile_ir(CALLER.replace("SYMBOL", "no.such.symbol"), ["caller"])


def test_missing_export_is_an_error():
    with pytest.raises(jit.CodegenError):
        jit.compile_ir(ADD, ["subtract"])


def test_second_compilation_takes_the_cached_object(tmp_path, monkeypatch):
    cache = ArtifactCache("cpu", tmp_path / "cache")
    first = jit.object_code(jit.Source(ADD), cache)
    monkeypatch.setattr(jit, "_compiled", lambda source: pytest.fail("compiled again"))
    assert jit.object_code(jit.Source(ADD), cache) == first
    assert jit.compile_ir(ADD, ["add"], cache=cache).function("add", BINARY)(1, 2) == 3


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_objects_come_in_the_order_of_their_texts(tmp_path, workers):
    numbers = list(range(8))
    # Of different lengths: the longest are compiled first.
    texts = [f"define i64 @f{n}() {{\n{'  ; comment' * n}\n  ret i64 {n}\n}}\n" for n in numbers]
    cache = ArtifactCache("cpu", tmp_path / "cache")
    cached = jit.object_code(jit.Source(texts[3]), cache)
    codes = jit.object_codes([jit.Source(text) for text in texts], cache, workers)
    assert codes[3] == cached
    library = jit.link(codes, [f"f{n}" for n in numbers])
    assert [library.function(f"f{n}", ctypes.CFUNCTYPE(ctypes.c_int64))() for n in numbers] == numbers
    assert len(list(cache.directory.iterdir())) == len(numbers)


def test_objects_are_linked_with_each_other():
    codes = jit.object_codes([jit.Source(CALLER.replace("SYMBOL", "add")), jit.Source(ADD, runs_once=True)], workers=2)
    assert jit.link(codes, ["caller"]).function("caller", BINARY)(40, 2) == 42


def test_an_error_of_one_of_several_compilations_is_raised():
    with pytest.raises(jit.CodegenError) as error:
        jit.object_codes([jit.Source(ADD), jit.Source(UNDOMINATED), jit.Source(ADD)], workers=3)
    assert error.value.ir == UNDOMINATED


def test_damaged_object_in_the_cache_is_compiled_again(tmp_path):
    cache = ArtifactCache("cpu", tmp_path / "cache")
    jit.object_code(jit.Source(ADD), cache)
    (entry,) = cache.directory.iterdir()
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    entry.write_bytes(content)
    assert jit.compile_ir(ADD, ["add"], cache=cache).function("add", BINARY)(1, 2) == 3


def test_llvmlite_is_imported_only_to_compile():
    script = "import sys, dlir.backends.cpu.jit, dlir.backends.cpu.vector_math; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
