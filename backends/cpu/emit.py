"""A module at level 5, mapped for the CPU, as the LLVM IR text of one module.

What it exports is `void dlir.entry(ptr table)`.  The table holds pointers: the entry function's arguments in order,
then `Emitted.globals`, then the call's scratch memory if there is any.  No name of the user's reaches the text:
functions are numbered.
"""

from __future__ import annotations

from collections.abc import Callable

from dlir.backends.cpu import emit_arith, emit_memref, emit_scf, emit_vector, vector_math
from dlir.backends.cpu.emit_function import FunctionEmitter, Handler
from dlir.backends.cpu.emitted import ENTRY, Emitted
from dlir.backends.cpu.jit import GENERIC, Target
from dlir.backends.cpu.llvm_types import array_constant, llvm_type
from dlir.backends.executable import check_buffers
from dlir.ir.attributes import DenseElementsAttr
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Call, Func
from dlir.ir.dialects.memref import GetGlobal, Global
from dlir.ir.errors import DlirError
from dlir.ir.types import MemRefType
from dlir.passes.kernels.overlap import coinciding, overlapping

HANDLERS: dict[str, Handler] = {
    **emit_arith.HANDLERS,
    **emit_memref.HANDLERS,
    **emit_scf.HANDLERS,
    **emit_vector.HANDLERS,
}
#: Constant arrays of at most so many bytes are part of the code, where the optimiser sees their elements.
EMBEDDED_BYTES = 4096
ALIGNMENT = 64
#: Length of a text that is worth a module of its own: about a seventh of a second of compiling.
PART_CHARACTERS = 64 << 10


def emit_module(module: Module, entry: Func, target: Target = GENERIC) -> Emitted:
    """The code of `entry` and all that it calls, for `target`.

    DlirError with its place for an op that the CPU backend cannot run, or if `entry` is not bufferised.
    """
    return ModuleEmitter(module, entry, target).emitted()


