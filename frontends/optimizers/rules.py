"""The optimisers, each as PyTorch defines it."""

from __future__ import annotations

import math
from typing import Any

from dlir.frontends.optimizers.base import Clip, Optimizer, Rate, like, need_at_least
from dlir.frontends.symbolic.node import Node, nd
from dlir.frontends.symbolic.parameter import Parameter
from dlir.ir.errors import DlirError


class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak's or Nesterov's) if that is not 0."""

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, clip=clip)
        need_at_least("momentum", momentum, 0)
        if nesterov and (momentum == 0 or dampening != 0):
            raise DlirError("Nesterov's method needs a momentum and no dampening")
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    def rule(self, parameter: Parameter, gradient: Node, rate: Any) -> Node:
        if self.momentum:
            before = self.remember(parameter, "momentum_buffer")
            fresh = gradient
            if self.dampening:
                # The first gradient is taken whole.
                is_first = nd.equal(self.time(), 1.0)
                fresh = like(nd.select(is_first, 1.0, 1.0 - self.dampening), parameter) * gradient
            moving = self.set(before, self.momentum * before + fresh)
            gradient = gradient + self.momentum * moving if self.nesterov else moving
        return parameter - like(rate, parameter) * gradient


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of squared gradients (Tieleman and Hinton, 2012)."""

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, clip=clip)
        need_at_least("alpha", alpha, 0)
        need_at_least("eps", eps, 0)
        need_at_least("momentum", momentum, 0)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered

    def rule(self, parameter: Parameter, gradient: Node, rate: Any) -> Node:
        squares = self.remember(parameter, "square_avg")
        square = self.set(squares, self.alpha * squares + (1.0 - self.alpha) * gradient * gradient)
        if self.centered:
            means = self.remember(parameter, "grad_avg")
            mean = self.set(means, means + (1.0 - self.alpha) * (gradient - means))
            square = square - mean * mean
        change = gradient / (nd.sqrt(square) + self.eps)
        if self.momentum:
            before = self.remember(parameter, "momentum_buffer")
            change = self.set(before, self.momentum * before + change)
        return parameter - like(rate, parameter) * change


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi, Hazan and Singer, 2011)."""

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, clip=clip)
        need_at_least("lr_decay", lr_decay, 0)
        need_at_least("initial_accumulator_value", initial_accumulator_value, 0)
        need_at_least("eps", eps, 0)
        self.lr_decay, self.first, self.eps = lr_decay, initial_accumulator_value, eps

    def rule(self, parameter: Parameter, gradient: Node, rate: Any) -> Node:
        totals = self.remember(parameter, "sum", self.first)
        total = self.set(totals, totals + gradient * gradient)
        if self.lr_decay:
            rate = rate / (1.0 + (self.time() - 1.0) * self.lr_decay)
        return parameter - like(rate, parameter) * gradient / (nd.sqrt(total) + self.eps)


class Adam(Optimizer):
    """Running means of gradients and their squares, corrected for starting at zero (Kingma and Ba, 2015)."""

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, clip=clip)
        for number, beta in enumerate(betas):
            need_at_least(f"betas[{number}]", beta, 0, below=1)
        need_at_least("eps", eps, 0)
        self.betas, self.eps = betas, eps

    def rule(self, parameter: Parameter, gradient: Node, rate: Any) -> Node:
        return parameter - self.change(parameter, gradient, rate)

    def change(self, parameter: Parameter, gradient: Node, rate: Any) -> Node:
        """What is taken from the parameter."""
        one, two = self.betas
        means = self.remember(parameter, "exp_avg")
        squares = self.remember(parameter, "exp_avg_sq")
        mean = self.set(means, means + (1.0 - one) * (gradient - means))
        square = self.set(squares, two * squares + (1.0 - two) * gradient * gradient)
        # In f64, as 1 - beta**t has few digits of its own in the first steps.
        time = self.time()
        size = like(rate / _missing(one, time), parameter)
        root = like(nd.sqrt(_missing(two, time)), parameter)
        return size * mean / (nd.sqrt(square) / root + self.eps)


class AdamW(Adam):
    """Adam with weights that decay apart from the gradient (Loshchilov and Hutter, 2019)."""

    decays_apart = True

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(learning_rate, betas, eps, weight_decay, clip=clip)

    def rule(self, parameter: Parameter, gradient: Node, rate: Any) -> Node:
        return parameter * like(1.0 - rate * self.weight_decay, parameter) - self.change(parameter, gradient, rate)


def _missing(beta: float, time: Node) -> Any:
    """1 - beta**time: how much of a mean is there after that many steps."""
    return 1.0 - nd.exp(time * math.log(beta)) if beta else 1.0
