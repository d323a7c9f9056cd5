"""Which value a ``%name`` means, and which block a ``^name``.

Names are visible in their region and those nested in it, up to an op that is isolated from above; a name may not be defined
again where it is visible.  A use may stand before the definition, in the same region or a nested one: it is a
`ForwardValue` until then.
"""

from __future__ import annotations

from dlir.ir.core import Block, Operation, Region, Value


class ForwardValue(Value):
    """Stands for a value that is used before it is defined; its type is None until a signature states it."""

    __slots__ = ("offset", "wants_type")

    def __init__(self, name: str, offset: int) -> None:
        super().__init__(None, None, 0, name)  # type: ignore[arg-type]
        #: Where it was first used.
        self.offset = offset
        #: Used by an op that has to know its type.
        self.wants_type = False


class Frame:
    """A region that is being read."""

    __slots__ = (
        "blocks",
        "entry",
        "first_name",
        "forward",
        "is_graph",
        "is_isolated",
        "order",
        "region",
        "symbols",
        "values",
    )

    def __init__(self, outer: Frame | None, is_isolated: bool, is_graph: bool, is_symbol_table: bool) -> None:
        self.is_isolated = is_isolated
        #: Whether the order of definitions and uses is free.
        self.is_graph = is_graph
        #: Ops by the symbol that they define in this region, if it is a symbol table.
        self.symbols: dict[str, Operation] | None = {} if is_symbol_table else None
        self.region = Region()
        self.entry = Block()
        #: Blocks by name, those that were only named so far too, with the offset of that.
        self.blocks: dict[str, tuple[Block, int]] | None = None
        #: Values used in this region (or in one nested in it) before their definition.
        self.forward: dict[str, ForwardValue] | None = None
        if outer is None or is_isolated:
            #: The visible values of this isolated op by name, shared by all regions in it, and their names in order.
            self.values: dict[str, Value] = {}
            self.order: list[str] = []
        else:
            self.values = outer.values
            self.order = outer.order
        #: Names from here on in `order` belong to this region.
        self.first_name = len(self.order)

    def leave(self) -> None:
        """Make the names of this region invisible."""
        if not self.is_isolated:
            for name in self.order[self.first_name :]:
                del self.values[name]
            del self.order[self.first_name :]

    def missing(self, name: str, offset: int) -> Value | None:
        """The value for a name that is not in `values`: ``x#0`` of a single result, or a forward value.

        None if the name is a result number that the op does not have.
        """
        base, sharp, number = name.partition("#")
        found = self.values.get(base) if sharp else None
        if found is not None:
            # Results of `%r:2` have names of their own, so this can only be `%x#0` of a single one.
            return found if int(number) == 0 and f"{base}#0" not in self.values else None
        if self.forward is None:
            self.forward = {}
        forward = self.forward.get(name)
        if forward is None:
            forward = self.forward[name] = ForwardValue(name, offset)
        return forward

    def block(self, name: str, offset: int) -> Block:
        """The block called `name` in this region, defined or not yet."""
        if self.blocks is None:
            self.blocks = {}
        found = self.blocks.get(name)
        if found is None:
            found = self.blocks[name] = (Block(), offset)
        return found[0]
