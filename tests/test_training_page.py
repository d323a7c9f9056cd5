"""The examples of docs/training.md and the README's do what they say."""

from __future__ import annotations

import re
import subprocess
import sys

IMAGES = """
import numpy as np
images, labels = np.random.default_rng(0).random((64, 64), np.float32), np.arange(64) % 10
"""


def run(script, folder):
    path = folder / "page.py"
    path.write_text(script)
    subprocess.run([sys.executable, path], check=True, timeout=120, cwd=folder)


def test_the_page_runs_from_top_to_bottom(repo_root, tmp_path):
    page = (repo_root / "docs" / "training.md").read_text()
    run("".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), tmp_path)
    assert (tmp_path / "training.safetensors").exists()


def test_the_readmes_python_runs(repo_root, tmp_path):
    page = (repo_root / "README.md").read_text()
    first, training = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    run(first + "assert (program.memory.planned, program.memory.naive, program.kernels) == (240, 320, 1)\n", tmp_path)
    losses = "losses = [float(step(x=images, y=labels)) for _ in range(50)]\nassert losses[-1] < 0.5 * losses[0]\n"
    run(IMAGES + training + losses, tmp_path)
