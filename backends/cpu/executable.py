"""A compiled function for the CPU: takes and returns NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeGuard

import numpy as np

from dlir.backends.cpu.buffers import ArenaPool, ResultPool
from dlir.backends.cpu.emitted import ENTRY, Emitted
from dlir.backends.cpu.jit import Library
from dlir.backends.cpu.llvm_types import static_shape
from dlir.backends.cpu.native_call import Argument, EntryPoint, make_call
from dlir.backends.executable import Signature, numpy_dtype
from dlir.backends.global_arrays import Weights, global_array
from dlir.backends.variables import Binding, VariableStore
from dlir.ir.dialects.memref import Global
from dlir.ir.errors import DlirError
from dlir.ir.state import State

#: A call that touches fewer bytes is over before another thread could make use of the GIL.
GIL_BYTES = 256 << 10

_shared_results = ResultPool()
_BYTE = np.dtype(np.uint8)


class Executable:
    """Call it with one array per input, in order or by name; it returns a tuple of arrays, one per result.

    `out` gives arrays to write the results to, one each, which are also returned.  A result may share the memory of a
    donated input.  Inputs that are not contiguous or aligned are copied.  Several threads may call at once; calls that
    write to variables take turns.  DlirError for arguments that do not fit.
    """

    def __init__(
        self,
        signature: Signature,
        emitted: Emitted,
        library: Library,
        weights: Weights | None,
        computed: Mapping[str, np.ndarray] = MappingProxyType({}),
        binding: Binding | None = None,
        *,
        poison: bool = False,
    ) -> None:
        """`computed`: the arrays of globals that initialisers have computed, by name, which calls do not write to.

        `binding`: the globals that calls write to; without it, all that are not constant and not in `computed`.
        """
        self.signature = signature
        if binding is None:
            found = {op["sym_name"]: op for op in emitted.globals if not op["constant"]}
            state = State({name: op for name, op in found.items() if name not in computed}, tuple(found))
            binding = Binding(VariableStore(), state, lambda op: global_array(op, weights))
        #: The arrays of the globals, by name; what is not constant may change with each call.  The code has their
        #: addresses: they can be written to, but not replaced.
        self.globals = MappingProxyType(
            {op["sym_name"]: _global_memory(op, weights, {**computed, **binding.arrays}) for op in emitted.globals}
        )
        self._in_turn = binding.run if binding else _at_once
        pool = ResultPool(poison=True) if poison else _shared_results
        places = {(role.kind, role.number): index for index, role in enumerate(signature.roles)}
        #: For each result, the donated input whose buffer holds it, or None.
        self._homes: list[int | None] = [None] * len(signature.results)
        for role in signature.roles:
            if role.kind == "input" and role.result is not None:
                self._homes[role.result] = role.number

        arguments = [
            Argument(
                places["input", number],
                numpy_dtype(item.type),
                static_shape(item.type),
                item.is_donated,
                item.is_donated,
            )
            for number, item in enumerate(signature.inputs)
        ]
        self._allocators = []
        for number, (type_, home) in enumerate(zip(signature.results, self._homes)):
            if home is None:
                dtype, shape = numpy_dtype(type_), static_shape(type_)
                arguments.append(Argument(places["result", number], dtype, shape, True))
                self._allocators.append(pool.allocator(shape, dtype))
        self._workspaces: list[ArenaPool] = []
        globals_at = len(signature.roles)
        arena = next((role.type.nbytes for role in signature.roles if role.kind == "arena"), 0)
        after_globals = globals_at + len(self.globals)
        for place, nbytes in ((places.get(("arena", 0)), arena), (after_globals, emitted.scratch_bytes)):
            if place is not None and nbytes:
                arguments.append(Argument(place, _BYTE, (nbytes,), True))
                self._workspaces.append(ArenaPool(nbytes, poison=poison))
        constants = [(globals_at + n, array.ctypes.data) for n, array in enumerate(self.globals.values())]
        touched = sum(argument.nbytes for argument in arguments) + sum(a.nbytes for a in self.globals.values())
        releases_gil = emitted.is_parallel or touched > GIL_BYTES
        self._call = make_call(EntryPoint(library, ENTRY, tuple(arguments), tuple(constants), releases_gil))
        self._takes_turns = bool(binding)

    def __call__(
        self, *arrays: Any, out: Sequence[np.ndarray] | np.ndarray | None = None, **named: Any
    ) -> tuple[np.ndarray, ...]:
        if named:
            arrays = tuple(self.signature.arrange(arrays, named))
        if out is None:
            try:
                fresh = [allocate() for allocate in self._allocators]
            except MemoryError as error:
                raise _no_memory(error) from None
            run = self._in_turn(self._run, arrays, fresh) if self._takes_turns else self._run(arrays, fresh)
            if run is None:
                return tuple(fresh) if len(fresh) == len(self._homes) else self._with_donated(arrays, fresh)
        elif self._is_plain(out, arrays) and self._run(arrays, out) is None:
            return tuple(out)
        return self._call_carefully(arrays, out)

    def _is_plain(self, out: Any, arrays: Sequence[Any]) -> TypeGuard[Sequence[np.ndarray]]:
        """Whether results go straight to the arrays `out`, if they fit: nothing is donated, and no two share memory."""
        if type(out) not in (list, tuple) or len(out) != len(self._allocators) or self._takes_turns:
            return False
        if len(self._allocators) != len(self._homes) or len(arrays) != len(self.signature.inputs):
            return False
        if any(type(array) is not np.ndarray for array in (*arrays, *out)):
            return False
        others = list(arrays)
        for target in out:
            if any([np.may_share_memory(target, other) for other in others]):
                return False
            others.append(target)
        return True

    def _with_donated(self, inputs: Sequence[np.ndarray], fresh: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """All results, of which some are in donated inputs."""
        others = iter(fresh)
        return tuple(next(others) if home is None else inputs[home] for home in self._homes)

    def _run(self, inputs: Sequence[Any], results: Sequence[np.ndarray]) -> int | None:
        """Call the machine code; the position of the first array that does not fit, or None."""
        if not self._workspaces:
            return self._call(*inputs, *results)
        arenas = [pool.take() for pool in self._workspaces]
        misfit = self._call(*inputs, *results, *arenas)
        for pool, arena in zip(self._workspaces, arenas):
            pool.give(arena)
        return misfit

    def _call_carefully(
        self, arrays: Sequence[Any], out: Sequence[np.ndarray] | np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        """A call that checks everything, says what is wrong, and copies what the machine code cannot take as it is."""
        values = self.signature.arrange(arrays, {})
        given = [self.signature.input_array(number, value) for number, value in enumerate(values)]
        self.signature.check_donations(given)
        wanted = None if out is None else self.signature.check_out(out)
        try:
            inputs = [_contiguous(array, numpy_dtype(item.type)) for array, item in zip(given, self.signature.inputs)]
            results = self._result_arrays(inputs, wanted)
            fresh = [
                _contiguous(result, numpy_dtype(type_))
                for result, type_, home in zip(results, self.signature.results, self._homes)
                if home is None
            ]
            misfit = self._in_turn(self._run, inputs, fresh)
        except MemoryError as error:
            raise _no_memory(error) from None
        assert misfit is None, f"array {misfit} was checked and does not fit"
        if wanted is None:
            return tuple(results)
        for target, result in zip(wanted, results):
            if target is not result:
                target[...] = result
        return tuple(wanted)

    def _result_arrays(self, inputs: Sequence[np.ndarray], wanted: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        """Where each result is computed: in its donated input, in the caller's array if it can be, else in a new one."""
        results = []
        allocators = iter(self._allocators)
        for number, home in enumerate(self._homes):
            if home is not None:
                results.append(inputs[home])
                continue
            allocate = next(allocators)
            if wanted is not None and _usable(wanted, number, inputs):
                results.append(wanted[number])
            else:
                results.append(allocate())
        return results


def _usable(wanted: Sequence[np.ndarray], number: int, inputs: Sequence[np.ndarray]) -> bool:
    """Whether result `number` can be computed in the caller's array: contiguous, and apart from all others."""
    target = wanted[number]
    if type(target) is not np.ndarray or not (target.flags.c_contiguous and target.flags.aligned):
        return False
    others = [*inputs, *(array for at, array in enumerate(wanted) if at != number)]
    return not any(np.may_share_memory(target, other) for other in others)


def _contiguous(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The same elements as a plain contiguous array whose dtype is the very object `dtype`."""
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.array(array, order="C")
    return array if array.dtype is dtype else array.view(dtype)


def _global_memory(op: Global, weights: Weights | None, variables: Mapping[str, np.ndarray]) -> np.ndarray:
    """The memory of a global: that of a variable, or its value."""
    if op["sym_name"] in variables:
        return variables[op["sym_name"]]
    return _contiguous(global_array(op, weights), numpy_dtype(op["type"]))


def _at_once(call: Callable[..., Any], *arguments: Any) -> Any:
    return call(*arguments)


def _no_memory(error: MemoryError) -> DlirError:
    return DlirError(f"out of memory: {error}" if str(error) else "out of memory")
