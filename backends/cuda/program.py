"""The host's side of a mapped function: which kernels run, in order, on which parts of which buffers.

The same program runs on a GPU, with CuPy's arrays, and in cuda-sim, with NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from dlir.backends.cuda.host import Advance, Assign, Compute, ControlStep, Jump, Scalars, element, flatten, is_scalar
from dlir.backends.executable import check_buffers, numpy_dtype
from dlir.ir.attributes import Attribute
from dlir.ir.core import Operation, Value
from dlir.ir.dialects.arith import constant_value
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.gpu import LaunchFunc
from dlir.ir.dialects.kernel import Matmul
from dlir.ir.errors import DlirError
from dlir.ir.op import Op
from dlir.ir.types import MemRefType
from dlir.passes.kernels.overlap import is_reshape


@dataclass(frozen=True)
class Place:
    """A contiguous memref: bytes from `offset` on of the function's argument, global or temporary called `root`."""

    root: int | str
    offset: int
    type: MemRefType

    def of(self, array: Any, dtype: Any) -> Any:
        """The memref as an array, of elements `dtype`, given the root's."""
        if self.offset == 0 and array.shape == self.type.shape and array.dtype == dtype:
            return array
        data = array.reshape(-1).view(np.uint8)[self.offset : self.offset + self.type.nbytes]
        return data.view(dtype).reshape(self.type.shape)


@dataclass(frozen=True)
class KernelLaunch:
    """A launch of kernel `kernel`, by its C name."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[Place, ...]


@dataclass(frozen=True)
class LibraryCall:
    """Products of matrices by the device's library: `op` says which, `arguments` are its operands in order."""

    op: Matmul
    arguments: tuple[Place, ...]


@dataclass(frozen=True)
class Copy:
    """A copy of one memref to another."""

    source: Place
    target: Place


@dataclass(frozen=True)
class Load:
    """Read one element of a memref, when all that was launched before is done."""

    op: Operation
    place: Place


@dataclass(frozen=True)
class Store:
    """Set one element of a memref."""

    op: Operation
    place: Place


Step = KernelLaunch | LibraryCall | Copy | Load | Store | ControlStep


@dataclass
class HostProgram:
    """What one call of a function does.

    `globals` gives each global's type, initial value and whether it is constant; `temporaries` the memrefs that are
    allocated, by name; `constants` the numbers that are known; `steps` happen in order, but for jumps.
    """

    globals: dict[str, tuple[MemRefType, Attribute | None, bool]] = field(default_factory=dict)
    temporaries: dict[str, MemRefType] = field(default_factory=dict)
    constants: Scalars = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


class Device(Protocol):
    """What runs a program: CuPy with a GPU, or NumPy with cuda-sim."""

    def dtype(self, type: MemRefType) -> Any:
        """The dtype of arrays for a memref."""

    def launch(self, step: KernelLaunch, arrays: Sequence[Any]) -> None:
        """Run a kernel."""

    def multiply(self, op: Matmul, arrays: Sequence[Any]) -> None:
        """Do what `op` says to arrays in place of its operands."""

    def copy(self, source: Any, target: Any) -> None:
        """Copy an array into another."""

    def upload(self, array: np.ndarray, keep: bool) -> Any:
        """A NumPy array in the device's memory."""

    def download(self, array: Any, dtype: np.dtype) -> np.ndarray:
        """The device's array as a NumPy array of `dtype`."""


def prepare(program: HostProgram, device: Device, fixed: dict[int | str, Any]) -> Callable[[Sequence[Any]], None]:
    """A function that runs `program` on arrays for the function's arguments.

    `fixed` gives the arrays that are the same for every call, by root: their parts are looked up once.
    """

    def part(place: Place) -> Any:
        return place.of(fixed[place.root], device.dtype(place.type)) if place.root in fixed else place

    steps = [(step, [part(place) for place in _places(step)]) for step in program.steps]
    if all(isinstance(step, KernelLaunch | LibraryCall | Copy) for step in program.steps):
        # No numbers, no jumps: nothing to keep count of.
        return lambda arguments: _run_straight(steps, device, arguments)
    return lambda arguments: _run(steps, dict(program.constants), device, arguments)


#: A step, and its arrays, as far as they are known before a call.
_Prepared = tuple[Step, list[Any]]


def _places(step: Step) -> Sequence[Place]:
    match step:
        case KernelLaunch() | LibraryCall():
            return step.arguments
        case Copy():
            return step.source, step.target
        case Load() | Store():
            return (step.place,)
    return ()


def _arrays(parts: list[Any], device: Device, arguments: Sequence[Any]) -> list[Any]:
    return [
        part.of(arguments[part.root], device.dtype(part.type)) if isinstance(part, Place) else part  # type: ignore[index]
        for part in parts
    ]


def _run_straight(steps: Sequence[_Prepared], device: Device, arguments: Sequence[Any]) -> None:
    for step, parts in steps:
        arrays = _arrays(parts, device, arguments)
        if isinstance(step, KernelLaunch):
            device.launch(step, arrays)
        elif isinstance(step, LibraryCall):
            device.multiply(step.op, arrays)
        else:
            device.copy(*arrays)


