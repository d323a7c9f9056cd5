"""Weights beside the text: found lazily, checked before anything is allocated, written in one step."""

from __future__ import annotations

import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest

from dlir.ir.errors import DlirError
from dlir.ir.types import F32, I32, TensorType
from dlir.textir import parse_file, print_module
from dlir.textir.atomic import atomic_write
from dlir.textir.weights import read_tensors, to_blob, write_tensors

W = np.arange(6, dtype="f4").reshape(2, 3)


def module_file(folder, weights="w.safetensors", name="w", type="tensor<2x3xf32>", rest=""):
    path = folder / "a.dlir"
    attributes = f' attributes {{dlir.weights = "{weights}"}}' if weights else ""
    path.write_text(
        f"module{attributes} {{\n  state.variable @v {{init = dense_resource<{name}> : {type}}}\n}}\n{rest}"
    )
    return path


def test_weights_are_found_by_name(tmp_path):
    write_tensors(tmp_path / "w.safetensors", {"w": W})
    weights = parse_file(module_file(tmp_path)).weights
    found = weights.get("w", TensorType((2, 3), F32))
    np.testing.assert_array_equal(found, W)
    np.testing.assert_array_equal(weights("w"), W)
    assert not found.flags.writeable


def test_the_file_is_not_opened_before_it_is_needed(tmp_path):
    parsed = parse_file(module_file(tmp_path))
    with pytest.raises(DlirError, match=r"cannot read '.*w\.safetensors'") as caught:
        parsed.weights("w")
    assert f"{tmp_path}/a.dlir:1:1" in str(caught.value)


def test_a_file_given_instead(tmp_path):
    other = tmp_path / "elsewhere.safetensors"
    write_tensors(other, {"w": W})
    for named in ("w.safetensors", None):
        np.testing.assert_array_equal(parse_file(module_file(tmp_path, named), weights=other).weights("w"), W)


