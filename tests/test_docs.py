"""The generated pages and stubs are what the code says now."""

import subprocess
import sys


def test_nothing_generated_is_out_of_date(repo_root):
    # In a process of its own: other tests bring ops and passes of theirs.
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
