"""The generated pages and stubs are what the code says now."""

from __future__ import annotations

import importlib.util
import sys


def test_nothing_generated_is_out_of_date(repo_root):
    spec = importlib.util.spec_from_file_location("dlir_docs_generate", repo_root / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = generate
    spec.loader.exec_module(generate)
    stale = [path for path, text in generate.generated().items() if (repo_root / path).read_text() != text]
    assert not stale, f"run 'python docs/generate.py' for {stale}"
