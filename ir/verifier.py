"""The verifier: is this module well formed?

Checked: operand groups, attributes and result types against each op's schema and ``infer``; terminators; SSA dominance over
blocks and regions; symbols; what each op's own ``verify`` adds.  Linear in ops, blocks and symbols, and without recursion:
values come into scope as the walk meets their definition and leave it with their region.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlir.ir.attributes import SymbolRefAttr
from dlir.ir.collection import collection_paused
from dlir.ir.core import Block, BlockArgument, Operation, Region, UnregisteredOp, Value
from dlir.ir.dominance import DominatorTree, dominator_tree
from dlir.ir.errors import Diagnostic, DlirError, InferError, Note, did_you_mean
from dlir.ir.op import Op
from dlir.ir.types import Type
from dlir.ir.upstream import is_upstream


def verify(root: Operation) -> list[Diagnostic]:
    """What is wrong with `root` and all inside it: at most one diagnostic per op; an empty list if nothing is."""
    with collection_paused():
        return _verify(root)


def _verify(root: Operation) -> list[Diagnostic]:
    problems: list[Diagnostic] = []
    broken: dict[Operation, None] = {}
    ops: list[Any] = [op for op in root.walk() if op.is_registered]
    for op in ops:
        problem = _check_op(op, check_schema) or _check_place(op)
        if problem is not None:
            problems.append(problem)
            broken[op] = None
    # What an op checks beyond its schema may look at the ops around it, which must be sound for that.
    symbols = _Symbols()
    for op in ops:
        if broken and (op in broken or op.parent_op in broken):
            continue
        problem = _check_op(op, type(op).verify) if type(op).verify is not Op.verify else None
        if problem is None and (op.is_symbol_table or op.schema().symbols):
            problem = symbols.check(op, follow=not broken)
        if problem is not None:
            problems.append(problem)
            broken[op] = None
    if not problems:
        _Dominance(problems).check(root)
    return problems


def verified(root: Any) -> Any:
    """`root`, or DlirError with all that is wrong with it."""
    problems = verify(root)
    if problems:
        raise DlirError(problems)
    return root


# ---------------------------------------------------------------- one op against its schema


def check_schema(op: Op) -> None:
    """Operands, attributes, regions and result types; InferError, without the op's name, for what does not fit."""
    schema = op.schema()
    groups = op.groups
    for spec, group in zip(schema.operands, groups, strict=True):
        for value in group if isinstance(group, tuple) else () if group is None else (group,):
            if not spec.accepts(value.type):
                raise InferError(f"operand '{spec.name}' must be {spec.expected}, got {value.type}")
    for name, attribute in op.attributes.items():
        found = schema.attributes.get(name)
        if found is None:
            if "." not in name and name != "operandSegmentSizes" and not is_upstream(op.name):
                raise InferError(f"has no attribute '{name}'", hint=did_you_mean(name, schema.attributes))
            continue
        if found.coerce(attribute) is None:
            raise InferError(f"attribute '{name}' must be {found.kind}, got {attribute}")
        if found.choices and attribute.value not in found.choices:
            listed = ", ".join(map(repr, found.choices))
            hint = did_you_mean(str(attribute.value), map(str, found.choices))
            raise InferError(f"attribute '{name}' must be one of {listed}, got {attribute}", hint=hint)
    for name, wanted in schema.attributes.items():
        if wanted.required and name not in op.attributes:
            raise InferError(f"needs attribute '{name}' ({wanted.kind})")
    if len(op.regions) != len(schema.regions) and not schema.variadic_regions:
        raise InferError(f"takes {len(schema.regions)} regions, got {len(op.regions)}")
    if schema.infers:
        inferred = op.infer_types(groups, op.keywords)
        if inferred != op.result_types:
            raise InferError(f"gives {_spell(inferred)}, not {_spell(op.result_types)}")


def _check_op(op: Op, check: Callable[[Any], None]) -> Diagnostic | None:
    try:
        check(op)
    except InferError as error:
        return Diagnostic(f"'{op.name}' {error.message}", op.location, hint=error.diagnostics[0].hint)
    except DlirError as error:
        found = error.diagnostics[0]
        if not found.message.startswith("'"):
            found.message = f"'{op.name}' {found.message}"
        return found
    return None


def _spell(types: tuple[Type, ...]) -> str:
    return ", ".join(map(str, types)) or "nothing"


# ---------------------------------------------------------------- terminators and parents


