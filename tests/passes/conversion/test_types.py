"""Type conversion: adapted operands, casts that cancel, materialisations, function signatures."""

from __future__ import annotations

import pytest
from passes_conversion_support import assert_unchanged
