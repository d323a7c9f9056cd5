"""A block of array ops as a list of steps with what each makes, uses and holds on to, to try changes on before making them.

Bytes are those of values as they stand in the text.  Views and constants hold nothing, and neither does what is there
anyway: arguments, variables and their new values, and results.  Fusion makes fewer values, so a plan never needs much more
than is said here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from dlir.ir.attributes import UNIT, Attribute
from dlir.ir.builder import at_end
from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.decompose import Decomposed, decompose_op
from dlir.ir.dialects.kernel import RECOMPUTE
from dlir.ir.dialects.nd.base import Primitive
from dlir.ir.effects import effects_of
from dlir.ir.op import Op
from dlir.ir.traversal import clone
from dlir.ir.types import TensorType, Type
from dlir.passes.autodiff.activity import used_values
from dlir.passes.kernels.classify import FusionClass, facts, fusion_class


@dataclass(frozen=True, slots=True)
class Step:
    """One op; values by number."""

    op: Operation
    made: tuple[int, ...]
    used: tuple[int, ...]


class Tape:
    """The ops of a block, whose shapes must be static, up to its terminator."""

    def __init__(self, block: Block) -> None:
        self.steps: list[Step] = []
        #: Bytes that each value holds on to.
        self.sizes: list[int] = []
        #: The value whose memory each one lies in: itself, or what it is a view of; None: memory that is there anyway.
        self.roots: list[int | None] = []
        #: The step that makes each value, and those that use it.
        self.maker: list[int] = []
        self.users: list[list[int]] = []
        numbers: dict[Value, int] = {}
        ends = [block.terminator, *(op for op in block.ops if op.name == "state.write")]
        returned = {value: None for op in ends for value in op.operands}
        for op in block.ops:
            if op is block.terminator:
                break
            used = tuple(dict.fromkeys(numbers[value] for value in used_values(op) if value in numbers))
            for number in used:
                self.users[number].append(len(self.steps))
            for result in op.results:
                numbers[result] = len(self.sizes)
                self._add(op, result, numbers, result in returned)
            self.steps.append(Step(op, tuple(numbers[result] for result in op.results), used))

    def _add(self, op: Operation, result: Value, numbers: dict[Value, int], is_returned: bool) -> None:
        number = len(self.sizes)
        root: int | None = number
        if is_view(op):
            source = numbers.get(op.operands[0])
            root = None if source is None else self.roots[source]
            if is_returned and root is not None:
                self.sizes[root] = 0
                self.roots[root] = None
        elif is_returned or op.name == "state.read" or (isinstance(op, Primitive) and facts(op).is_free):
            root = None
        is_held = root == number and isinstance(result.type, TensorType)
        self.sizes.append(result.type.nbytes if is_held else 0)
        self.roots.append(root)
        self.maker.append(len(self.steps))
        self.users.append([])

    def is_there(self, number: int) -> bool:
        """Whether the value costs no memory, whenever it is used."""
        root = self.roots[number]
        return root is None or self.roots[root] is None

    def crossing(self, place: int) -> list[int]:
        """The values that steps from `place` on use and earlier ones make, less what is there anyway."""
        used = dict.fromkeys(number for step in self.steps[place:] for number in step.used)
        return [number for number in sorted(used) if self.maker[number] < place and not self.is_there(number)]

    def held(self, values: Iterable[int]) -> int:
        """The bytes that `values` hold on to."""
        return sum(
            self.sizes[root] for root in dict.fromkeys(self.roots[number] for number in values) if root is not None
        )

    # ------------------------------------------------------------ computing again

    def places(self, again: Iterable[int], place: int) -> dict[int, int]:
        """For each of the steps `again`, all before `place`, the step before which its copy stands.

        That is as late as can be.  A step whose copy nobody would use has no place.
        """
        found: dict[int, int] = {}
        for step in sorted(again, reverse=True):
            users = [user for number in self.steps[step].made for user in self.users[number]]
            at = [user if user >= place else found[user] for user in users if user >= place or user in found]
            if at:
                found[step] = min(at)
        return found

    def peak(self, places: dict[int, int] | None = None, place: int = 0) -> tuple[int, int]:
        """The most bytes that are held at one time, with copies at `places` for users from `place` on, and in which step."""
        places = places or {}
        unused = self._unused(places, place)
        order = [(step, False) for step in range(len(self.steps)) if step not in unused]
        order += [(step, True) for step in places]
        order.sort(key=lambda item: (places[item[0]], 0, item[0]) if item[1] else (item[0], 1, 0))
        last: dict[tuple[int, bool], int] = {}
        for time, (step, is_copy) in enumerate(order):
            for holder in self._touched(step, is_copy, places, place):
                last[holder] = time
        dying: list[list[tuple[int, bool]]] = [[] for _ in order]
        for holder, time in last.items():
            dying[time].append(holder)
        live = most = most_at = 0
        for time, (step, _) in enumerate(order):
            live += sum(self.sizes[number] for number in self.steps[step].made)
            if live > most:
                most, most_at = live, step
            live -= sum(self.sizes[number] for number, _ in dying[time])
        return most, most_at

    def _touched(self, step: int, is_copy: bool, places: dict[int, int], place: int) -> list[tuple[int, bool]]:
        """The memory that a step makes or uses: a value's number, and whether it is that of the copy."""
        is_late = is_copy or step >= place
        touched = [(number, is_copy) for number in self.steps[step].made]
        for number in self.steps[step].used:
            # What is late, or a copy, looks at the copy.
            looks_at_copy = is_late and (self.maker[number] in places or self.maker[number] >= place)
            root = self.roots[number]
            if root is not None:
                touched.append((root, looks_at_copy and self.maker[root] in places))
        return touched

    def _unused(self, places: dict[int, int], place: int) -> dict[int, None]:
        """The steps whose results only copies use, once there are copies."""
        found: dict[int, None] = {}
        for step in sorted(places, reverse=True):
            users = [user for number in self.steps[step].made for user in self.users[number]]
            if all(user >= place or user in found for user in users):
                found[step] = None
        return found

    def write(self, places: dict[int, int], place: int) -> None:
        """Make the copies in the block, let users from `place` on use them, and drop what nobody uses then."""
        numbers = {step.op: index for index, step in enumerate(self.steps)}
        first: dict[int, Operation] = {}
        copies: dict[Operation, None] = {}
        block = self.steps[0].op.parent
        assert block is not None
        for index in sorted(places, reverse=True):
            op, at = self.steps[index].op, places[index]
            copy = clone(op)
            copy.attributes[RECOMPUTE] = UNIT
            block.insert_before(first.get(at, self.steps[at].op), copy)
            first[at] = copy
            copies[copy] = None
            for old, new in zip(op.results, copy.results, strict=True):
                for use in old.uses:
                    owner = use.owner
                    while owner.parent is not block:
                        assert owner.parent_op is not None
                        owner = owner.parent_op
                    if owner in copies or numbers.get(owner, -1) >= place:
                        use.set(new)
        for index in self._unused(places, place):
            self.steps[index].op.erase()