def _check_place(op: Op) -> Diagnostic | None:
    block = op.parent
    if op.is_terminator and block is not None and op is not block.last:
        return Diagnostic(f"'{op.name}' must be the last op of its block", op.location)
    wanted = op.parent_name
    parent = op.parent_op
    if wanted is not None and parent is not None and parent.is_registered:
        names = (wanted,) if isinstance(wanted, str) else wanted
        # A wrong terminator is an error of the op around it.
        ends = op.is_terminator and isinstance(parent, Op) and parent.terminated_by is not None and not op.successors
        if parent.name not in names and not ends:
            return Diagnostic(f"'{op.name}' must stand in {' or '.join(names)}, not in '{parent.name}'", op.location)
    if op.is_graph:
        return None
    for region in op.regions:
        for inner in region.blocks:
            problem = _check_terminator(op, inner)
            if problem is not None:
                return problem
    return None


def _check_terminator(op: Op, block: Block) -> Diagnostic | None:
    last = block.last
    if last is None:
        wanted = f"must end in '{op.terminated_by}'" if op.terminated_by else "needs a terminator"
        return Diagnostic(f"a block of '{op.name}' is empty and {wanted}", op.location)
    if not last.is_registered:
        return None
    if not last.is_terminator:
        if any(inner.is_terminator for inner in block.ops):
            return None  # that one is told to be the last
        wanted = f"'{op.terminated_by}'" if op.terminated_by else "a terminator"
        return Diagnostic(f"a block of '{op.name}' must end in {wanted}, not in '{last.name}'", last.location)
    if op.terminated_by and last.name != op.terminated_by and not last.successors:
        return Diagnostic(f"a block of '{op.name}' must end in '{op.terminated_by}', not '{last.name}'", last.location)
    return None


# ---------------------------------------------------------------- symbols


class _Symbols:
    """The symbols of each symbol table, collected once."""

    def __init__(self) -> None:
        self.tables: dict[Operation, dict[str, Operation]] = {}

    def check(self, op: Op, follow: bool) -> Diagnostic | None:
        """Duplicates in the table that `op` is, and the references that `op` makes, to their ends if `follow`."""
        problem = self._check_table(op) if op.is_symbol_table else None
        for spec in op.schema().symbols if problem is None else ():
            reference = op.attributes.get(spec.name)
            if spec.kind != "symbol reference" or not isinstance(reference, SymbolRefAttr):
                continue
            if self._find(op, reference.path) is None:
                table = self._nearest(op)
                names = self._table(table) if table is not None else ()
                hint = did_you_mean("@" + reference.path[0], ["@" + name for name in names])
                return Diagnostic(f"'{op.name}' names '{reference}', which is not defined", op.location, hint=hint)
        if problem is None and follow:
            try:
                op.verify_symbols(lambda name: self._find(op, tuple(name.split("::"))))
            except DlirError as error:
                return error.diagnostics[0]
        return problem

    def _check_table(self, op: Op) -> Diagnostic | None:
        seen: dict[str, Operation] = {}
        for inner in op.body.ops if op.regions and op.regions[0].blocks else ():
            name = inner.get("sym_name")
            if name is None:
                continue
            if name in seen:
                note = Note("the first one is here", seen[name].location)
                return Diagnostic(f"symbol '@{name}' is defined twice", inner.location, notes=[note])
            seen[name] = inner
        self.tables[op] = seen
        return None

    def _table(self, op: Operation) -> dict[str, Operation]:
        if op not in self.tables:
            self.tables[op] = {str(i.get("sym_name")): i for i in op.body.ops if i.get("sym_name") is not None}
        return self.tables[op]

    def _nearest(self, op: Operation) -> Operation | None:
        table = op.parent_op
        while table is not None and not (
            table.is_symbol_table if isinstance(table, Op) else self._holds_symbols(table)
        ):
            table = table.parent_op
        return table

    def _holds_symbols(self, op: Operation) -> bool:
        """Whether an op of an unknown dialect looks like a symbol table."""
        return len(op.regions) == 1 and len(op.regions[0].blocks) == 1 and bool(self._table(op))

    def _find(self, op: Operation, path: tuple[str, ...]) -> Operation | None:
        """What a path of symbols names; the first op on it that is of another dialect and hides what is in it."""
        table = self._nearest(op)
        while table is not None:
            found: Operation | None = table
            for name in path:
                if found is None or not (found.regions and found.regions[0].blocks):
                    found = found if isinstance(found, UnregisteredOp) else None
                    break
                found = self._table(found).get(name)
            if found is not None:
                return found
            table = self._nearest(table)
        return None


