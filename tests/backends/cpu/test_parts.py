"""Long modules are compiled in several parts."""

import numpy as np
import pytest

from dlir.backends.compiler import compile_module
from dlir.backends.cpu import emit, jit
from dlir.textir import parse

CHAIN = """
func.func @main(%x: tensor<6x40xf32>) -> tensor<6x6xf32> {
  %a = nd.exp %x : tensor<6x40xf32>
  %table = nd.constant {value = dense<[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]> : tensor<6x1xf32>} : tensor<6x1xf32>
  %b = nd.mul %a, %table : tensor<6x40xf32>
  %t = nd.transpose %x {perm = [1, 0]} : tensor<40x6xf32>
  %p = nd.matmul %b, %t : tensor<6x6xf32>
  %r = nd.relu %p : tensor<6x6xf32>
  func.return %r
}
"""


@pytest.fixture
def programs(monkeypatch):
    """The texts of the modules of each program that is compiled from now on."""
    found = []
    compiled = jit.object_codes

    def noting(sources, *rest, **named):
        if f"@{emit.ENTRY}(" in sources[0].ir:
            found.append([source.ir for source in sources])
        return compiled(sources, *rest, **named)

    monkeypatch.setattr(jit, "object_codes", noting)
    monkeypatch.setenv("DLIR_CACHE_DIR", "off")
    return found


@pytest.fixture
def short_parts(monkeypatch):
    """Every kernel is a part of its own."""
    monkeypatch.setattr(emit, "PART_CHARACTERS", 1)


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("level", ["O0", "O2"])
def test_parts_compute_what_the_whole_does(programs, level):
    x = np.random.default_rng(0).standard_normal((6, 40), dtype=np.float32)
    program = compile_module(parse(CHAIN), level=level)
    wanted = np.maximum((np.exp(x) * np.arange(1, 7, dtype=np.float32)[:, None]) @ x.T, 0)
    np.testing.assert_allclose(program(x)[0], wanted, rtol=2e-5)
    (texts,) = programs
    assert len(texts) == program.kernels + 1
    # The whole text has the same kernels, and is one module.
    assert program.source().count("define internal void @kernel.") == program.kernels
    assert sum(text.count("define void @kernel.") for text in texts) == program.kernels


@pytest.mark.usefixtures("short_parts")
def test_a_part_has_only_the_constants_that_it_names(programs):
    compile_module(parse(CHAIN), level="O0")
    (texts,) = programs
    users = [text for text in texts if "@constant.0" in text]
    assert users
    assert len(users) < len(texts)
    assert all("@constant.0 =" in text for text in users)


def test_short_modules_are_one_part(programs):
    compile_module(parse(CHAIN), level="O0")
    assert [len(texts) for texts in programs] == [1]