class ModuleEmitter:
    """Collects functions, declarations and globals.  Functions are emitted when something calls them."""

    def __init__(self, module: Module, entry: Func, target: Target) -> None:
        self._entry = entry
        self._target = target
        self._symbols: dict[str, Operation] = {op.get("sym_name"): op for op in module.body.ops}
        self._shared, self._twins = _shared_arguments(module)
        self._functions: dict[Func, str] = {}
        self._waiting: list[Func] = []
        self._texts: list[str] = []
        #: The number of each text that needs no other function and no slot, and its declaration.
        self._leaves: dict[int, str] = {}
        self._declarations: dict[str, None] = {}
        self._loop_hints: list[str] = []
        self._math: dict[tuple[str, str], None] = {}
        self._slots: dict[Global, str] = {}
        self._embedded: dict[Global, str] = {}
        self._scratch_bytes = 0
        self._entry_emitter: FunctionEmitter | None = None

    def emitted(self) -> Emitted:
        _check_entry(self._entry)
        symbol = self._symbol_of(self._entry)
        while self._waiting:
            self._emit_function(self._waiting.pop(0))
        self._texts.append(self._entry_point(symbol))
        prelude = vector_math.prelude(self._math, has_ldexp=self._target.has_ldexp)
        # Declarations stand once in a module, and the prelude brings its own.
        declarations = [line for line in self._declarations if line not in prelude.splitlines()]
        slots = [f"{slot} = internal global ptr null" for slot in self._slots.values()]
        attributes = f"attributes #0 = {{ {self._target.attributes} }}"
        common = [prelude, attributes, *self._loop_hints]
        text = "\n".join([*declarations, *slots, *self._embedded_arrays(), *common, *self._texts, ""])
        parts = [text]
        if len(text) > PART_CHARACTERS:
            parts = self._parts([*declarations, *common], slots)
        is_parallel = any("@dlir.parallel_for(" in line for line in declarations)
        return Emitted(text, tuple(parts), tuple(self._slots), self._scratch_bytes, is_parallel)

    def _parts(self, common: list[str], slots: list[str]) -> list[str]:
        """The module in several: one with all that calls something or has globals, and the kernels in groups."""
        first = [text for number, text in enumerate(self._texts) if number not in self._leaves]
        groups: list[list[str]] = []
        room = 0
        for number in self._leaves:
            text = self._texts[number].replace("define internal ", "define ", 1)
            if len(text) > room:
                groups.append([])
                room = PART_CHARACTERS
            groups[-1].append(text)
            room -= len(text)
        texts = ["\n".join([*slots, *self._leaves.values(), *first]), *map("\n".join, groups)]
        return ["\n".join([*common, *self._embedded_arrays(text), text, ""]) for text in texts]

    # ------------------------------------------------------------ what handlers ask for

    def handler(self, op: Operation) -> Handler:
        """What emits `op`; DlirError if nothing does."""
        found = HANDLERS.get(op.name) if op.is_registered else None
        if found is None:
            raise DlirError(
                f"the cpu backend cannot run '{op.name}'", op.location, hint="lower it with target=cpu first"
            )
        return found

    def declare(self, line: str) -> None:
        """Note a declaration that the module needs."""
        self._declarations[line] = None

    def math_function(self, name: str, dtype: str) -> str:
        """The symbol of a function of `vector_math`, which becomes part of the module."""
        self._math[(name, dtype)] = None
        return vector_math.symbol(name, dtype)

    def loop_hint(self, hint: str) -> str:
        """Metadata for one loop that says `hint` to the optimiser."""
        number = 2 * len(self._loop_hints)
        self._loop_hints.append(f'!{number} = distinct !{{!{number}, !{number + 1}}}\n!{number + 1} = !{{!"{hint}"}}')
        return f"!{number}"

    def add_function(self, kind: str, text: Callable[[str], str]) -> str:
        """Add a function whose text is made from its symbol; returns the symbol."""
        symbol = f"@{kind}.{len(self._texts)}"
        self._texts.append(text(symbol))
        return symbol

    def function_symbol(self, call: Call) -> str:
        """The symbol of the function that `call` calls."""
        callee = self._symbols.get(call["callee"])
        if not isinstance(callee, Func) or callee.is_declaration:
            raise DlirError(f"'@{call['callee']}' has no body that the cpu backend could call", call.location)
        return self._symbol_of(callee)

    def global_pointer(self, f: FunctionEmitter, op: GetGlobal) -> str:
        """The pointer to a global's buffer: part of the code if it is small and constant, else out of the table."""
        found = self._symbols.get(op["name"])
        assert isinstance(found, Global)
        value = found["initial_value"]
        if found["constant"] and isinstance(value, DenseElementsAttr) and found["type"].nbytes <= EMBEDDED_BYTES:
            return self._embedded.setdefault(found, f"@constant.{len(self._embedded)}")
        slot = self._slots.setdefault(found, f"@global.{len(self._slots)}")
        return f.emit(f"load atomic ptr, ptr {slot} unordered, align 8")

    def take_scratch(self, op: Operation, nbytes: int, f: FunctionEmitter) -> int:
        """Room in the scratch memory, as an offset; DlirError outside the entry function."""
        if f is not self._entry_emitter:
            message = f"the cpu backend allocates only in '@{self._entry.symbol}' itself"
            raise DlirError(message, op.location, hint="run plan-memory, or use memref.alloca")
        offset = self._scratch_bytes
        self._scratch_bytes += -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        return offset

    # ------------------------------------------------------------ functions

    def _symbol_of(self, function: Func) -> str:
        if function not in self._functions:
            kind = "kernel" if "dlir.kernel" in function.attributes else "function"
            self._functions[function] = f"@{kind}.f{len(self._functions)}"
            self._waiting.append(function)
        return self._functions[function]

    def _emit_function(self, function: Func) -> None:
        is_kernel = "dlir.kernel" in function.attributes
        f = FunctionEmitter(self, outlines=not is_kernel)
        if function is self._entry:
            self._entry_emitter = f
        f.has_tiles = is_kernel and any(op.name == "vector.fma" for op in function.walk())
        parameters = []
        for index, arg in enumerate(function.body.args):
            # What is computed in place is read and written through one pointer, so that loops can be widened.
            f.names[arg] = f"%a{self._twins.get((function.symbol, index), index)}"
            may_alias = not is_kernel or (function.symbol, index) in self._shared
            parameters.append(f"{_parameter_type(function, arg.type, may_alias)} %a{index}")
        terminator = f.run(function.body)
        if function is self._entry and self._scratch_bytes:
            parameters.append("ptr noalias %scratch")
        types = [llvm_type(type_) for type_ in terminator.operand_types]
        _return(f, types, [f.typed(value) for value in terminator.operands])
        result = "void" if not types else types[0] if len(types) == 1 else f"{{ {', '.join(types)} }}"
        symbol = self._functions[function]
        # Kernels stay functions: their noalias arguments are worth more to the vectoriser than the call costs.
        suffix = " noinline #0" if is_kernel else " #0"
        text = f.text(f"define internal {result} {symbol}({', '.join(parameters)}){suffix}")
        if is_kernel and "@global." not in text and not any(isinstance(op, Call) for op in function.walk()):
            arguments = ", ".join(llvm_type(arg.type) for arg in function.body.args)
            self._leaves[len(self._texts)] = f"declare {result} {symbol}({arguments})"
        self._texts.append(text)

    def _entry_point(self, symbol: str) -> str:
        """The exported function: it unpacks the table and calls the entry function."""
        f = FunctionEmitter(self, outlines=False)
        arguments = len(self._entry.body.args)
        pointers = []
        for index in range(arguments + len(self._slots) + (self._scratch_bytes > 0)):
            place = f.emit(f"getelementptr inbounds ptr, ptr %table, i64 {index}")
            pointers.append(f.emit(f"load ptr, ptr {place}"))
        # Calls at the same time all store the same pointers; `unordered` keeps that from being a data race.
        for slot, pointer in zip(self._slots.values(), pointers[arguments:]):
            f.do(f"store atomic ptr {pointer}, ptr {slot} unordered, align 8")
        passed = pointers[:arguments] + pointers[arguments + len(self._slots) :]
        f.do(f"call void {symbol}({', '.join(f'ptr {pointer}' for pointer in passed)})")
        f.return_()
        return f.text(f"define void @{ENTRY}(ptr noalias %table) #0")

    def _embedded_arrays(self, text: str | None = None) -> list[str]:
        """The constant arrays, of those that `text` names."""
        return [
            f"{symbol} = internal unnamed_addr constant "
            f"{array_constant(found['initial_value'].value, found['type'].dtype)}, align {ALIGNMENT}"
            for found, symbol in self._embedded.items()
            if text is None or symbol in text
        ]


