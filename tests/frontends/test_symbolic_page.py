"""The examples of docs/symbolic.md do what they show."""

from __future__ import annotations

import doctest


def test_every_example(repo_root, monkeypatch):
    monkeypatch.chdir(repo_root)
    failures, examples = doctest.testfile(str(repo_root / "docs" / "symbolic.md"), module_relative=False)
    assert examples > 40 and failures == 0
