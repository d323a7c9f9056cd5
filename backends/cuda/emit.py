"""CUDA C from the kernels of a mapped module: one translation unit, every identifier generated.

What a kernel may hold is upstream's ``arith``, ``math``, ``scf``, ``memref`` and ``gpu`` over contiguous memrefs of
static shape; :mod:`.scalars` has the table of scalar ops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dlir.backends.cuda.aliasing import Restricted, restricted_arguments
from dlir.backends.cuda.matrices import load_matrix, store_matrix
from dlir.backends.cuda.prelude import prelude_for
from dlir.backends.cuda.scalars import c_type, expression
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.gpu import GPUFunc, GPUModule
from dlir.ir.errors import DlirError
from dlir.ir.types import INDEX, IntegerType, MemRefType
from dlir.passes.kernels.overlap import is_reshape

#: Indices are 32 bits wide when everything stays well below 2^31: strides of the grid are added to them.
_SMALL = 1 << 30


@dataclass(frozen=True)
class Source:
    """A translation unit; `names` gives the C name for each kernel's symbol, ``module::function``."""

    text: str
    names: dict[str, str]


def emit_kernels(module: Module) -> Source:
    """The CUDA C text of all kernels of `module`, which has been mapped for CUDA.

    DlirError, with the op's place, for what has no CUDA C.
    """
    restricted = restricted_arguments(module)
    names: dict[str, str] = {}
    texts = []
    kernels = list(_kernels(module))
    for symbol, kernel in kernels:
        names[symbol] = f"kernel_{len(names)}"
        texts.append(_Kernel(kernel, names[symbol], restricted).text())
    body = "\n".join(texts)
    width = "int" if all(_is_small(kernel) for _, kernel in kernels) else "long long"
    types = f"typedef {width} index_t;\ntypedef unsigned {width} uindex_t;\n"
    return Source("\n".join(part for part in (types, prelude_for(body), body) if part), names)


def _kernels(module: Module) -> Iterator[tuple[str, GPUFunc]]:
    for outer in module.body.ops:
        if isinstance(outer, GPUModule):
            for op in outer.body.ops:
                if isinstance(op, GPUFunc) and op.is_kernel:
                    yield f"{outer['sym_name']}::{op['sym_name']}", op


def _is_small(kernel: GPUFunc) -> bool:
    for op in kernel.walk():
        if op.name == "arith.constant" and op.results[0].type is INDEX and not -_SMALL < op.get("value") < _SMALL:
            return False
    return all(not isinstance(arg.type, MemRefType) or _size(arg) < _SMALL for arg in kernel.body.args)


def _size(value: Value) -> int:
    return math.prod(dim or 0 for dim in value.type.shape)


@dataclass
class _Frame:
    """A block whose ops are being written, and what stands before and after it."""

    ops: Iterator[Operation]
    opening: str = ""
    closing: str = ""
    started: bool = False


