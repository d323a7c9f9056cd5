"""Whether a function over buffers means what it meant over tensors: every result and variable must hold the same at the end.

This is the definition of right buffers, and shares nothing with the planner but the IR.  Both functions are run on symbols:
what a piece of memory holds is written as runs of bytes, each of which says which op made it from what.  Ops that only move
elements are followed byte by byte, so a slice in place of a copy is the same thing.  Loops run a few times and branches are
taken by chance, in both functions alike.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dlir.ir.core import Block, Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.nd.movement import View
from dlir.ir.traversal import clone
from dlir.ir.types import INDEX, MemRefType, TensorType
from dlir.passes.bufferize import Bufferize, has_tensors

#: What is in memory: (bytes, who made them, from which byte of that), in order.
Content = tuple[tuple[int, Any, int], ...]
#: A loop runs so often at most.
_RUNS = 3
#: Ops that move elements and compute nothing, besides views, and how many elements and runs of neighbours are looked at.
_MOVES = ("nd.concat", "kernel.yield")
_MOST_ELEMENTS, _MOST_RUNS = 1 << 22, 64
#: Elements of the operands of kernels that are tried out.
_MOST_TRIED = 1 << 13


class WrongBuffers(AssertionError):
    """Buffers that change what a function computes."""


class NotFollowed(Exception):
    """The function holds an op that is not run here."""


def joined(runs: Sequence[tuple[int, Any, int]]) -> Content:
    """Runs with neighbours of one origin made one."""
    found: list[tuple[int, Any, int]] = []
    for size, maker, start in runs:
        if found and found[-1][1] == maker and found[-1][2] + found[-1][0] == start:
            found[-1] = (found[-1][0] + size, maker, found[-1][2])
        elif size:
            found.append((size, maker, start))
    return tuple(found)


def cut(content: Content, begin: int, end: int) -> Content:
    """The bytes `begin` to `end` of a content."""
    found, at = [], 0
    for size, maker, start in content:
        low, high = max(begin, at), min(end, at + size)
        if low < high:
            found.append((high - low, maker, start + low - at))
        at += size
    return joined(found)


class Symbols:
    """Names for what is computed: the same one for the same op on the same contents, in both functions."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}
        self.moved: dict[Any, list[list[tuple[int, int, int]]] | None] = {}
        self.overwritten: dict[Any, bool] = {}

    def named(self, size: int, *what: Any) -> Content:
        return ((size, self.known.setdefault(what, len(self.known)), 0),) if size else ()

    def kernel(self, op: Operation, inputs: Sequence[Content]) -> list[Content]:
        """What a kernel gives for these contents."""
        block = op.regions[0].block
        key = _key(block)
        if key not in self.moved:
            self.moved[key] = _runs_of_moves(block)
        moved = self.moved[key]
        if moved is not None:
            return [
                joined([run for number, begin, end in runs for run in cut(inputs[number], begin, end)])
                for runs in moved
            ]
        sizes = [value.type.nbytes for value in block.terminator.operands]
        return [self.named(size, key, *inputs, number) for number, size in enumerate(sizes)]

    def may_overwrite(self, op: Operation, number: int) -> bool:
        """Whether each element of an operand has a say only in the elements of results at its own place."""
        block = op.regions[0].block
        key = _key(block), number
        if key not in self.overwritten:
            self.overwritten[key] = _is_elementwise(block, number)
        return self.overwritten[key]


