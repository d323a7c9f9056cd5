"""Boxes and arrows, and how they are written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dlir.textir.atomic import atomic_write

#: Fill colour by the kind of a box.
COLOURS = {
    "input": "#d9ead3",
    "parameter": "#fff2cc",
    "constant": "#eeeeee",
    "op": "#dae8fc",
    "kernel": "#dae8fc",
    "backward": "#f8cecc",
    "output": "#d9ead3",
}


@dataclass(frozen=True, slots=True)
class Box:
    """One thing: the lines written in it, and its kind, a key of `COLOURS`."""

    lines: tuple[str, ...]
    kind: str = "op"


@dataclass
class Picture:
    """Boxes, and arrows between them by number; arrows lead from earlier boxes to later ones."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[tuple[int, int]] = field(default_factory=list)

    def add(self, box: Box, sources: list[int]) -> int:
        """Put `box` behind the boxes `sources`; its number."""
        self.boxes.append(box)
        number = len(self.boxes) - 1
        self.arrows += [(source, number) for source in sources]
        return number

    def dot(self) -> str:
        """The drawing in Graphviz' language."""
        lines = ["digraph {", '  node [shape=box, style="filled,rounded", fontname=monospace];']
        for number, box in enumerate(self.boxes):
            label = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in box.lines)
            lines.append(f'  n{number} [label="{label}", fillcolor="{COLOURS[box.kind]}"];')
        lines += [f"  n{source} -> n{target};" for source, target in self.arrows]
        return "\n".join([*lines, "}"]) + "\n"

    def svg(self) -> str:
        """The drawing as an SVG document of its own."""
        from dlir.frontends.drawing.svg import to_svg

        return to_svg(self)

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path: str | Path) -> None:
        """Write the drawing to a file ``.svg`` or ``.dot``."""
        forms: dict[str, Callable[[], str]] = {".svg": self.svg, ".dot": self.dot, ".gv": self.dot}
        suffix = Path(path).suffix.lower()
        if suffix not in forms:
            from dlir.ir.errors import DlirError

            raise DlirError(f"cannot draw '{path}'", hint="drawings are .svg, .dot and .gv files")
        atomic_write(Path(path), [forms[suffix]().encode()])