def is_view(op: Operation) -> bool:
    """Whether `op` gives its operand's elements in another order, and so holds no memory of its own."""
    return isinstance(op, Primitive) and fusion_class(op) is FusionClass.VIEW


def can_repeat(op: Operation) -> bool:
    """Whether `op` may be computed twice: it does nothing else."""
    return bool(op.results) and isinstance(op, Op) and not op.regions and not effects_of(op)


def is_cheap(op: Operation) -> bool:
    """Whether `op` costs little more than passing over its operands, and does not make much of them little."""
    if not can_repeat(op) or op.name.startswith("random."):
        return False
    kinds, _ = _composition(op)
    given, taken = (sum(type.nbytes for type in types) for types in (op.result_types, op.operand_types))  # type: ignore[attr-defined]
    return kinds <= _CHEAP and given * 4 > taken


_CHEAP = frozenset({FusionClass.VIEW, FusionClass.ELEMENTWISE, FusionClass.REDUCE})


def work(op: Operation) -> int:
    """How much `op` computes, in additions."""
    return _composition(op)[1]


def _composition(op: Operation) -> tuple[frozenset[FusionClass], int]:
    """The classes of the primitives that an op is made of, and what they cost in all, in additions."""
    if not op.operands:
        return frozenset(), 0  # a constant; as a key, its elements would be compared
    assert isinstance(op, Op)
    return _composition_of(type(op), op.operand_types, op.result_types, tuple(op.attributes.items()))


@lru_cache(maxsize=4096)
def _composition_of(
    cls: type[Op], operands: tuple[Type, ...], results: tuple[Type, ...], attributes: tuple[tuple[str, Attribute], ...]
) -> tuple[frozenset[FusionClass], int]:
    block = Block(operands)
    block.append(cls(cls.op_name, block.args, results, dict(attributes)))
    kinds: dict[FusionClass, None] = {}
    total = 0
    for op in _primitives(block):
        kinds[fusion_class(op)] = None
        if isinstance(op, Primitive):
            points = 1
            for extent in op.space().extents:
                points *= extent
            total += points * max(facts(op).cost, 1) * (not facts(op).is_free)
    return frozenset(kinds), total


def _primitives(block: Block) -> list[Operation]:
    """The ops of `block` after all composites in it were replaced by what they are made of."""
    while True:
        composites = [op for op in block.ops if isinstance(op, Decomposed)]
        if not composites:
            return list(block.ops)
        for op in composites:
            with at_end(block):
                values = decompose_op(op)
            op.replace_by(values)
