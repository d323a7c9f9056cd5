"""What optimisers have in common: gradients, clipping, learning rate, and the state that they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dlir.frontends.symbolic.arguments import with_known_keywords
from dlir.frontends.symbolic.gradient import grad
from dlir.frontends.symbolic.node import SCALAR, Node, nd, sorted_nodes
from dlir.frontends.symbolic.parameter import Parameter
from dlir.ir.errors import DlirError
from dlir.ir.types import F64

#: A learning rate: a number, a node (such as a parameter that is set now and then), or a schedule: a function of the node
#: that counts the steps done so far, in f64.
Rate = float | Node | Callable[[Node], Any]
#: What changes the gradients before they are used: `by_value`, `by_global_norm`.
Clip = Callable[[Sequence[Node]], Sequence[Node]]


class Optimizer:
    """Makes the updates of parameters for a loss.  Subclasses define `rule`.

    `weight_decay` times the parameter is added to its gradient.  What an optimiser remembers are parameters, called
    ``<parameter>.<what>``, so it is saved with the rest.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" in vars(cls):
            cls.__init__ = with_known_keywords(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, learning_rate: Rate, *, weight_decay: float = 0.0, clip: Clip | None = None) -> None:
        if isinstance(learning_rate, int | float):
            need_at_least("learning_rate", learning_rate, 0)
        need_at_least("weight_decay", weight_decay, 0)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip = clip
        self._state: dict[str, Parameter] = {}
        self._updates: dict[Parameter, Node] = {}

    def updates(self, loss: Node, parameters: Iterable[Parameter] | None = None) -> list[tuple[Parameter, Node]]:
        """The updates that lower `loss`, a scalar, by one step: of `parameters`, or of all trainable ones that it is made of.

        DlirError if there are none, or if one of them is no parameter; if the loss is no scalar, when that is known.
        """
        if not isinstance(loss, Node):
            raise DlirError(f"the loss is a node, got {loss!r}")
        chosen = _checked(parameters) if parameters is not None else trainable_parameters(loss)
        if not chosen:
            raise DlirError("there is no parameter to optimise", loss.location, hint="the loss is made of none")
        gradients = grad(Node(SCALAR, [loss], {"what": "loss"}), chosen)
        return self.apply(list(zip(chosen, gradients, strict=True)))

    def apply(self, gradients: Sequence[tuple[Parameter, Node]]) -> list[tuple[Parameter, Node]]:
        """The updates for given gradients."""
        self._updates = {}
        clipped = [gradient for _, gradient in gradients]
        if self.clip is not None:
            clipped = list(self.clip(clipped))
        rate = self.learning_rate
        if callable(rate) and not isinstance(rate, Node):
            rate = rate(nd.cast(self._step(), dtype=F64))
        for (parameter, _), gradient in zip(gradients, clipped, strict=True):
            if self.weight_decay and not self.decays_apart:
                gradient = gradient + self.weight_decay * parameter
            self._updates[parameter] = self.rule(parameter, gradient, rate)
        return list(self._updates.items())

    #: Whether `rule` itself decays weights.
    decays_apart = False

    def rule(self, parameter: Parameter, gradient: Node, rate: Any) -> Node:
        """The new value of `parameter`; `rate` is a number or a node in any float dtype (see `like`)."""
        raise TypeError("an optimiser must define rule")

    @property
    def state(self) -> list[Parameter]:
        """The parameters that the optimiser keeps for itself."""
        return list(self._state.values())

    # ------------------------------------------------------------ for rules

    def remember(self, parameter: Parameter, what: str, first: float = 0.0) -> Parameter:
        """The optimiser's own parameter in the shape of `parameter`, which is `first` everywhere at the start."""
        type = parameter.type
        shape = tuple(extent or 0 for extent in type.shape)
        return self._own(f"{parameter.name}.{what}", np.full(shape, first, type.dtype.numpy))  # type: ignore[attr-defined]

    def set(self, state: Parameter, value: Node) -> Node:
        """Let a parameter of the optimiser become `value`, and return that."""
        self._updates[state] = value
        return value

    def time(self) -> Node:
        """The number of this step in f64: 1, 2, ..."""
        return nd.cast(self._step() + 1, dtype=F64)

    def _step(self) -> Parameter:
        """The count of the steps that are done."""
        count = self._own(f"{type(self).__name__.lower()}.step", np.int64(0))
        self._updates.setdefault(count, count + 1)
        return count

    def _own(self, name: str, value: Any) -> Parameter:
        if name not in self._state:
            self._state[name] = Parameter(name, value, trainable=False)
        return self._state[name]


def like(number: Any, parameter: Parameter) -> Any:
    """A number or a scalar node in the dtype of `parameter`; Python numbers stay, as they take any."""
    return nd.cast(number, dtype=parameter.type.dtype) if isinstance(number, Node) else number


def need_at_least(name: str, value: float, least: float, below: float | None = None) -> None:
    """DlirError unless ``least <= value``, and ``value < below`` if that is given."""
    if not isinstance(value, int | float) or not value >= least or (below is not None and value >= below):
        upper = "" if below is None else f" and below {below}"
        raise DlirError(f"'{name}' must be at least {least}{upper}, got {value!r}")


def trainable_parameters(loss: Node) -> list[Parameter]:
    """The trainable parameters that a node is made of, in the order in which they are met."""
    return [node for node in sorted_nodes([loss]) if isinstance(node, Parameter) and node.trainable]


def _checked(parameters: Iterable[Any]) -> list[Parameter]:
    found: dict[Parameter, None] = {}
    for item in parameters:
        if not isinstance(item, Parameter):
            raise DlirError(
                f"cannot optimise {item!r}: it is not a parameter", hint="make it one: Parameter(name, value)"
            )
        if item in found:
            raise DlirError(f"parameter '{item.name}' is given twice", item.location)
        found[item] = None
    return list(found)