class _Kernel:
    """Writes one kernel."""

    def __init__(self, kernel: GPUFunc, name: str, restricted: Restricted) -> None:
        self.kernel = kernel
        self.name = name
        self.restricted = restricted
        self.names: dict[Value, str] = {}
        self.lines: list[str] = []
        self.depth = 1

    def text(self) -> str:
        block_size = self.kernel.get("known_block_size")
        bounds = f" __launch_bounds__({math.prod(block_size)})" if block_size else ""
        header = f'extern "C" __global__ void{bounds} {self.name}({", ".join(self._parameters())}) {{'
        for arg in (*self.kernel.shared, *self.kernel.private):
            keyword = "__shared__ __align__(16) " if arg in self.kernel.shared else ""
            self._check(arg, self.kernel)
            self._line(f"{keyword}{c_type(arg.type.dtype, self.kernel)} {self._name(arg, 's')}[{max(1, _size(arg))}];")
        self._write(self.kernel.body.ops)
        return "\n".join([header, *self.lines, "}", ""])

    def _parameters(self) -> Iterator[str]:
        written = {_origin(op.operands[1]) for op in self.kernel.walk() if op.name in _STORES}
        for arg in self.kernel.inputs:
            name = self._name(arg, "a")
            if isinstance(arg.type, MemRefType):
                self._check(arg, self.kernel)
                const = "" if arg in written else "const "
                restrict = " __restrict__" if (self.kernel, arg.index) in self.restricted else ""
                yield f"{const}{c_type(arg.type.dtype, self.kernel)}*{restrict} {name}"
            else:
                yield f"{c_type(arg.type, self.kernel)} {name}"

    def _check(self, value: Value, op: Operation) -> None:
        type = value.type
        if not isinstance(type, MemRefType) or not type.is_static or type.layout is not None:
            raise DlirError(f"the CUDA backend needs contiguous memrefs of static shape, not {type}", op.location)

    # ------------------------------------------------------------ statements

    def _write(self, ops: Iterator[Operation]) -> None:
        stack = [_Frame(ops)]
        while stack:
            frame = stack[-1]
            if not frame.started:
                frame.started = True
                if frame.opening:
                    self._line(frame.opening)
                self.depth += len(stack) > 1
            op = next(frame.ops, None)
            if op is None:
                stack.pop()
                self.depth -= bool(stack)
                if frame.closing:
                    self._line(frame.closing)
            elif not op.is_registered:
                raise DlirError(f"the CUDA backend has no code for '{op.name}'", op.location)
            elif op.name == "scf.for":
                stack.append(self._loop(op))
            elif op.name == "scf.if":
                stack += self._branches(op)
            else:
                self._statement(op)

    def _statement(self, op: Operation) -> None:
        match op.name:
            case "arith.constant":
                self.names[op.results[0]] = expression(op, ())
            case "memref.load":
                self._define(op.results[0], self._element(op, op.operands[0], op.operands[1:]))
            case "memref.store":
                value, target, *indices = op.operands
                self._line(f"{self._element(op, target, indices)} = {self.names[value]};")
            case "vector.load":
                self._define(
                    op.results[0], self._vector(op, op.results[0].type, op.operands[0], op.operands[1:], "const ")
                )
            case "vector.store":
                value, target, *indices = op.operands
                self._line(f"{self._vector(op, value.type, target, indices)} = {self.names[value]};")
            case "vector.extract":
                (place,) = self._position(op)
                self._define(op.results[0], f"{self.names[op.operands[0]]}.of[{place}]")
            case "vector.insert":
                (place,) = self._position(op)
                scalar, vector = (self.names[value] for value in op.operands)
                name = self._name(op.results[0], "v")
                self._line(f"{c_type(op.results[0].type, op)} {name} = {vector}; {name}.of[{place}] = {scalar};")
            case "gpu.subgroup_mma_load_matrix":
                self._define(op.results[0], load_matrix(op, self._element(op, op.operands[0], op.operands[1:])))
            case "gpu.subgroup_mma_store_matrix":
                value, target, *indices = op.operands
                self._line(store_matrix(op, self.names[value], self._element(op, target, indices)))
            case "memref.alloca":
                result = op.results[0]
                self._check(result, op)
                self._line(f"{c_type(result.type.dtype, op)} {self._name(result, 'p')}[{max(1, _size(result))}];")
            case "memref.reinterpret_cast" | "memref.cast":
                self._check(op.results[0], op)
                if op.name == "memref.reinterpret_cast" and not is_reshape(op):
                    raise DlirError("the CUDA backend needs views of whole contiguous buffers", op.location)
                self.names[op.results[0]] = self.names[op.operands[0]]
            case "builtin.unrealized_conversion_cast":
                self._conversion(op)
            case "gpu.barrier":
                self._line("__syncthreads();")
            case "gpu.shuffle":
                self._shuffle(op)
            case "gpu.thread_id" | "gpu.block_id" | "gpu.block_dim" | "gpu.grid_dim":
                self._define(op.results[0], f"{_BUILTIN[op.name]}.{op.word('dimension')}")  # type: ignore[attr-defined]
            case "scf.yield":
                self._yield(op)
            case "gpu.return":
                pass
            case _:
                operands = [self.names[value] for value in op.operands]
                text = expression(op, operands)
                self._define(op.results[0], text)

    def _loop(self, op: Any) -> _Frame:
        for result, init, carried in zip(op.results, op.inits, op.carried):
            name = self._name(result, "v")
            self._line(f"{c_type(result.type, op)} {name} = {self.names[init]};")
            self.names[carried] = name
        if "dlir.unroll" in op.attributes:
            self._line("#pragma unroll")
        lower, upper, step = (self.names[value] for value in op.operands[:3])
        type, counter = c_type(op.counter.type, op), self._name(op.counter, "i")
        opening = f"for ({type} {counter} = {lower}; {counter} < {upper}; {counter} += {step}) {{"
        return _Frame(op.body.ops, opening, "}")

    def _branches(self, op: Operation) -> list[_Frame]:
        for result in op.results:
            self._line(f"{c_type(result.type, op)} {self._name(result, 'v')};")
        then, otherwise = op.regions
        opening = f"if ({self.names[op.operands[0]]}) {{"
        if not op.results and (not otherwise.blocks or otherwise.block.first is otherwise.block.last):
            return [_Frame(then.block.ops, opening, "}")]
        return [_Frame(otherwise.block.ops, "} else {", "}"), _Frame(then.block.ops, opening)]

    def _yield(self, op: Operation) -> None:
        parent = op.parent_op
        assert parent is not None
        targets = [self.names[result] for result in parent.results]
        sources = [self.names[value] for value in op.operands]
        pairs = [(target, source) for target, source in zip(targets, sources) if target != source]
        # Assignments happen at once: a source that an earlier one overwrites is saved first.
        for number, (_, source) in enumerate(pairs):
            if any(source == target for target, _ in pairs[:number]):
                saved = f"t{len(self.names)}_{number}"
                self._line(f"const {c_type(op.operands[sources.index(source)].type, op)} {saved} = {source};")
                pairs = [(t, saved if s == source else s) for t, s in pairs]
        for target, source in pairs:
            self._line(f"{target} = {source};")

    def _conversion(self, op: Operation) -> None:
        source, target = op.operands[0].type, op.results[0].type
        if not (isinstance(source, IntegerType) and isinstance(target, IntegerType) and source.width == target.width):
            raise DlirError(f"the CUDA backend cannot see {source} as {target}", op.location)
        self.names[op.results[0]] = self.names[op.operands[0]]

    def _shuffle(self, op: Any) -> None:
        value, offset, width = (self.names[operand] for operand in op.operands)
        type = c_type(op.operands[0].type, op)
        if type not in ("int", "long long", "float", "double") or op.results[1].is_used:
            raise DlirError(f"the CUDA backend has no code for this shuffle of {op.operands[0].type}", op.location)
        function = {"xor": "__shfl_xor_sync", "up": "__shfl_up_sync", "down": "__shfl_down_sync", "idx": "__shfl_sync"}
        self._define(op.results[0], f"{function[op.word('mode')]}(0xffffffffu, {value}, {offset}, {width})")

    # ------------------------------------------------------------ pieces

    def _element(self, op: Operation, memref: Value, indices: Sequence[Value]) -> str:
        """An element of a memref: its flat position in row-major order."""
        self._check(memref, op)
        terms, stride, constant = [], 1, 0
        for index, extent in reversed(list(zip(indices, memref.type.shape))):
            text = self.names[index]
            if text.lstrip("-").isdigit():
                constant += int(text) * stride
            else:
                terms.append(text if stride == 1 else f"{text} * {stride}")
            stride *= extent
        if constant or not terms:
            terms.insert(0, str(constant))
        return f"{self.names[memref]}[{' + '.join(reversed(terms))}]"

    def _vector(self, op: Operation, type: Any, memref: Value, indices: Sequence[Value], const: str = "") -> str:
        """Neighbours in memory, which are aligned to the size of all of them together or are refused."""
        size = type.nbytes
        if op.get("alignment") is None or op.get("alignment") < size or size not in (2, 4, 8, 16):
            raise DlirError(
                f"the CUDA backend moves vectors of up to 16 bytes that are aligned, not {type}", op.location
            )
        return f"*({const}{c_type(type, op)}*)&{self._element(op, memref, indices)}"

    def _position(self, op: Any) -> tuple[int, ...]:
        position = op["static_position"]
        if len(position) != 1 or position[0] < 0:
            raise DlirError("the CUDA backend takes vectors apart at known places", op.location)
        return position

    def _define(self, result: Value, text: str) -> None:
        assert isinstance(result.owner, Operation)
        ctype = c_type(result.type, result.owner)
        self._line(f"const {ctype} {self._name(result, 'v')} = {text};")

    def _name(self, value: Value, prefix: str) -> str:
        return self.names.setdefault(value, f"{prefix}{len(self.names)}")

    def _line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)


_STORES = ("memref.store", "vector.store", "gpu.subgroup_mma_store_matrix")
_BUILTIN = {
    "gpu.thread_id": "threadIdx",
    "gpu.block_id": "blockIdx",
    "gpu.block_dim": "blockDim",
    "gpu.grid_dim": "gridDim",
}


def _origin(value: Value) -> Value:
    """The buffer that a memref is a view of."""
    while (op := value.defining_op) is not None and op.operands:
        value = op.operands[0]
    return value
