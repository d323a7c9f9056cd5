"""One LLVM function under emission: its lines, the names of its values, and the walk over blocks.

A handler writes one op.  It is a function of the emitter and the op; for an op with regions it is a generator that
yields each block when its turn comes and is sent the block's terminator, so that nothing recurses on nesting depth.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from dlir.backends.cpu.llvm_types import llvm_type
from dlir.ir.core import Block, Operation, Value
from dlir.ir.errors import DlirError

if TYPE_CHECKING:
    from dlir.backends.cpu.emit import ModuleEmitter

#: The stack of a thread has some megabytes, of which the caller needs some.
MAX_FRAME_BYTES = 256 << 10

Regions = Generator[Block, Operation, None]
Handler = Callable[["FunctionEmitter", Any], Regions | None]


class FunctionEmitter:
    """Collects the text of one function.  `names` maps each value to its LLVM name or constant."""

    def __init__(self, module: ModuleEmitter, *, outlines: bool) -> None:
        self.module = module
        #: Whether parallel loops become functions that threads run; else they are loops in place.
        self.outlines = outlines
        #: Whether the function holds register tiles.
        self.has_tiles = False
        self.names: dict[Value, str] = {}
        self.label = "entry"
        self._lines: list[str] = []
        self._local_memory: list[str] = []
        self._heap: list[str] = []
        self._opaque: dict[str, str] = {}
        self._frame_bytes = 0
        self._counter = 0

    # ------------------------------------------------------------ values

    def name(self, value: Value) -> str:
        """The LLVM name or constant of `value`."""
        return self.names[value]

    def typed(self, value: Value) -> str:
        """`value` after its type: `float %v3`."""
        return f"{llvm_type(value.type)} {self.names[value]}"

    def fresh(self, value: Value | None = None) -> str:
        """A new name, given to `value`."""
        self._counter += 1
        name = f"%v{self._counter}"
        if value is not None:
            self.names[value] = name
        return name

    def emit(self, instruction: str, value: Value | None = None) -> str:
        """Append an instruction that computes something (`value`, if given); returns its name."""
        name = self.fresh(value)
        self._lines.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Append an instruction without a result."""
        self._lines.append(f"  {instruction}")

    def local_memory(self, type_: str, nbytes: int, alignment: int) -> str:
        """Memory until the function returns, taken once, at entry, wherever in the function the request stands.

        It is in the stack frame while that is small, and else on the heap: the stacks of threads are.
        """
        name = self.fresh()
        self._frame_bytes += nbytes
        if self._frame_bytes <= MAX_FRAME_BYTES:
            self._local_memory.append(f"  {name} = alloca {type_}, align {alignment}")
            return name
        self._frame_bytes -= nbytes
        self.module.declare("declare ptr @aligned_alloc(i64, i64)")
        size = -(-nbytes // alignment) * alignment
        self._local_memory.append(f"  {name} = call ptr @aligned_alloc(i64 {alignment}, i64 {size})")
        self._heap.append(name)
        return name

    def opaque(self, type_: str, constant: str) -> str:
        """A constant as a value of which LLVM does not know that it is one, after its type."""
        typed = f"{type_} {constant}"
        if typed not in self._opaque:
            place, name = self.fresh(), self.fresh()
            self._local_memory += [
                f"  {place} = alloca {type_}",
                f"  store volatile {typed}, ptr {place}",
                f"  {name} = load volatile {type_}, ptr {place}",
            ]
            self._opaque[typed] = f"{type_} {name}"
        return self._opaque[typed]

    def return_(self, instruction: str = "ret void") -> None:
        """End the function."""
        for name in self._heap:
            self.call("void", "@free", [("ptr", name)])
        self.do(instruction)

    def call(self, type_: str, symbol: str, arguments: Iterable[tuple[str, str]], value: Value | None = None) -> str:
        """A call of an external function or intrinsic, which is declared by the types of its arguments."""
        pairs = list(arguments)
        self.module.declare(f"declare {type_} {symbol}({', '.join(type_ for type_, _ in pairs)})")
        text = f"call {type_} {symbol}({', '.join(f'{type_} {name}' for type_, name in pairs)})"
        if type_ == "void":
            self.do(text)
            return ""
        return self.emit(text, value)

    # ------------------------------------------------------------ blocks

    def new_label(self) -> str:
        self._counter += 1
        return f"b{self._counter}"

    def branch(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch_if(self, condition: str, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def start(self, label: str) -> None:
        """Begin the LLVM block `label`."""
        self._lines.append(f"{label}:")
        self.label = label

    def reserve(self) -> int:
        """A place for lines that are known later; see `fill`."""
        self._lines.append("")
        return len(self._lines) - 1

    def fill(self, place: int, lines: Iterable[str]) -> None:
        self._lines[place] = "\n".join(lines)

    def run(self, block: Block) -> Operation:
        """Emit all ops of `block` but its terminator, which is returned."""
        stack: list[Regions] = [self._walk(block)]
        finished: Any = None
        while stack:
            try:
                inner = stack[-1].send(finished)
            except StopIteration as stop:
                stack.pop()
                finished = stop.value
            else:
                stack.append(self._walk(inner))
                finished = None
        return finished

    def _walk(self, block: Block) -> Generator[Block, Operation, Any]:
        op = block.first
        while op is not None and op.next is not None:
            try:
                regions = self.module.handler(op)(self, op)
                if regions is not None:
                    yield from regions
            except DlirError as error:
                raise error.at(op.location) from None
            op = op.next
        return op

    def text(self, head: str) -> str:
        """The whole definition; `head` is what stands before the brace."""
        return "\n".join([f"{head} {{", "entry:", *self._local_memory, *filter(None, self._lines), "}", ""])
