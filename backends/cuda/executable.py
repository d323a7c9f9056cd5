"""A compiled function for a GPU, or for cuda-sim in its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from dlir.backends.cuda.program import Device, HostProgram, prepare
from dlir.backends.executable import Signature, numpy_dtype, spell_array
from dlir.backends.global_arrays import Weights, global_array
from dlir.backends.variables import Binding, commit
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.memref import Global
from dlir.ir.errors import DlirError
from dlir.ir.types import MemRefType, TensorType

#: Kernels move up to so many bytes at once, from multiples of it on; what devices allocate begins at one.
ALIGNMENT = 16


class Memory(Device, Protocol):
    """A device with memory of its own."""

    #: Whether the arena and temporaries of one call serve the next one, or each call gets new ones.
    reuses_memory: bool

    @property
    def place(self) -> Hashable:
        """Equal for the same memory; None for the host's, where kernels are simulated and may fault."""

    def active(self) -> AbstractContextManager[Any]:
        """A context in which arrays are made and kernels run on this device."""

    def is_native(self, value: Any) -> bool:
        """Whether `value` is an array in the device's memory."""

    def adopt(self, value: Any) -> Any:
        """A native value as the device's array, sharing its memory."""

    def upload(self, array: np.ndarray, keep: bool) -> Any:
        """A NumPy array in the device's memory, contiguous and aligned; with `keep`, a copy that may be written to."""

    def download(self, array: Any, dtype: np.dtype) -> np.ndarray:
        """The device's array as a NumPy array of `dtype`."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An uninitialised array in the device's memory."""

    def address(self, array: Any) -> int:
        """Where an array begins."""

    def queue(self) -> Hashable:
        """What new work is put in line with: calls with equal queues run one after the other."""

    def finish(self) -> None:
        """Wait until all work in the queue is done."""


