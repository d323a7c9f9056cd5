"""The commands of the tutorials print what the pages show (docs/refresh.py reads them), and links lead somewhere."""

from __future__ import annotations

import importlib.util
import re

import pytest

PAGES = ("first-dialect", "first-pass", "first-rule")


@pytest.fixture(scope="module")
def refresh(repo_root):
    spec = importlib.util.spec_from_file_location("dlir_docs_refresh", repo_root / "docs" / "refresh.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PAGES)
def test_a_tutorial_does_what_it_shows(name, repo_root, refresh):
    page = (repo_root / "docs" / f"{name}.md").read_text()
    assert page.count("```console\n$ ") >= 2
    assert refresh.refreshed(name) == page, "run 'python docs/refresh.py' and look at what changed"


@pytest.mark.parametrize("name", ["language", *PAGES])
def test_links_lead_somewhere(name, repo_root):
    page = (repo_root / "docs" / f"{name}.md").read_text()
    links = re.findall(r"\]\(([\w./-]+)\)", page)
    assert links and [link for link in links if not (repo_root / "docs" / link).exists()] == []
