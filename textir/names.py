"""Names for values and blocks in a printed text.

A value keeps its hint, made unique with a number; without one it is numbered.  A name is never used again in a nested
region, but may be in a sibling: that is what MLIR's parsers accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dlir.ir.core import Block, Operation, Region, Value

_PLAIN = re.compile(r"[A-Za-z_$.-][\w$.-]*", re.ASCII).fullmatch
_UNFIT = re.compile(r"[^\w$.-]", re.ASCII)


class Names:
    """The names of all values (without ``%``) and blocks (without ``^``) in an op."""

    def __init__(self, root: Operation) -> None:
        self._names: dict[Value, str] = {}
        self.blocks: dict[Block, str] = {}
        self._used: set[str] = set()
        #: Used names in order, so that those of a region can be given back.
        self._order: list[str] = []
        self._next_number = 0
        self._next_suffix: dict[str, int] = {}
        self._name_results(root)
        self._name_inside(root)

    def value(self, value: Value) -> str:
        """The name of `value`; one that is defined nowhere in the op gets a new name."""
        found = self._names.get(value)
        if found is None:
            self._used.update(self._names.values())
            found = self._names[value] = self._unique(value.name or "outside")
        return found

    def block(self, block: Block) -> str:
        """The name of `block`; the same for all that are not in the op."""
        return self.blocks.get(block, "outside")

    def results(self, op: Operation) -> str:
        """``%a, %b = `` or ``%r:2 = ``, or nothing."""
        results = op.results
        if not results:
            return ""
        first = self.value(results[0])
        if len(results) == 1:
            return f"%{first} = "
        if first.endswith("#0"):
            return f"%{first[:-2]}:{len(results)} = "
        return ", ".join(["%" + self.value(result) for result in results]) + " = "

    # ------------------------------------------------------------ making

    def _name_inside(self, root: Operation) -> None:
        work: list[Region | tuple[int, int]] = list(reversed(root.regions))
        while work:
            item = work.pop()
            if isinstance(item, tuple):
                count, self._next_number = item
                self._used.difference_update(self._order[count:])
                del self._order[count:]
                continue
            work.append((len(self._order), self._next_number))
            nested: list[Region] = []
            self._name_blocks(item.blocks)
            for block in item.blocks:
                for argument in block.args:
                    self._names[argument] = self._pick(argument.name)
                op = block.first
                while op is not None:
                    if op.results:
                        self._name_results(op)
                    nested += op.regions
                    op = op.next
            work.extend(reversed(nested))

    def _name_blocks(self, blocks: Iterable[Block]) -> None:
        taken: set[str] = set()
        for number, block in enumerate(blocks):
            name = hint = _UNFIT.sub("_", block.name) if block.name else f"bb{number}"
            suffix = 0
            while name in taken:
                name = f"{hint}_{suffix}"
                suffix += 1
            taken.add(name)
            self.blocks[block] = name

    def _name_results(self, op: Operation) -> None:
        results = op.results
        if len(results) > 1 and all(result.name == results[0].name for result in results):
            base = self._pick(results[0].name)
            for index, result in enumerate(results):
                self._names[result] = f"{base}#{index}"
            return
        for result in results:
            self._names[result] = self._pick(result.name)

    def _pick(self, hint: str | None) -> str:
        if not hint:
            name = str(self._next_number)
            self._next_number += 1
        else:
            name = self._unique(hint)
        self._used.add(name)
        self._order.append(name)
        return name

    def _unique(self, hint: str) -> str:
        if not _PLAIN(hint):
            hint = _UNFIT.sub("_", hint)
            hint = f"_{hint}" if hint[0].isdigit() else hint
        name = hint
        while name in self._used:
            number = self._next_suffix.get(hint, 0)
            self._next_suffix[hint] = number + 1
            name = f"{hint}_{number}"
        return name
