"""What ``dlir-run`` prints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlir.ir.byte_counts import human_bytes

if TYPE_CHECKING:
    from dlir.backends.compiler import Program
    from dlir.frontends.cli.inputs import Data
    from dlir.textir import ParsedModule

Outputs = Sequence[tuple[np.ndarray, ...]]


class Report:
    """Prints one line a subject; the checks return whether they held."""

    def __init__(self, path: str, program: Program, data: Data, rtol: float, atol: float) -> None:
        self.path, self.program, self.data = path, program, data
        self.rtol, self.atol = rtol, atol

    def line(self, subject: str, text: str) -> None:
        """One line of the report."""
        print(f"{subject:<10} {text}")

    def heading(self, level: str) -> None:
        """What was compiled, for what, and what it needs."""
        program = self.program
        name = Path(self.path).name if self.path != "-" else "<stdin>"
        self.line(name if len(name) < 10 else f"{name}\n{'':<10}", f"@{program.entry}{program.executable.signature}")
        kernels = program.kernels
        self.line("backend", f"{program.backend.name} -O{level}, {kernels} kernel{'s' * (kernels != 1)}")
        memory = program.memory
        self.line("memory", f"{human_bytes(memory.planned)} planned, {human_bytes(memory.naive)} naive")
        seconds = program.seconds
        parts = ", ".join(f"{phase} {s * 1e3:.0f} ms" for phase, s in seconds.items())
        self.line("compiled", f"in {sum(seconds.values()) * 1e3:.0f} ms ({parts})")
        state = program.variables.snapshot()
        if state:
            count = f"{len(state)} variable{'s' * (len(state) != 1)}"
            size = human_bytes(sum(array.nbytes for array in state.values()))
            self.line("state", f"{count} ({size}) that calls change")
        batches = f"{self.data.rows} rows in {self.data.batches} batches" if self.data.batches > 1 else "one batch"
        self.line("data", f"{self.data.origin}, {batches}")

    def time(self, call: Callable[[], Any], runs: int) -> None:
        """Time `runs` calls after one to warm up."""
        if runs < 1:
            return
        call()
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        median, best = human_seconds(statistics.median(times)), human_seconds(min(times))
        self.line("time", f"{median} a batch (median of {runs}, best {best})")

    def accuracy(self, outputs: Outputs) -> bool:
        """Predictions against the labels, and against those of whoever trained the network."""
        data = self.data
        if data.labels is None and data.expected is None:
            return True
        predicted = np.concatenate([np.argmax(batch[0], axis=-1).reshape(-1) for batch in outputs])
        if data.labels is not None:
            right = int((predicted == data.labels.reshape(-1)).sum())
            self.line("accuracy", f"{right / max(1, predicted.size):.2%} ({right} of {predicted.size} labels)")
        if data.expected is None:
            return True
        same = int((predicted == data.expected.reshape(-1)).sum())
        self.line("trainer", f"predictions equal the trainer's: {same} of {predicted.size}")
        return same == predicted.size

    def compare(self, outputs: Outputs, other: str, parsed: ParsedModule, variables: Mapping[str, np.ndarray]) -> bool:
        """The outputs, and what is in the variables after them, against those of another backend."""
        from dlir.backends.compiler import compile_module
        from dlir.ir.errors import DlirError

        try:
            reference = compile_module(parsed.module, parsed.weights, backend=other, entry=self.program.entry)
            wanted = run_batches(reference, self.data)
        except DlirError as error:
            self.line(other, f"not compared: {error.message}")
            return True
        if not self._agree(f"outputs match {other}", f"outputs differ from {other}", outputs, wanted):
            return False
        if not variables:
            return True
        found, names = tuple(variables.values()), [f"@{name}" for name in variables]
        there = tuple(reference.variables[name] for name in variables)
        good, bad = f"variables match {other}", f"variables differ from {other}"
        return self._agree(good, bad, [found], [there], names)

    def expect(self, outputs: Outputs, specs: Sequence[str]) -> bool:
        """The outputs against what the command line says they must be."""
        from dlir.frontends.cli.inputs import make_array
        from dlir.ir.errors import DlirError, count
        from dlir.ir.types import TensorType, dtype_from_numpy

        if len(outputs) > 1 or len(specs) > len(outputs[0]):
            given, there = count(len(specs), "time"), count(len(outputs[0]), "result")
            raise DlirError(
                f"--expect is given {given}, and there {'is' if there[:2] == '1 ' else 'are'} {there} of one batch"
            )
        wanted = []
        for position, (spec, array) in enumerate(zip(specs, outputs[0], strict=False)):
            type = TensorType(array.shape, dtype_from_numpy(array.dtype))
            wanted.append(make_array(spec, type, np.random.default_rng(0), f"result {position}"))
        found = [outputs[0][: len(wanted)]]
        return self._agree("outputs are as expected", "outputs are not as expected", found, [tuple(wanted)])

    def _agree(
        self, good: str, bad: str, outputs: Outputs, wanted: Outputs, names: Sequence[str] | None = None
    ) -> bool:
        worst = 0.0
        for number, (batch, wanted_batch) in enumerate(zip(outputs, wanted, strict=True)):
            for position, (got, want) in enumerate(zip(batch, wanted_batch, strict=True)):
                if got.shape != want.shape or got.dtype != want.dtype:
                    self.line(
                        "MISMATCH", f"{bad}: result {position} is {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
                    )
                    return False
                close = np.isclose(got, want, rtol=self.rtol, atol=self.atol, equal_nan=True)
                if not close.all():
                    index = tuple(int(i) for i in np.argwhere(~close)[0])
                    where = f"batch {number}, result {position}" if names is None else names[position]
                    where = f"{where}, element {index}"
                    count = f"{int((~close).sum())} of {close.size} elements"
                    self.line("MISMATCH", f"{bad}: {where}: got {got[index]}, want {want[index]}; {count}")
                    return False
                if got.size and got.dtype.kind == "f":
                    with np.errstate(invalid="ignore"):
                        worst = max(worst, float(np.nanmax(np.abs(got - want), initial=0)))
        self.line("checked", f"{good} (largest difference {worst:.1e})")
        return True


def human_seconds(seconds: float) -> str:
    """A time for people: ``3.1 us``, ``12 ms``."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def run_batches(program: Program, data: Data) -> Outputs:
    """What `program` makes of each batch, which stays as it is: donated inputs are copies."""
    return [program(*arguments(program, data.batch(number))) for number in range(data.batches)]


def arguments(program: Program, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """`arrays`, with a copy of each that the program may overwrite."""
    inputs = program.executable.signature.inputs
    return [np.array(array) if item.is_donated else array for item, array in zip(inputs, arrays, strict=True)]


def save_outputs(path: str, outputs: Outputs) -> None:
    """Write the results of all batches, joined along their first axis, as ``result0``, ``result1``, ... of an .npz file."""
    import io

    from dlir.frontends.cli.common import writing
    from dlir.textir.atomic import atomic_write

    joined = {}
    for position, parts in enumerate(zip(*outputs, strict=True)):
        joined[f"result{position}"] = np.concatenate([*map(np.atleast_1d, parts)]) if len(parts) > 1 else parts[0]
    buffer = io.BytesIO()
    np.savez(buffer, **joined)  # type: ignore[arg-type]
    with writing(path):
        atomic_write(path, buffer.getvalue())
