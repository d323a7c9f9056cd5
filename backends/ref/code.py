"""A block prepared for interpretation: a list of Python functions over an environment.

An environment maps the values of one function call to NumPy values.  Ops that run blocks are generators that yield the
runs they want; `drive` serves them all from an explicit stack, so that the nesting of regions and calls does not touch
Python's own.  Only up to `FLAT_DEPTH` innermost loops call their bodies directly, for speed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlir.ir.core import Operation, Value
from dlir.ir.types import TensorType

if TYPE_CHECKING:
    from dlir.backends.ref.machine import Machine

#: Loops that hold at most this many loops inside each other are plain functions.
FLAT_DEPTH = 16

Environment = dict[Value, Any]
#: A run that wants other blocks run: it yields generators and is sent what they return.
Task = Generator["Task", Any, Any]


@dataclass(slots=True)
class Step:
    """One op: `run` computes its results into the environment, by itself or, if `is_task`, as a `Task`."""

    run: Callable[[Environment], Any]
    is_task: bool = False
    #: How many loops `run` runs inside each other.
    depth: int = 0
    #: Tensors that nothing needs after this step.
    dead: list[Value] = field(default_factory=list)


@dataclass(slots=True)
class Code:
    """A block as steps; its value is what its terminator's operands hold."""

    args: list[Any]
    steps: list[Step]
    ending: Operation
    returned: tuple[Value, ...]
    #: Whether `execute` may run it: no step is a task.
    is_flat: bool = field(init=False)
    #: How many loops it has inside each other that run without tasks.
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        self.is_flat = not any(step.is_task for step in self.steps)
        self.depth = max((step.depth for step in self.steps), default=0)

    def execute(self, environment: Environment, arguments: Sequence[Any]) -> list[Any]:
        """Run a block without tasks."""
        environment.update(zip(self.args, arguments))
        for step in self.steps:
            step.run(environment)
            for value in step.dead:
                del environment[value]
        return [environment[value] for value in self.returned]

    def task(self, environment: Environment, arguments: Sequence[Any]) -> Task:
        """Run any block."""
        environment.update(zip(self.args, arguments))
        for step in self.steps:
            if step.is_task:
                yield step.run(environment)
            else:
                step.run(environment)
            for value in step.dead:
                del environment[value]
        return [environment[value] for value in self.returned]


Maker = Callable[["Machine", Any], Step]

#: Op name -> what makes its step.  Ops that are not here run by their `eval`.
MAKERS: dict[str, Maker] = {}


def runs(*names: str) -> Callable[[Maker], Maker]:
    """Decorator: the function makes the steps of the ops called `names`."""

    def enter(maker: Maker) -> Maker:
        MAKERS.update(dict.fromkeys(names, maker))
        return maker

    return enter


def drive(task: Task) -> Any:
    """Run `task` and all that it asks for; returns what it returns."""
    stack = [task]
    sent: Any = None
    while stack:
        try:
            stack.append(stack[-1].send(sent))
            sent = None
        except StopIteration as stop:
            stack.pop()
            sent = stop.value
    return sent


def mark_dead(ops: Sequence[Operation], steps: Sequence[Step]) -> None:
    """Let go of each tensor after the last op of the block that uses it, directly or in its regions."""
    position = {op: index for index, op in enumerate(ops)}
    for index, op in enumerate(ops):
        for result in op.results:
            if not isinstance(result.type, TensorType):
                continue
            last: int | None = index
            for user in result.users:
                ancestor: Operation | None = user
                while ancestor is not None and ancestor.parent is not op.parent:
                    ancestor = ancestor.parent_op
                where = None if ancestor is None else position.get(ancestor)
                if where is None:
                    last = None  # the terminator needs it
                    break
                last = max(last or 0, where)
            if last is not None:
                steps[last].dead.append(result)