def _check_entry(entry: Func) -> None:
    check_buffers(entry, "cpu")
    if entry.type.results:
        raise DlirError(f"'@{entry.symbol}' returns values instead of writing them to buffers", entry.location)


def _shared_arguments(module: Module) -> tuple[set[tuple[str, int]], dict[tuple[str, int], int]]:
    """The callees and argument numbers of memrefs that share memory with another argument of some call; and apart from
    these, those that are the same memory as an earlier argument, in every call."""
    overlaps: dict[str, set[tuple[int, int]]] = {}
    same: dict[str, set[tuple[int, int]]] = {}
    # Those that call come first: what their arguments share, those of the functions that they call do.
    for function in _callers_first(module):
        for op in function.walk():
            if isinstance(op, Call):
                callee, pairs = op["callee"], set(coinciding(op.operands, same.get(function.symbol, ())))
                overlaps.setdefault(callee, set()).update(overlapping(op.operands, overlaps.get(function.symbol, ())))
                same[callee] = same.get(callee, pairs) & pairs
    shared: set[tuple[str, int]] = set()
    twins: dict[tuple[str, int], int] = {}
    for callee, pairs in overlaps.items():
        shared.update((callee, number) for pair in pairs - same[callee] for number in pair)
        for first, second in sorted(same[callee]):
            twins.setdefault((callee, second), first)
    return shared, twins


def _callers_first(module: Module) -> list[Func]:
    """The functions of a module, each after those that call it."""
    functions = {op.symbol: op for op in module.body.ops if isinstance(op, Func)}
    begun: set[Func] = set()
    done: list[Func] = []
    waiting = [(function, False) for function in functions.values()]
    while waiting:
        function, is_ready = waiting.pop()
        if is_ready:
            done.append(function)
        elif function not in begun:
            begun.add(function)
            calls = [op for op in function.walk() if isinstance(op, Call) and op["callee"] in functions]
            waiting += [(function, True), *((functions[call["callee"]], False) for call in calls)]
    return done[::-1]


def _parameter_type(function: Func, type_: object, may_alias: bool) -> str:
    if not isinstance(type_, MemRefType):
        return llvm_type(type_)  # type: ignore[arg-type]
    text = llvm_type(type_) + ("" if may_alias else " noalias")
    # The whole buffer may be read ahead of a condition.
    return text + (f" dereferenceable({type_.nbytes})" if type_.nbytes else "")


def _return(f: FunctionEmitter, types: list[str], values: list[str]) -> None:
    if not types:
        f.return_()
        return
    if len(values) == 1:
        f.return_(f"ret {values[0]}")
        return
    struct, packed = f"{{ {', '.join(types)} }}", "poison"
    for index, value in enumerate(values):
        packed = f.emit(f"insertvalue {struct} {packed}, {value}, {index}")
    f.return_(f"ret {struct} {packed}")
