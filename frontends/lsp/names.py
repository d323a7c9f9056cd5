"""Which definition each name of a text means."""

from __future__ import annotations

from dlir.frontends.lsp.outline import BLOCK, SYMBOL, VALUE, Definition, Occurrence, Outline, Region


class Resolver:
    """Gives each occurrence of an outline its definition, and each definition its occurrences."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline

    def resolve(self) -> None:
        self.outline.occurrences.sort(key=lambda occurrence: occurrence.start)
        for occurrence in self.outline.occurrences:
            if occurrence.definition is None:
                occurrence.definition = self._find(occurrence)
                if occurrence.definition is not None:
                    occurrence.definition.occurrences.append(occurrence)

    def _find(self, occurrence: Occurrence) -> Definition | None:
        name, region = occurrence.name, occurrence.region
        if occurrence.kind == VALUE:
            return next((r.values[name] for r in region.visible() if name in r.values), None)
        if occurrence.kind == BLOCK:
            return region.blocks.get(name)
        if occurrence.kind == SYMBOL:
            return self._symbol(occurrence)
        return self.outline.aliases.get(self.outline.text[occurrence.start : occurrence.end])

    def _symbol(self, occurrence: Occurrence) -> Definition | None:
        if occurrence.outer is None:
            return next(
                (r.symbols[occurrence.name] for r in occurrence.region.tables() if occurrence.name in r.symbols), None
            )
        table = symbol_region(occurrence.outer.definition)
        return None if table is None else table.symbols.get(occurrence.name)


def symbol_region(definition: Definition | None) -> Region | None:
    """The region of the op that defines a symbol, when it holds symbols itself."""
    statement = None if definition is None else definition.place.statement
    regions = [] if statement is None else statement.regions
    return regions[0] if regions and regions[0].is_symbol_table else None