@pytest.mark.parametrize(
    "name,type,message",
    [
        ("v", "tensor<2x3xf32>", "has no weights 'v'"),
        ("weight2", "tensor<2x3xf32>", "did you mean 'weight1'"),
        ("w", "tensor<2x3xf16>", "has dtype f32, but the module states tensor<2x3xf16>"),
        ("w", "tensor<3x2xf32>", "has shape 2x3, but the module states tensor<3x2xf32>"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, name, type, message):
    write_tensors(tmp_path / "w.safetensors", {"w": W, "weight1": W})
    weights = parse_file(module_file(tmp_path, name=name, type=type)).weights
    with pytest.raises(DlirError, match=message) as caught:
        weights(name)
    assert f"{tmp_path}/a.dlir:2:3" in str(caught.value)


def test_no_weights_at_all(tmp_path):
    with pytest.raises(DlirError, match="no weights are given for 'w'"):
        parse_file(module_file(tmp_path, weights=None)).weights("w")


@pytest.mark.parametrize(
    "path", ["/etc/w.safetensors", "../w.safetensors", "a/../../w.safetensors", "link/w.safetensors"]
)
def test_the_module_names_only_files_in_its_folder(tmp_path, path):
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    write_tensors(tmp_path / "w.safetensors", {"w": W})
    with pytest.raises(DlirError, match="not inside the folder of the module"):
        parse_file(module_file(folder, path))


def test_a_folder_below_is_fine(tmp_path):
    (tmp_path / "data").mkdir()
    write_tensors(tmp_path / "data" / "w.safetensors", {"w": W})
    parsed = parse_file(module_file(tmp_path, "data/w.safetensors"))
    np.testing.assert_array_equal(parsed.weights("w"), W)
    parsed.copy_sidecars(tmp_path / "out" / "b.dlir")
    np.testing.assert_array_equal(read_tensors(tmp_path / "out" / "data" / "w.safetensors")["w"], W)


# ---------------------------------------------------------------- blobs in the text


def with_blob(text: str) -> str:
    return f'{{-#\n  dialect_resources: {{\n    builtin: {{\n      w: "{text}"\n    }}\n  }}\n#-}}\n'


def test_blobs_in_the_text(tmp_path):
    parsed = parse_file(module_file(tmp_path, None, rest=with_blob(to_blob(W))))
    np.testing.assert_array_equal(parsed.weights("w"), W)


def test_blobs_are_printed(tmp_path, mlir_opt):
    parsed = parse_file(module_file(tmp_path, None, rest=with_blob(to_blob(W))))
    text = print_module(parsed.module, generic=True, blobs=parsed.blobs)
    (tmp_path / "a.dlir").write_text(text)
    np.testing.assert_array_equal(parse_file(tmp_path / "a.dlir").weights("w"), W)
    (tmp_path / "a.dlir").write_text(mlir_opt(text))
    np.testing.assert_array_equal(parse_file(tmp_path / "a.dlir").weights("w"), W)


@pytest.mark.parametrize(
    "text", ["", "0x", "0x04000000", "0x0400", "0x03000000" + "00" * 24, "0xZZ000000" + "00" * 24, "abc"]
)
def test_blobs_that_are_not_what_the_type_says(tmp_path, text):
    parsed = parse_file(module_file(tmp_path, None, rest=with_blob(text)))
    with pytest.raises(DlirError, match="the blob 'w' cannot be used"):
        parsed.weights("w")


# ---------------------------------------------------------------- the file format


def test_every_dtype_as_the_reference_library_has_it(tmp_path):
    reference = pytest.importorskip("safetensors.numpy")
    dtypes = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
    tensors = {name: np.arange(6).reshape(2, 3).astype(name) for name in dtypes}
    tensors |= {"scalar": np.array(3, "f4"), "empty": np.zeros((0, 4), "f4")}
    write_tensors(tmp_path / "ours", tensors, {"note": "é"})
    theirs = reference.load_file(tmp_path / "ours")
    reference.save_file(tensors, tmp_path / "theirs")
    for found in (theirs, read_tensors(tmp_path / "ours"), read_tensors(tmp_path / "theirs")):
        assert sorted(found) == sorted(tensors)
        for name in tensors:
            np.testing.assert_array_equal(found[name], tensors[name], strict=True)


def test_small_floats(tmp_path):
    values = np.array([0.5, -2, 96], "f4")
    tensors = {
        str(kind): values.astype(kind) for kind in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
    }
    write_tensors(tmp_path / "w", tensors)
    for name, found in read_tensors(tmp_path / "w").items():
        np.testing.assert_array_equal(found, tensors[name], strict=True)
    with pytest.raises(DlirError, match="cannot be stored"):
        write_tensors(tmp_path / "w", {"x": np.array(["a"])})


def raw(header, data=b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "data,message",
    [
        (b"", "shorter than its 8-byte"),
        (b"\xff" * 8, "its header claims"),
        (struct.pack("<Q", 1 << 40) + b"{}", "its header claims 1099511627776 bytes"),
        (raw(b"{"), "not a valid safetensors file"),
        (raw(b"[]"), "not a JSON object"),
        (raw(b"[" * 100_000), "not a valid safetensors file"),
        (raw(b'{"w": {}, "w": {}}'), "a name occurs twice"),
        (raw({"w": 1}), "the entry of 'w'"),
        (raw({"w": entry(dtype="F31")}, b"\0" * 8), "unknown dtype 'F31'"),
        (raw({"w": entry(dtype=[])}, b"\0" * 8), "unknown dtype"),
        (raw({"w": entry(shape=(-2,))}, b"\0" * 8), "not lists of numbers"),
        (raw({"w": entry(shape=(1 << 60, 1 << 60))}, b"\0" * 8), "which is not F32 of shape"),
        (raw({"w": entry(offsets=(0, 9))}, b"\0" * 8), "and the file at"),
        (raw({"w": entry(offsets=(8, 0))}, b"\0" * 8), "and the file at"),
        (raw({"w": entry(), "v": entry()}, b"\0" * 8), "the data of 'v' and 'w' overlap"),
        (raw({"__metadata__": {"a": 1}}), "its metadata are not texts"),
    ],
)
def test_broken_files_are_refused(tmp_path, data, message):
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(DlirError, match=message):
        read_tensors(path)


def test_a_bool_is_zero_or_one(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(raw({"w": entry("BOOL", (2,), (0, 2))}, b"\0\2"))
    with pytest.raises(DlirError, match="neither 0 nor 1"):
        read_tensors(path)


def test_data_that_are_not_aligned(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(raw(b'{"w":{"dtype":"I32","shape":[1],"data_offsets":[1,5]}}', b"\0\7\0\0\0"))
    found = read_tensors(path)["w"]
    assert found.dtype == I32.numpy and found.flags.aligned and found[0] == 7


# ---------------------------------------------------------------- writing in one step


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def pieces():
        yield b"new"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        atomic_write(path, pieces())
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]


def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    atomic_write(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640


def test_what_is_no_file_is_written_to():
    atomic_write(os.devnull, b"gone")
    assert not os.path.isfile(os.devnull)