def _is_elementwise(block: Block, number: int) -> bool:
    """Found out by changing elements one at a time; True for what is too large to try."""
    if sum(arg.type.size for arg in block.args) > _MOST_TRIED:
        return True
    rng = np.random.default_rng(0)
    arrays = [_random_array(arg.type, rng) for arg in block.args]
    before = _evaluated(block, arrays)
    size = arrays[number].size
    for place in sorted({0, size // 2, size - 1}) if size else []:
        changed = list(arrays)
        changed[number] = _changed(arrays[number], place)
        for one, two in zip(before, _evaluated(block, changed), strict=True):
            others = np.flatnonzero((one != two) & ~((one != one) & (two != two)))
            if len(others) and (one.size != size or list(others) != [place]):
                return False
    return True


def _random_array(type: TensorType, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.integers(0, 5, type.shape)).astype(type.dtype.numpy)


def _changed(array: np.ndarray, place: int) -> np.ndarray:
    flat = array.reshape(-1).copy()
    flat[place] = not flat[place] if flat.dtype == bool else flat[place] + flat.dtype.type(1)
    return flat.reshape(array.shape)


def _evaluated(block: Block, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    values: dict[Value, np.ndarray] = dict(zip(block.args, arrays, strict=True))
    with np.errstate(all="ignore"):
        for op in block.ops:
            if not op.is_terminator:
                values.update(zip(op.results, op.evaluate([values[value] for value in op.operands]), strict=True))
    return [np.asarray(values[value]).reshape(-1) for value in block.terminator.operands]


def _key(block: Block) -> Any:
    """What a kernel computes, as something to compare."""
    number = {arg: index for index, arg in enumerate(block.args)}
    parts: list[Any] = [tuple(arg.type for arg in block.args)]
    for op in block.ops:
        if op.regions:
            raise NotFollowed(op.name)
        attributes = tuple(sorted(op.attributes.items(), key=lambda item: item[0]))
        parts.append((op.name, tuple(number[value] for value in op.operands), tuple(op.result_types), attributes))
        for value in op.results:
            number[value] = len(number)
    return tuple(parts)


def _runs_of_moves(block: Block) -> list[list[tuple[int, int, int]]] | None:
    """For a kernel that only moves elements: of which operands, from which byte to which, each result consists."""
    if any(not isinstance(op, View) and op.name not in _MOVES for op in block.ops):
        return None
    values: dict[Value, np.ndarray] = {}
    first = 0
    begins = []
    for arg in block.args:
        if arg.type.size > _MOST_ELEMENTS:
            raise NotFollowed("a large array is moved")
        values[arg] = np.arange(first, first + arg.type.size).reshape(arg.type.shape)
        begins.append(first)
        first += arg.type.size
    for op in block.ops:
        if not op.is_terminator:
            values.update(zip(op.results, op.evaluate([values[value] for value in op.operands]), strict=True))
    found = []
    for value in block.terminator.operands:
        flat = np.asarray(values[value]).reshape(-1)
        breaks = np.flatnonzero(np.diff(flat) != 1) + 1
        if len(breaks) >= _MOST_RUNS:
            return None
        width, runs = value.type.dtype.bytes, []
        for part in np.split(flat, breaks) if flat.size else []:
            # A run may go on from one operand into the next.
            while part.size:
                operand = max(n for n, begin in enumerate(begins) if begin <= part[0] and block.args[n].type.size)
                here = part[part < begins[operand] + block.args[operand].type.size]
                low = int(here[0]) - begins[operand]
                runs.append((operand, low * width, (low + len(here)) * width))
                part = part[len(here) :]
        found.append(runs)
    return found


# ---------------------------------------------------------------- running


class _Run(ABC):
    """What both functions have in common: control, and numbers.  Everything in `values` is a content."""

    def __init__(self, symbols: Symbols, seed: int) -> None:
        self.symbols = symbols
        self.chance = random.Random(seed)
        self.values: dict[Value, Any] = {}

    @abstractmethod
    def array_step(self, op: Operation) -> None:
        """Do an op that is neither control nor a number."""

    def block(self, block: Block, arguments: Sequence[Any] = ()) -> list[Any]:
        """Run a block; what its terminator gives."""
        self.values.update(zip(block.args, arguments, strict=True))
        for op in block.ops:
            if op.is_terminator:
                self.array_step(op)
                return [self.values[value] for value in op.operands]
            if op.name in ("scf.for", "scf.if", "scf.while"):
                results = self.control(op, [self.values[value] for value in op.operands])
                self.values.update(zip(op.results, results, strict=True))
            elif op.name.startswith("arith."):
                self.number(op)
            else:
                self.array_step(op)
        raise NotFollowed("a block without an end")

    def number(self, op: Operation) -> None:
        inputs = [self.values[value] for value in op.operands]
        attributes = tuple(sorted(op.attributes.items(), key=lambda item: item[0]))
        for number, value in enumerate(op.results):
            self.values[value] = self.symbols.named(_width(value), op.name, attributes, *inputs, number)

    def control(self, op: Operation, inputs: list[Any]) -> list[Any]:
        blocks = [region.block if region.blocks else None for region in op.regions]
        if op.name == "scf.if":
            chosen = blocks[self.chance.randint(0, 1)]
            return [] if chosen is None else self.block(chosen)
        count = self.chance.randint(0, _RUNS)
        if op.name == "scf.while":
            for _ in range(count):
                inputs = self.block(blocks[1], self.block(blocks[0], inputs)[1:])
            return self.block(blocks[0], inputs)[1:]
        bounds = [constant(value) for value in op.operands[:3]]
        if None not in bounds:
            count = min(len(range(*bounds)), _RUNS)
        carried = inputs[3:]
        for number in range(count):
            carried = self.block(blocks[0], [self.symbols.named(8, "counter", number), *carried])
        return carried


def constant(value: Value) -> int | None:
    """The number that a value is, if it is a constant."""
    op = value.defining_op
    return op.get("value") if op is not None and op.name == "arith.constant" else None


def _width(value: Value) -> int:
    return 8 if value.type is INDEX else value.type.bytes


def _element(indices: Sequence[Value], shape: Sequence[int], width: int) -> int | None:
    """The byte at which the element of these indices begins, if they are constants and in range."""
    at = 0
    for index, extent in zip(map(constant, indices), shape, strict=True):
        if index is None or not 0 <= index < extent:
            return None
        at = at * extent + index
    return at * width


class TensorRun(_Run):
    """A function over tensors: `results` and `written` are what it gives."""

    def __init__(self, function: Func, symbols: Symbols, seed: int) -> None:
        super().__init__(symbols, seed)
        self.written: dict[str, Content] = {}
        inputs = [symbols.named(_bytes(arg), "input", arg.index) for arg in function.body.args]
        self.results = self.block(function.body, inputs)

    def array_step(self, op: Operation) -> None:
        inputs = [self.values[value] for value in op.operands]
        match op.name:
            case "kernel.region":
                self.values.update(zip(op.results, self.symbols.kernel(op, inputs), strict=True))
            case "state.read":
                self.values[op.results[0]] = self.symbols.named(_bytes(op.results[0]), "variable", op.get("variable"))
            case "state.write":
                self.written[op.get("variable")] = inputs[0]
            case "tensor.extract":
                type = op.operands[0].type
                at = _element(op.operands[1:], type.shape, type.dtype.bytes)
                self.values[op.results[0]] = _loaded(self.symbols, inputs[0], at, type.dtype.bytes)
            case "tensor.from_elements":
                self.values[op.results[0]] = joined([run for content in inputs for run in content])
            case _ if not op.is_terminator:
                raise NotFollowed(op.name)


class BufferRun(_Run):
    """A function over buffers.  What `values` has for a memref is its place: (root, begin, end)."""

    def __init__(self, function: Func, symbols: Symbols, seed: int) -> None:
        super().__init__(symbols, seed)
        #: What each root holds, and how many there are.
        self.memory: dict[Any, Content] = {}
        self.roles: list[tuple[dict[str, Any], Any]] = []
        for arg in function.body.args:
            if not isinstance(arg.type, MemRefType):
                self.values[arg] = symbols.named(8, "input", arg.index)
                continue
            role, root = function.arg_attributes(arg.index), ("argument", arg.index)
            self.values[arg] = root, 0, arg.type.nbytes
            what = ("input", role["dlir.input"].value) if "dlir.input" in role else ("nothing", root)
            self.memory[root] = symbols.named(arg.type.nbytes, *what)
            self.roles.append((role, root))
        self.block(function.body, [self.values[arg] for arg in function.body.args])

    def read(self, place: tuple[Any, int, int]) -> Content:
        return cut(self.memory[place[0]], place[1], place[2])

    def write(self, place: tuple[Any, int, int], content: Content) -> None:
        root, begin, end = place
        old = self.memory[root]
        size = sum(run[0] for run in old)
        self.memory[root] = joined([*cut(old, 0, begin), *content, *cut(old, end, size)])

    def array_step(self, op: Operation) -> None:
        places = [self.values[value] for value in op.operands]
        match op.name:
            case "memref.alloc" | "memref.get_global":
                type, is_global = op.results[0].type, op.name == "memref.get_global"
                root = ("global", op.get("name")) if is_global else ("alloc", len(self.memory))
                if root not in self.memory:
                    what = ("variable", op.get("name")) if is_global else ("nothing", root)
                    self.memory[root] = self.symbols.named(type.nbytes, *what)
                self.values[op.results[0]] = root, 0, type.nbytes
            case "memref.view" | "memref.reinterpret_cast":
                root, begin, end = places[0]
                type = op.results[0].type
                is_view = op.name == "memref.view"
                shift = constant(op.operands[1]) if is_view else op.get("static_offsets")[0] * type.dtype.bytes
                if shift is None or begin + shift + type.nbytes > end:
                    raise WrongBuffers(f"{op.name} reaches out of its memory")
                self.values[op.results[0]] = root, begin + shift, begin + shift + type.nbytes
            case "memref.copy":
                self.write(places[1], self.read(places[0]))
            case "memref.load":
                type = op.operands[0].type
                at = _element(op.operands[1:], type.shape, type.dtype.bytes)
                self.values[op.results[0]] = _loaded(self.symbols, self.read(places[0]), at, type.dtype.bytes)
            case "memref.store":
                type = op.operands[1].type
                at = _element(op.operands[2:], type.shape, type.dtype.bytes)
                if at is None:
                    raise NotFollowed("a store at an unknown index")
                root, begin, _ = places[1]
                self.write((root, begin + at, begin + at + type.dtype.bytes), places[0])
            case "kernel.region":
                self.kernel(op, places)
            case _ if not op.is_terminator:
                raise NotFollowed(op.name)

    def kernel(self, op: Operation, places: Sequence[tuple[Any, int, int]]) -> None:
        outs = op.get("outs")
        ins = len(places) - outs
        flat = op.attributes["dlir.inplace"].value if "dlir.inplace" in op.attributes else ()
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        for one, two in pairs:
            if places[one] != places[two]:
                raise WrongBuffers(f"operands {one} and {two} are not in one place")
        for two in range(ins, len(places)):
            for one in range(two):
                if _overlap(places[one], places[two]) and (one, two) not in pairs:
                    raise WrongBuffers(f"{op.name}: operands {one} and {two} share memory")
        for one, _ in pairs:
            if not self.symbols.may_overwrite(op, one):
                raise WrongBuffers(f"{op.name} writes over operand {one} before it has read all of it")
        results = self.symbols.kernel(op, [self.read(place) for place in places[:ins]])
        for place, content in zip(places[ins:], results, strict=True):
            self.write(place, content)


def _loaded(symbols: Symbols, content: Content, at: int | None, width: int) -> Content:
    # An index that is not known is brought into range over buffers: it is another number then.
    return symbols.named(width, "element of", content) if at is None else cut(content, at, at + width)


def _overlap(one: tuple[Any, int, int], two: tuple[Any, int, int]) -> bool:
    return one[0] == two[0] and max(one[1], two[1]) < min(one[2], two[2])


def _bytes(value: Value) -> int:
    return value.type.nbytes if isinstance(value.type, TensorType) else _width(value)


# ---------------------------------------------------------------- comparing


def check_buffers(before: Func, after: Func) -> bool:
    """WrongBuffers if `after`, over buffers, is not what `before` is over tensors; False if the two cannot be followed."""
    ways = 4 if any(op.name.startswith("scf.") for op in before.walk()) else 1
    return all([_check_way(before, after, seed) for seed in range(ways)])


def _check_way(before: Func, after: Func, seed: int) -> bool:
    symbols = Symbols()
    try:
        wanted, found = TensorRun(before, symbols, seed), BufferRun(after, symbols, seed)
    except NotFollowed:
        return False
    name = f"'@{after.symbol}'"
    results = {role["dlir.result"].value: root for role, root in found.roles if "dlir.result" in role}
    for number, content in enumerate(wanted.results):
        if found.memory[results[number]] != content:
            raise WrongBuffers(f"result {number} of {name} is {found.memory[results[number]]}, not {content}")
    for role, root in found.roles:
        if "dlir.input" in role and "dlir.donated" not in role:
            if found.memory[root] != cut(
                symbols.named(_size(found.memory[root]), "input", role["dlir.input"].value), 0, 1 << 60
            ):
                raise WrongBuffers(f"input {role['dlir.input'].value} of {name} is overwritten")
    for root, content in found.memory.items():
        if root[0] == "global":
            old = symbols.named(_size(content), "variable", root[1])
            if content != wanted.written.get(root[1], old):
                raise WrongBuffers(f"variable @{root[1]} is wrong after {name}")
    for variable in wanted.written:
        if ("global", variable) not in found.memory and wanted.written[variable]:
            raise WrongBuffers(f"{name} does not write @{variable}")
    return True


def _size(content: Content) -> int:
    return sum(run[0] for run in content)


#: How many functions were followed, and how many were not.
COUNTS = {"followed": 0, "not": 0}


@contextmanager
def all_buffers_checked(check: Callable[[Func, Func], bool] = check_buffers) -> Iterator[None]:
    """Inside, each function that bufferize turns is checked."""
    run = Bufferize.run

    def checked(self: Bufferize, module: Module) -> None:
        before = clone(module)
        run(self, module)
        after = {op.symbol: op for op in module.body.ops if isinstance(op, Func)}
        for old in before.body.ops:
            if isinstance(old, Func) and has_tensors(old):
                COUNTS["followed" if check(old, after[old.symbol]) else "not"] += 1

    Bufferize.run = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        Bufferize.run = run  # type: ignore[method-assign]