# ---------------------------------------------------------------- dominance


class _Dominance:
    """Walks regions in dominance order with the set of values in scope."""

    def __init__(self, problems: list[Diagnostic]) -> None:
        self.problems = problems
        #: Values in scope, innermost isolated op last.
        self.scopes: list[set[Value]] = [set()]
        #: Work still to do, last first: checks and scope changes, with their arguments.
        self.stack: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def check(self, root: Operation) -> None:
        self._enter_regions(root)
        while self.stack:
            step, arguments = self.stack.pop()
            step(*arguments)

    def _enter_regions(self, op: Operation) -> None:
        if op.is_isolated:
            self.scopes.append(set())
            self.stack.append((self.scopes.pop, ()))
        # In a graph region, and in one whose op is unknown, every value of the region is in scope everywhere.
        is_graph = not op.is_registered or getattr(op, "is_graph", False)
        for region in reversed(op.regions):
            if is_graph:
                self.stack.append((self._enter_graph, (region, region.blocks)))
            else:
                self.stack.append((self._enter_region, (region,)))

    def _enter_graph(self, region: Region, blocks: list[Block]) -> None:
        """Check `blocks` with every value of the region in scope."""
        added: list[Value] = []
        for block in region.blocks:
            added += block.args
            op = block._first
            while op is not None:
                added += op.results
                op = op._next
        self._enter_scope(added)
        for block in reversed(blocks):
            self.stack.append((self._resume, (block._first, None)))

    def _enter_region(self, region: Region) -> None:
        if region.blocks:
            tree = dominator_tree(region)
            if tree.unreachable:
                # Nothing can be said of code that never runs, but what it holds is checked.
                self.stack.append((self._enter_graph, (region, tree.unreachable)))
            self._enter_block(region.blocks[0], tree)

    def _enter_block(self, block: Block, tree: DominatorTree) -> None:
        added: list[Value] = list(block.args)
        self._enter_scope(added)
        for child in reversed(tree.children.get(block, ())):
            self.stack.append((self._enter_block, (child, tree)))
        self._resume(block._first, added)

    def _resume(self, op: Operation | None, added: list[Value] | None) -> None:
        """Check the ops from `op` on; one with regions puts the rest aside until those are done.

        Their results come into scope and are noted in `added`, unless that is None: then they are in scope already.
        """
        scope = self.scopes[-1]
        while op is not None:
            for use in op._uses:
                if use.value not in scope:
                    self.problems.append(_misuse(op, use.index, use.value))
                    break
            if added is not None:
                scope.update(op.results)
                added += op.results
            following = op._next
            if op.regions:
                self.stack.append((self._resume, (following, added)))
                self._enter_regions(op)
                return
            op = following

    def _enter_scope(self, values: list[Value]) -> None:
        """Bring `values` into scope until all that is put on the stack from now on is done; more may be added to them."""
        scope = self.scopes[-1]
        scope.update(values)
        self.stack.append((scope.difference_update, (values,)))


def _misuse(op: Operation, index: int, value: Value) -> Diagnostic:
    """Why operand `index` of `op` may not be used there."""
    what = f"operand {index} ('%{value.name}')" if value.name else f"operand {index}"
    if isinstance(value, BlockArgument):
        return Diagnostic(f"'{op.name}': {what} is an argument of a block that does not dominate this use", op.location)
    definition = value.owner
    notes = [Note("it is defined here", definition.location)]
    if definition.parent is None:
        return Diagnostic(f"'{op.name}': {what} is the result of an op that is not in the module", op.location)
    if definition.parent is op.parent:
        message = f"'{op.name}': {what} is used before it is defined"
    elif _crosses_isolation(op, definition):
        message = f"'{op.name}': {what} is defined outside an op that is isolated from above"
    else:
        message = f"'{op.name}': {what} does not dominate this use"
    return Diagnostic(message, op.location, notes=notes)


def _crosses_isolation(op: Operation, definition: Operation) -> bool:
    """Whether the nearest isolated op around `op` does not hold `definition`."""
    wall = op.parent_op
    while wall is not None and not wall.is_isolated:
        wall = wall.parent_op
    outer = definition.parent_op
    while outer is not None and outer is not wall:
        outer = outer.parent_op
    return outer is not wall
