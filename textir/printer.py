"""Printing IR, without recursion.  What the pretty form cannot say is printed in MLIR's generic form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dlir.ir.core import Block, Operation, Region, Value
from dlir.ir.location import Location, quote
from dlir.ir.op import Op
from dlir.ir.spelling import spell_key
from dlir.ir.types import FunctionType, spell_results
from dlir.textir.names import Names
from dlir.textir.spelling import (
    func_head,
    module_head,
    pretty_attributes,
    spell_dict,
    spell_generic_dict,
    split_attributes,
)

#: Ops with a form of their own; one that it cannot say is printed in the generic form.
OWN_FORMS = ("builtin.module", "func.func")
#: Ops with a comma between their symbol and their operands: two things on the same footing.
WITH_COMMA = ("state.write",)


def print_module(
    op: Operation, generic: bool = False, locations: bool = False, blobs: Mapping[str, str] | None = None
) -> str:
    """The text of a module (or any op), ending in a newline.

    The pretty form is dlir's own; MLIR's tools understand the generic one.  `dlir.textir.parse` reads both, and equal
    modules give equal texts.  `blobs` (see `dlir.textir.weights.to_blob`) are the elements of dense_resource by name.
    """
    return to_text(op, generic, locations) + "\n" + (_resources(blobs) if blobs else "")


def to_text(op: Operation, generic: bool = False, locations: bool = False) -> str:
    """The text of an op, without a newline at its end."""
    return "\n".join(_Printer(op, generic, locations).lines(op))


def _resources(blobs: Mapping[str, str]) -> str:
    entries = ",\n".join(f'      {spell_key(name)}: "{blobs[name]}"' for name in sorted(blobs))
    return f"\n{{-#\n  dialect_resources: {{\n    builtin: {{\n{entries}\n    }}\n  }}\n#-}}\n"


class _Printer:
    def __init__(self, root: Operation, generic: bool, locations: bool) -> None:
        self.generic = generic
        self.locations = locations
        self.names = Names(root)
        #: Values whose definition has been printed; the types of others must be stated.
        self.defined: set[Value] = set()
        #: Regions whose first block has its arguments in the head of the op.
        self.headed: set[Region] = set()

    def lines(self, root: Operation) -> list[str]:
        """The lines of `root` and all inside it."""
        out: list[str] = []
        work: list[tuple[Any, int]] = [(root, 0)]
        while work:
            item, indent = work.pop()
            if isinstance(item, str):
                out.append(item)
            elif isinstance(item, Region):
                work.extend(reversed(list(self._region(item, indent))))
            elif isinstance(item, Block):
                op = item.last
                while op is not None:
                    work.append((op, indent + 1))
                    op = op.previous
            elif item.regions:
                work.extend(reversed(list(self._with_regions(item, indent))))
            else:
                head, tail = self._ends(item)
                out.append("  " * indent + head + tail)
        return out

    # ------------------------------------------------------------ ops

    def _with_regions(self, op: Operation, indent: int) -> Iterator[tuple[Any, int]]:
        margin = "  " * indent
        head = None if self.generic else self._own_head(op)
        if head is not None:
            region = op.regions[0]
            if not region.blocks:
                yield margin + head + self._loc(op.location), indent
                return
            self.headed.add(region)
            self.defined.update(region.blocks[0].args)
            yield f"{margin}{head} {{", indent
            yield region, indent
            yield margin + "}" + self._loc(op.location), indent
            return
        head, tail = self._ends(op)
        yield f"{margin}{head} ({{", indent
        for number, region in enumerate(op.regions):
            if number:
                yield margin + "}, {", indent
            yield region, indent
        yield margin + "})" + tail, indent

    def _own_head(self, op: Operation) -> str | None:
        """The head of an op with a form of its own: a function or module."""
        if op.name == "func.func":
            return func_head(op, self.names, self._loc)
        return module_head(op) if op.name == "builtin.module" else None

    def _ends(self, op: Operation) -> tuple[str, str]:
        """What stands before the regions of an op, and what behind them."""
        is_generic = self.generic or not isinstance(op, Op) or op.name in OWN_FORMS
        head, tail = self._generic_ends(op) if is_generic else self._pretty_ends(op)  # type: ignore[arg-type]
        self.defined.update(op.results)
        return head, tail

    def _generic_ends(self, op: Operation) -> tuple[str, str]:
        head = f"{self.names.results(op)}{quote(op.name)}({self._operands(op)}){self._successors(op)}"
        inherent, others = split_attributes(op)
        moved = {name: inherent.pop(name) for name in getattr(op, "discardable", ()) if name in inherent}
        others = dict(sorted((moved | others).items())) if moved else others
        spell = spell_generic_dict if self.generic else spell_dict
        if inherent:
            head += f" <{spell(inherent)}>"
        inputs = ", ".join([str(use.value.type) for use in op._uses])
        tail = f" {spell(others)}" if others else ""
        return head, f"{tail} : ({inputs}) -> {spell_results(op.result_types)}{self._loc(op.location)}"

    def _pretty_ends(self, op: Op) -> tuple[str, str]:
        attributes = pretty_attributes(op)
        if attributes is None:
            return self._generic_ends(op)
        symbols, entries = attributes
        words = ["return" if op.name == "func.return" else op.name, *symbols]
        if op._uses:
            if op.name in WITH_COMMA:
                words[-1] += ","
            words.append(self._operands(op))
        if entries:
            words.append("{" + ", ".join(entries) + "}")
        if op.successors:
            words.append(self._successors(op))
        return self.names.results(op) + " ".join(words), self._pretty_types(op) + self._loc(op.location)

    def _pretty_types(self, op: Operation) -> str:
        results = op.result_types
        are_known = all([use.value in self.defined for use in op._uses])
        if not are_known or any([isinstance(type, FunctionType) for type in results]):
            return f" : {FunctionType(op.operand_types, results)}"
        return " : " + ", ".join(map(str, results)) if results else ""

    def _operands(self, op: Operation) -> str:
        return ", ".join(["%" + self.names.value(use.value) for use in op._uses])

    def _successors(self, op: Operation) -> str:
        if not op.successors:
            return ""
        return "[" + ", ".join(["^" + self.names.block(block) for block in op.successors]) + "]"

    def _loc(self, location: Location) -> str:
        return f" loc({location})" if self.locations else ""

    # ------------------------------------------------------------ regions

    def _region(self, region: Region, indent: int) -> Iterator[tuple[Any, int]]:
        targets = {block for inner in region.blocks for op in inner.ops for block in op.successors}
        is_headed = region in self.headed
        for number, block in enumerate(region.blocks):
            needs_label = number > 0 or block in targets or (block.args and not is_headed)
            if not needs_label and block.first is None:
                # Nothing would tell an empty first block from none, except where there always is one.
                needs_label = not is_headed or len(region.blocks) > 1
            if needs_label:
                yield self._label(block, indent, with_args=number > 0 or not is_headed), indent
            yield block, indent

    def _label(self, block: Block, indent: int, with_args: bool) -> str:
        self.defined.update(block.args)
        arguments = block.args if with_args else []
        args = [f"%{self.names.value(arg)}: {arg.type}{self._loc(arg.location)}" for arg in arguments]
        return "  " * indent + "^" + self.names.block(block) + (f"({', '.join(args)})" if args else "") + ":"
