"""LLVM IR run step by step, so that threads can be interleaved in any way: see interleavings.py.

What parallel_for.ll is written in is understood, no more.  A step is one access to memory that other threads see,
together with the arithmetic after it up to the next one.  It depends on nothing but the thread's own state and the one
value accessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Registers = dict[str, Any]
# A call under way: the function, the position in it, and its live registers, by name or in the order of `live`.
Active = tuple[str, int, Registers]
Frame = tuple[str, int, tuple[Any, ...]]
# A thread, its innermost frame last; empty when it has ended.
Frames = tuple[Frame, ...]

_OPERAND = re.compile(r"[%@][\w.]+|-?\d+|null")
_GLOBAL = re.compile(r"(@[\w.]+) = internal global (?:\[.*\]|\w+) (\S+?)(?:,|$)")
_HEAD = re.compile(r"define .*?(@[\w.]+)\((.*)\)")
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "lshr": lambda a, b: a >> b,
    "xchg": lambda a, b: b,
}
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "ult": lambda a, b: a < b,
    "slt": lambda a, b: a < b,
    "sgt": lambda a, b: a > b,
}
ACCESSES = ("load", "store", "atomicrmw", "cmpxchg")
ORDERINGS = ("monotonic", "acquire", "release", "acq_rel", "seq_cst")


@dataclass(slots=True)
class Instruction:
    """One line: `result = opcode operands`, with the positions of its labels and the width of its operands.

    `detail` is what the opcode leaves open: the arithmetic, the comparison, the callee; for `br`, where its block begins.
    """

    opcode: str
    result: str
    operands: list[Any]
    detail: str = ""
    bits: int = 64
    orderings: tuple[str, ...] = ()
    targets: tuple[int, ...] = ()
    live: tuple[str, ...] = ()
    """Registers that are read at this instruction or later."""


@dataclass(slots=True)
class Function:
    parameters: list[str]
    body: list[Instruction] = field(default_factory=list)


def parse(text: str) -> tuple[dict[str, Any], dict[str, Function]]:
    """The globals with their first values, and the functions, of a module."""
    variables: dict[str, Any] = {}
    functions: dict[str, Function] = {}
    lines: list[str] = []
    for line in (raw.split(";")[0].strip() for raw in text.splitlines()):
        if found := _GLOBAL.match(line):
            variables[found[1]] = int(found[2]) if found[2].lstrip("-").isdecimal() else 0
        elif found := _HEAD.match(line):
            function = functions[found[1]] = Function(re.findall(r"%[\w.]+", found[2]))
            lines = []
        elif line == "}":
            function.body = _body(lines)
        elif line:
            lines.append(line)
    return variables, functions


def _body(lines: list[str]) -> list[Instruction]:
    labels: dict[str, int] = {"%entry": 0}
    code: list[str] = []
    for line in lines:
        if line.endswith(":"):
            labels["%" + line[:-1]] = len(code)
        else:
            code.append(line)
    # Where each instruction's block begins: a phi asks which block control came from.
    starts = sorted(labels.values())
    body = [_instruction(line, labels) for line in code]
    for index, found in enumerate(body):
        if found.opcode == "br":
            found.detail = str(max(start for start in starts if start <= index))
    _find_live(body)
    return body


def _instruction(line: str, labels: dict[str, int]) -> Instruction:
    result, _, rest = line.rpartition(" = ") if " = " in line else ("", "", line)
    opcode, _, rest = rest.partition(" ")
    orderings = tuple(word for word in re.findall(r"\w+", rest) if word in ORDERINGS)
    bits = int(found[1]) if (found := re.search(r"\bi(\d+)\b", rest)) else 64
    if opcode == "br":
        names = re.findall(r"%[\w.]+", rest)
        targets = tuple(labels[name] for name in names[-2:] if name in labels)
        return Instruction(opcode, "", [names[0]] if len(targets) == 2 else [], targets=targets)
    if opcode == "phi":
        pairs = re.findall(r"\[ (\S+), (%[\w.]+) \]", rest)
        return Instruction(
            opcode, result, [_operand(value) for value, _ in pairs], targets=tuple(labels[label] for _, label in pairs)
        )
    detail = rest.split()[0] if opcode in ("icmp", "atomicrmw") else ""
    if opcode == "call":
        detail, arguments = re.match(r"\w+ ([%@][\w.]+)\((.*)\)", rest).groups()  # type: ignore[union-attr]
        operands = [_operand(argument.split()[-1]) for argument in arguments.split(",") if argument]
        # A pointer to a function is read like any operand.
        operands += [detail] if detail.startswith("%") else []
        return Instruction(opcode, result, operands, detail, bits)
    rest = re.sub(r", align \d+|\bi\d+\b|\bto\b", " ", rest)
    return Instruction(opcode, result, [_operand(text) for text in _OPERAND.findall(rest)], detail, bits, orderings)


def _operand(text: str) -> Any:
    return 0 if text == "null" else int(text) if text.lstrip("-").isdecimal() else text


def _find_live(body: list[Instruction]) -> None:
    changed = True
    while changed:
        changed = False
        for index in reversed(range(len(body))):
            found = body[index]
            following = found.targets if found.opcode == "br" else () if found.opcode == "ret" else (index + 1,)
            live = {name for after in following for name in body[after].live} - {found.result}
            live |= {name for name in found.operands if isinstance(name, str) and name.startswith("%")}
            if live != set(found.live):
                found.live, changed = tuple(sorted(live)), True


@dataclass(slots=True)
class Access:
    """What a thread does next: `instruction` with these operands, on the memory `place`."""

    place: str
    instruction: Instruction
    operands: list[Any]


class Threads:
    """Runs the functions of one module; `externals` are what steps do besides accesses to globals.

    An external takes the old value of its place (its first operand) and its operands, and gives the new value and a
    result; None: it has to wait.
    """

    def __init__(self, functions: dict[str, Function], externals: dict[str, Callable[..., Any]]) -> None:
        self._functions = functions
        self._externals = externals

    def start(self, name: str) -> Frames:
        """A thread about to run function `name`."""
        return self._advance([(name, 0, {})])

    def next_access(self, thread: Frames) -> Access:
        """What `thread`, which has not ended, does next."""
        name, position, _ = thread[-1]
        instruction = self._functions[name].body[position]
        registers = self._registers(thread[-1])
        values = _values(instruction.operands, registers)
        places = [x for x in instruction.operands if isinstance(x, str) and x.startswith("@")]
        # The place is a global, or what a register holds.
        return Access(str(places[0] if places else values[0]), instruction, values)

    def step(self, thread: Frames, old: Any) -> tuple[Frames, Any] | None:
        """`thread` after its next access, which finds `old`, and the value it leaves; None if it has to wait."""
        access = self.next_access(thread)
        done = self._perform(access, old)
        if done is None:
            return None
        new, result = done
        stack = [(frame[0], frame[1], self._registers(frame)) for frame in thread]
        _return_to(stack, access.instruction.result, result)
        return self._advance(stack), new

    def _registers(self, frame: Frame) -> Registers:
        name, position, values = frame
        return dict(zip(self._functions[name].body[position].live, values))

    def _perform(self, access: Access, old: Any) -> tuple[Any, Any] | None:
        instruction, operands = access.instruction, access.operands
        if instruction.opcode == "load":
            return old, old
        if instruction.opcode == "store":
            return operands[0], None
        if instruction.opcode == "atomicrmw":
            return _wrapped(_ARITHMETIC[instruction.detail](old, operands[1]), instruction.bits), old
        if instruction.opcode == "cmpxchg":
            same = old == operands[1]
            return (operands[2] if same else old), same
        return self._externals[instruction.detail](old, *operands[1:])

    def _advance(self, stack: list[Active]) -> Frames:
        """Run what only the thread itself can see, up to its next access or its end."""
        while stack:
            name, position, registers = stack[-1]
            found = self._functions[name].body[position]
            callee = registers.get(found.detail, found.detail) if found.opcode == "call" else ""
            values = _values(found.operands, registers)
            if found.opcode in ACCESSES or callee in self._externals:
                return tuple(self._frozen(active) for active in stack)
            if found.opcode == "ret":
                stack.pop()
                if stack:
                    call = self._functions[stack[-1][0]].body[stack[-1][1]]
                    _return_to(stack, call.result, values[0] if values else None)
            elif callee in self._functions:
                stack.append((callee, 0, dict(zip(self._functions[callee].parameters, values))))
            else:
                following = _compute(self._functions[name].body, position, registers)
                stack[-1] = name, following, registers
        return ()

    def _frozen(self, active: Active) -> Frame:
        name, position, registers = active
        return name, position, tuple(registers.get(live) for live in self._functions[name].body[position].live)


def _return_to(stack: list[Active], register: str, result: Any) -> None:
    """Go on after the instruction at which the innermost frame stands; it gives `result`."""
    name, position, registers = stack[-1]
    registers[register] = result
    stack[-1] = name, position + 1, registers


def _values(operands: Sequence[Any], registers: Mapping[str, Any]) -> list[Any]:
    return [registers.get(operand, operand) for operand in operands]


def _compute(body: list[Instruction], position: int, registers: Registers) -> int:
    """Execute an instruction on registers alone; the position of the next one."""
    found = body[position]
    values = _values(found.operands, registers)
    if found.opcode == "br":
        target = found.targets[0 if not values or values[0] else 1]
        block = int(found.detail)
        phis = []
        while body[target].opcode == "phi":
            phi = body[target]
            source = phi.operands[phi.targets.index(block)]
            phis.append((phi.result, registers.get(source, source)))
            target += 1
        registers.update(phis)
        return target
    if found.opcode == "icmp":
        convert = _signed if found.detail.startswith("s") else _unsigned
        registers[found.result] = _COMPARE[found.detail](*(convert(value, found.bits) for value in values))
    elif found.opcode == "select":
        registers[found.result] = values[1] if values[0] else values[2]
    elif found.opcode in ("zext", "extractvalue"):
        registers[found.result] = values[0] if found.opcode == "extractvalue" else _unsigned(values[0], found.bits)
    elif found.opcode == "trunc":
        registers[found.result] = _wrapped(values[0], 32)
    elif found.detail == "@llvm.umin.i32":
        registers[found.result] = min(_unsigned(value, 32) for value in values)
    elif found.detail not in ("@dlir.pause", "@dlir.make_room"):  # What no other thread sees.
        left, right = (_unsigned(value, found.bits) for value in values)
        registers[found.result] = _wrapped(_ARITHMETIC[found.opcode](left, right), found.bits)
    return position + 1


def _unsigned(value: int, bits: int) -> int:
    return value & ((1 << bits) - 1)


def _signed(value: int, bits: int) -> int:
    value = _unsigned(value, bits)
    return value - (1 << bits) if value >> (bits - 1) else value


def _wrapped(value: int, bits: int) -> int:
    """The signed number of the low `bits`: one form for each value."""
    return _signed(value, bits)
