"""docs/autodiff.md shows what the passes make."""

from __future__ import annotations

import re
from pathlib import Path

from dlir.passes.manager import PassManager
from dlir.textir import parse, to_text


def test_the_page_shows_what_differentiate_makes(repo_root: Path) -> None:
    page = (repo_root / "docs" / "autodiff.md").read_text()
    before = re.search(r"<!-- before -->\n```mlir\n(.*?)```", page, re.DOTALL)
    shown = re.search(r"<!-- after: (.*?) -->\n```mlir\n(.*?)```", page, re.DOTALL)
    assert before and shown
    module = parse(before.group(1), "page.dlir")
    PassManager.from_text(shown.group(1)).run(module)
    assert to_text(module).rstrip() == shown.group(2).rstrip()
