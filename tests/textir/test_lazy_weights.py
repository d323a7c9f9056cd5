"""A large file of weights beside a module is not read before an array of it is asked for, and then only that array."""

import json
import struct

import numpy as np
import pytest

from dlir.frontends.cli import opt
from dlir.textir import parse_file, safetensors_file
from dlir.textir import weights as weights_module
from dlir.textir.safetensors_file import SafetensorsFile

ELEMENTS = 1 << 24  # of two arrays of 64 MB each, in a file that takes no room on the disk

MODULE = f"""module attributes {{dlir.weights = "w.safetensors"}} {{
  state.variable @w {{init = dense_resource<second> : tensor<{ELEMENTS}xf32>}}
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
    %y = nd.add %x, %x : tensor<4xf32>
    return %y
  }}
}}
"""


@pytest.fixture
def module_file(tmp_path):
    claims = {
        name: {"dtype": "F32", "shape": [ELEMENTS], "data_offsets": [4 * ELEMENTS * i, 4 * ELEMENTS * (i + 1)]}
        for i, name in enumerate(("first", "second"))
    }
    header = json.dumps(claims).encode()
    header += b" " * (-(8 + len(header)) % 64)
    with open(tmp_path / "w.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 8 * ELEMENTS)
        file.seek(-4, 2)
        file.write(np.float32(2.5).tobytes())
    path = tmp_path / "m.dlir"
    path.write_text(MODULE)
    return path


class Recorder:
    """A mapped file that notes the slices that are taken of it."""

    def __init__(self, data):
        self.data, self.size, self.slices = data, data.size, []

    def __getitem__(self, part):
        self.slices.append((part.start or 0, part.stop))
        return self.data[part]


@pytest.mark.parametrize("flags", [[], ["--emit", "generic"], ["-p", "canonicalize,cse,dce"], ["--verify-roundtrip"]])
def test_passes_and_printing_do_not_open_the_file(module_file, flags, monkeypatch, capsys):
    def refuse(path):
        raise AssertionError(f"{path} is opened")

    monkeypatch.setattr(weights_module, "SafetensorsFile", refuse)
    assert opt.main([str(module_file), *flags]) == 0
    assert "dense_resource<second>" in capsys.readouterr().out


def test_opening_reads_the_header_and_asking_reads_one_array(module_file, monkeypatch):
    path = module_file.with_name("w.safetensors")
    recorder = Recorder(np.memmap(path, np.uint8, "r"))
    monkeypatch.setattr(safetensors_file.np, "memmap", lambda *arguments: recorder)
    opened = SafetensorsFile(path)
    start = opened.entries["second"].start
    assert all(stop <= start - 4 * ELEMENTS for _, stop in recorder.slices)
    recorder.slices.clear()
    array = opened["second"]
    assert recorder.slices == [(start, start + 4 * ELEMENTS)]
    assert array[-1] == 2.5 and array.shape == (ELEMENTS,)


def test_array_is_a_view_of_the_mapped_file(module_file):
    weights = parse_file(module_file).weights
    assert weights._open is None
    array = weights.get("second")
    mapped = weights._open._data
    assert isinstance(mapped, np.memmap) and np.shares_memory(array, mapped)
    assert weights.get("second").ctypes.data == array.ctypes.data
