"""A piece of a text that is passed over because of a syntax error."""

from __future__ import annotations

from typing import NamedTuple


class Gap(NamedTuple):
    """Where reading goes on after an error."""

    #: How much of the stack of states is left.
    depth: int
    #: From where to where the text is passed over.
    start: int
    end: int
    #: How many regions are open around the text in between, and how many ops with regions are not finished.
    regions: int
    heads: int
    #: How many regions the text in between opens; reading goes on in the innermost one.
    opens: int