def _run(steps: Sequence[_Prepared], scalars: Scalars, device: Device, arguments: Sequence[Any]) -> None:
    at = 0
    while at < len(steps):
        step, parts = steps[at]
        at += 1
        match step:
            case KernelLaunch():
                device.launch(step, _arrays(parts, device, arguments))
            case LibraryCall():
                device.multiply(step.op, _arrays(parts, device, arguments))
            case Copy():
                device.copy(*_arrays(parts, device, arguments))
            case Jump():
                at = step.to if step.is_taken(scalars) else at
            case Load():
                _load(step, _arrays(parts, device, arguments)[0], scalars, device)
            case Store():
                _store(step, _arrays(parts, device, arguments)[0], scalars, device)
            case Compute() | Assign() | Advance():
                step.run(scalars)


def _load(step: Load, array: Any, scalars: Scalars, device: Device) -> None:
    found = element(array, [scalars[index] for index in step.op.operands[1:]], step.op)
    scalars[step.op.results[0]] = device.download(found, numpy_dtype(step.place.type))[0]


def _store(step: Store, array: Any, scalars: Scalars, device: Device) -> None:
    value, _, *indices = step.op.operands
    target = element(array, [scalars[index] for index in indices], step.op)
    device.copy(device.upload(np.array([scalars[value]], numpy_dtype(step.place.type)), False), target)


# ---------------------------------------------------------------- reading the function


def read_program(module: Module, function: Func, names: dict[str, str]) -> HostProgram:
    """The program of `function`, of a module mapped for CUDA; `names` gives the kernels' C names by symbol.

    DlirError for what is not a launch, a copy or a view of a buffer.
    """
    check_buffers(function, "CUDA")
    program = HostProgram()
    places: dict[Value, Place] = {}
    for number, arg in enumerate(function.body.args):
        places[arg] = Place(number, 0, arg.type)
    flatten(function.body.ops, program.steps, lambda op: _read(op, module, program, places, names))
    return program


def _read(
    op: Operation, module: Module, program: HostProgram, places: dict[Value, Place], names: dict[str, str]
) -> None:
    match op.name if op.is_registered else "":
        case "arith.constant":
            assert isinstance(op, Op)
            program.constants[op.results[0]] = op.evaluate(())[0]
        case "func.return" | "memref.dealloc":
            pass
        case "memref.load":
            program.steps.append(Load(op, places[op.operands[0]]))
        case "memref.store":
            program.steps.append(Store(op, places[op.operands[1]]))
        case "memref.alloc" | "memref.alloca":
            name = f"temporary {len(program.temporaries)}"
            program.temporaries[name] = _contiguous(op)
            places[op.results[0]] = Place(name, 0, _contiguous(op))
        case "memref.get_global":
            name = op.get("name")
            definition = module.symbol(name)
            assert definition is not None
            constant = definition.get("constant") is not None
            program.globals[name] = _contiguous(op), definition.attributes.get("initial_value"), constant
            places[op.results[0]] = Place(name, 0, _contiguous(op))
        case "memref.view" | "memref.reinterpret_cast" | "memref.cast":
            base = places[op.operands[0]]
            places[op.results[0]] = Place(base.root, base.offset + _shift(op), _contiguous(op))
        case "memref.copy":
            source, target = (places[value] for value in op.operands)
            if source.type.nbytes:
                program.steps.append(Copy(source, target))
        case "gpu.launch_func":
            program.steps.append(_launch(op, places, names))
        case "kernel.matmul":
            assert isinstance(op, Matmul)
            program.steps.append(LibraryCall(op, tuple([places[value] for value in op.operands])))
        case _ if is_scalar(op):
            assert isinstance(op, Op)
            program.steps.append(Compute(op))
        case _:
            hint = "over arrays, loops and branches are scf.for, scf.while and scf.if" if op.regions else None
            raise DlirError(f"the CUDA backend cannot run '{op.name}' on the host", op.location, hint=hint)


def _contiguous(op: Operation) -> MemRefType:
    (result,) = op.results
    if not isinstance(result.type, MemRefType) or not result.type.is_static or result.type.layout is not None:
        raise DlirError(f"the CUDA backend needs contiguous memrefs of static shape, not {result.type}", op.location)
    return result.type


def _shift(op: Operation) -> int:
    """How many bytes a view begins after what it is a view of."""
    shift: int | None = 0
    if op.name == "memref.view":
        shift = constant_value(op.operands[1])
    elif op.name == "memref.reinterpret_cast" and not is_reshape(op):
        shift = None
    if shift is None:
        raise DlirError("the CUDA backend needs views at known offsets", op.location)
    return shift


def _launch(op: Operation, places: dict[Value, Place], names: dict[str, str]) -> KernelLaunch:
    assert isinstance(op, LaunchFunc)
    sizes = [constant_value(value) for value in (*op.grid, *op.block)]
    if None in sizes or op.group("dynamicSharedMemorySize") is not None:
        raise DlirError("the CUDA backend needs launches of known size", op.location)
    arguments = []
    for value in op.arguments:
        if value not in places:
            raise DlirError(f"the CUDA backend passes memrefs to kernels, not {value.type}", op.location)
        arguments.append(places[value])
    x, y, z, *block = (int(size) for size in sizes if size is not None)
    return KernelLaunch(names[op["kernel"]], (x, y, z), (block[0], block[1], block[2]), tuple(arguments))