class Executable:
    """Call it with one array per input, in order or by name; it returns a tuple of arrays, one per result.

    NumPy arrays are copied to the device and give NumPy arrays.  When an input lies in the device's memory (CuPy's, or
    by ``__cuda_array_interface__`` or DLPack), it is used where it is and the results stay there, made by the current
    stream.  `out` gives arrays to copy the results to.  Memory of a donated input may be overwritten and returned.
    The device holds bfloat16 as uint16.  DlirError for arguments that do not fit.
    """

    def __init__(
        self,
        signature: Signature,
        program: HostProgram,
        module: Module,
        weights: Weights | None,
        device: Memory,
        computed: Mapping[str, Any],
        binding: Binding,
    ) -> None:
        """`computed`: the device's arrays for globals that initialisers have computed, by name.

        `binding`: the globals that calls write to.
        """
        self.signature = signature
        self._program = program
        self._device = device
        self._lock = threading.Lock()
        self._globals: dict[int | str, Any] = {}
        for name in program.globals:
            op = module.symbol(name)
            assert isinstance(op, Global)
            if name in binding.arrays:
                self._globals[name] = binding.store.on_device(name, device)
            elif name in computed:
                self._globals[name] = computed[name]
            else:
                self._globals[name] = device.upload(global_array(op, weights), False)
        binding.place = device.place
        self._binding = binding
        # A GPU is watched in the first call that writes variables: what cannot be launched shows then.
        self._is_watched = True
        self._runners: dict[Hashable, Callable[[Sequence[Any]], None]] = {}

    def __call__(self, *arrays: Any, out: Sequence[Any] | Any | None = None, **named: Any) -> tuple[Any, ...]:
        values = self.signature.arrange(arrays, named)
        native = [self._device.is_native(value) for value in values]
        targets = None if out is None else self._check_out(out)
        with self._device.active():
            inputs = self._inputs(values, native)
            with self._lock:
                results = self._binding.run(self._run_in_turn, inputs) if self._binding else self._run(inputs)
            if targets is not None:
                return self._copy_out(results, targets)
            if any(native):
                return tuple(results)
            types = self.signature.results
            return tuple(self._device.download(array, numpy_dtype(type_)) for array, type_ in zip(results, types))

    def on_device(self) -> list[Any]:
        """Run a function without inputs; its results are in the device's memory, for work in any queue."""
        with self._device.active(), self._lock:
            results = self._binding.run(self._run, []) if self._binding else self._run([])
            self._device.finish()
        return results

    # ------------------------------------------------------------ inputs

    def _inputs(self, values: Sequence[Any], native: Sequence[bool]) -> list[Any]:
        """The inputs in the device's memory."""
        signature, device = self.signature, self._device
        host = [None if here else signature.input_array(n, v) for n, (v, here) in enumerate(zip(values, native))]
        if not any(native):
            signature.check_donations([array for array in host if array is not None])
        inputs = []
        for number, (value, array) in enumerate(zip(values, host)):
            item = signature.inputs[number]
            if array is not None:
                inputs.append(device.upload(array, item.is_donated))
            else:
                inputs.append(self._adopted(number, value))
        self._check_donations(inputs)
        return inputs

    def _adopted(self, number: int, value: Any) -> Any:
        device, item = self._device, self.signature.inputs[number]
        array = device.adopt(value)
        dtype = element_dtype(item.type)
        if array.dtype != dtype or array.shape != item.type.shape:
            wanted, found = spell_array(dtype, item.type.shape), spell_array(array.dtype, array.shape)
            raise self._error(f"needs {wanted} for argument '{item.name}', got {found}")
        if array.flags.c_contiguous and device.address(array) % ALIGNMENT == 0:
            return array
        if item.is_donated:
            wanted = f"contiguous, at a multiple of {ALIGNMENT} bytes"
            raise self._error(f"takes argument '{item.name}' as donated, so it must be {wanted}")
        return array.copy()

    def _check_donations(self, inputs: Sequence[Any]) -> None:
        ends = [(self._device.address(array), self._device.address(array) + array.nbytes) for array in inputs]
        for number, item in enumerate(self.signature.inputs):
            if item.is_donated:
                for other, (low, high) in enumerate(ends):
                    if other != number and low < ends[number][1] and ends[number][0] < high:
                        sharer = self.signature.inputs[other].name
                        raise self._error(f"takes argument '{item.name}' as donated, but '{sharer}' shares its memory")

    # ------------------------------------------------------------ the call

    def _run_in_turn(self, inputs: Sequence[Any]) -> list[Any]:
        """Run a program with variables: if it raises, they stay as they were."""
        device = self._device
        written = [name for name in self._binding.written if name in self._globals]
        if device.place is None:
            copies: dict[int | str, Any] = {name: self._globals[name].copy() for name in written}
            results = self._run(inputs, copies)
            commit([self._globals[name] for name in written], [copies[name] for name in written])
            return results
        if written and self._is_watched:
            results = self._watched_run(inputs, written)
        else:
            results = self._run(inputs)
        if device.queue():
            # Work in other queues does not wait for this one.
            device.finish()
        return results

    def _watched_run(self, inputs: Sequence[Any], written: Sequence[str]) -> list[Any]:
        device = self._device
        saved = {name: self._globals[name].copy() for name in written}
        try:
            results = self._run(inputs)
            device.finish()
        except BaseException:
            for name, array in saved.items():
                device.copy(array, self._globals[name])
            raise
        self._is_watched = False
        return results

    def _run(self, inputs: Sequence[Any], copies: Mapping[int | str, Any] = MappingProxyType({})) -> list[Any]:
        """Run the program on inputs in the device's memory, with `copies` of some globals; the results, there too."""
        device, signature = self._device, self.signature
        run = self._runner(copies)
        results: list[Any] = [None] * len(signature.results)
        arguments: list[Any] = []
        for role in signature.roles:
            if role.kind == "input":
                arguments.append(inputs[role.number])
                if role.result is not None:
                    results[role.result] = inputs[role.number]
            elif role.kind == "result":
                shape = tuple(dim or 0 for dim in role.type.shape)
                results[role.number] = device.empty(shape, device.dtype(role.type))
                arguments.append(results[role.number])
            else:
                arguments.append(None)
        run(arguments)
        return results

    def _runner(self, copies: Mapping[int | str, Any]) -> Callable[[Sequence[Any]], None]:
        """The program with a workspace that nothing else uses before this call is done."""
        device = self._device
        if not device.reuses_memory:
            return prepare(self._program, device, {**self._workspace(), **copies})
        # In one queue, the workspace's next use waits behind this one.
        queue = device.queue()
        if queue not in self._runners:
            self._runners[queue] = prepare(self._program, device, self._workspace())
        return self._runners[queue]

    def _workspace(self) -> dict[int | str, Any]:
        """What every call uses: globals, the arena and temporaries, by root."""
        device = self._device
        fixed = dict(self._globals)
        for index, role in enumerate(self.signature.roles):
            if role.kind == "arena":
                fixed[index] = device.empty((role.type.nbytes,), np.dtype(np.uint8))
        for name, type_ in self._program.temporaries.items():
            fixed[name] = device.empty(tuple(dim or 0 for dim in type_.shape), device.dtype(type_))
        return fixed

    def _check_out(self, out: Any) -> list[Any]:
        """The arrays that the caller gives for the results, one each: all on the device, or all NumPy's."""
        given = list(out) if isinstance(out, list | tuple) else [out]
        results = self.signature.results
        if not given or not all(map(self._device.is_native, given)):
            return list(self.signature.check_out(given))
        if len(given) != len(results):
            raise self._error(f"gives {len(results)} results, got {len(given)} arrays in 'out'")
        for number, (array, type_) in enumerate(zip(map(self._device.adopt, given), results)):
            if array.dtype != element_dtype(type_) or array.shape != type_.shape:
                wanted, found = spell_array(element_dtype(type_), type_.shape), spell_array(array.dtype, array.shape)
                raise self._error(f"needs {wanted} in out[{number}], got {found}")
        return given

    def _copy_out(self, results: Sequence[Any], targets: Sequence[Any]) -> tuple[Any, ...]:
        """Copy the results to the caller's arrays."""
        device = self._device
        for target, result, type_ in zip(targets, results, self.signature.results):
            if device.is_native(target):
                device.copy(result, device.adopt(target))
            else:
                target[...] = device.download(result, numpy_dtype(type_))
        return tuple(targets)

    def _error(self, message: str) -> DlirError:
        return DlirError(f"'@{self.signature.function}' {message}")


def element_dtype(type_: MemRefType | TensorType) -> np.dtype:
    """The dtype in which a device without bfloat16 holds elements."""
    dtype = numpy_dtype(type_)
    return np.dtype(np.uint16) if dtype.kind == "V" or str(dtype) == "bfloat16" else dtype
