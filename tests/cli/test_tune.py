"""``dlir-run --tune`` and ``--save-tuned``."""

import pytest

from dlir.backends.cpu import tune
from dlir.frontends.cli.run import main

NET = """
func.func @main(%x: tensor<40x30xf32>, %w: tensor<30x64xf32>) -> tensor<40x64xf32> {
  %y = nd.matmul %x, %w
  func.return %y
}
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.setenv("DLIR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tune, "SECONDS", 0.0)
    monkeypatch.setattr(tune, "seconds_of", lambda region, tile: float(tile[0] != 3))
    path = tmp_path / "net.dlir"
    path.write_text(NET)
    return path


def test_the_tuned_text_has_the_tiles_and_runs(net, tmp_path, capsys):
    tuned = tmp_path / "tuned.dlir"
    assert main([str(net), "--save-tuned", str(tuned), "--bench", "0"]) == 0
    assert "tile = [3, " in tuned.read_text()
    assert main([str(tuned), "--bench", "0"]) == 0
    assert "outputs match ref" in capsys.readouterr().out


def test_only_the_cpu_can_be_tuned(net, capsys):
    assert main([str(net), "--tune", "--backend", "ref"]) == 1
    assert "only the cpu backend can be tuned" in capsys.readouterr().err
