"""Numbers of bytes as people write them."""

from __future__ import annotations


def human_bytes(count: int) -> str:
    """A number of bytes for people: ``320 B``, ``12.5 KiB``, ``4.0 TiB``."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1024 or unit == "PiB":
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def parse_bytes(text: str) -> int:
    """The number of bytes in ``8GiB``, ``512MB``, ``1000``; ValueError if it is not one."""
    units = {"": 1, "B": 1}
    units.update({f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)})
    units.update({f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", 1)})
    digits = text.rstrip("KMGTPiB ")
    return int(float(digits) * units[text[len(digits) :].strip()])
