"""What both test files need."""

from __future__ import annotations

import pytest

from dlir.ir.errors import DlirError
from dlir.ir.verifier import verified
from dlir.textir import to_text


@pytest.fixture
def assert_unchanged():
    """Check that a conversion fails with a message, and leaves every op of the module where and what it was."""

    def check(module, convert, match):
        before, ops = to_text(module, locations=True), list(module.walk())
        with pytest.raises(DlirError, match=match) as caught:
            convert()
        assert to_text(module, locations=True) == before
        assert all(one is two for one, two in zip(ops, module.walk(), strict=True))
        verified(module)
        return caught.value.diagnostics

    return check
