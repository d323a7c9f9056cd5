"""How much memory a chain of n dense layers takes to train, with all activations kept and within a budget.

    python benchmarks/remat_curve.py [N ...]

`saved all` is the arena of a training step as it is, `budget` the least that ``remat{budget=...}`` can promise, `planned` the
arena with it, and `recomputed` how many of the n layers are computed twice.  With n layers of one size, the third column
grows with sqrt(n) and the first with n.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from dlir.ir.builder import at_end
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.dialects.kernel import RECOMPUTE
from dlir.ir.ops import diff, func, nd, nn
from dlir.ir.traversal import clone
from dlir.ir.types import F32, TensorType
from dlir.passes.autodiff.early import compute_early
from dlir.passes.autodiff.segments import least_work
from dlir.passes.autodiff.tape import Tape
from dlir.passes.manager import PassManager
from dlir.passes.memory.report import memory_report
from dlir.passes.pipelines import PIPELINES

ROWS, WIDTH = 1024, 64
#: Of the default pipeline: what comes before `remat`, and from there to the plan.
BEFORE, _, REST = PIPELINES["O2"].partition(",remat,")
PLANNED = REST.partition(",lower-kernels")[0]


def training_step(layers: int) -> Module:
    """One step of gradient descent on the weights of dense layers with sigmoids, which it takes and returns."""
    data, weight = TensorType((ROWS, WIDTH), F32), TensorType((WIDTH, WIDTH), F32)
    module = Module.empty("chain")
    function = Func.make("main", [data, data, *[weight] * layers])
    module.body.append(function)
    x, target, *weights = function.body.args
    with at_end(function.body):
        for w in weights:
            x = nn.dense(x, w, activation="sigmoid")
        slopes = diff.gradient((nn.mse_loss(x, target),), (), weights)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        func.return_(*[nd.sub(w, nd.mul(0.1, slope)) for w, slope in zip(weights, slopes, strict=True)])
    function.update_type()
    return module


def least_budget(module: Module) -> int:
    """The smallest budget that can be met."""
    body = clone(module).symbol("main").body
    compute_early(body)
    return least_work(Tape(body), 1).peak


def arena(source: Module, module: Module, passes: str) -> tuple[int, list[Operation]]:
    """The bytes of the arena of `module` after `passes`, and the products that are computed twice."""
    lowered = clone(module)
    PassManager.from_text(passes).run(lowered)
    again = [op for op in lowered.walk() if op.name == "nd.matmul" and RECOMPUTE in op.attributes]
    return memory_report(source, lowered).arena, again


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("layers", nargs="*", type=int, default=[4, 8, 16, 32, 64, 128, 256])
    options = parser.parse_args(arguments)
    print(f"{'n':>4} | {'saved all':>12} | {'budget':>12} | {'planned':>12} | recomputed")
    for layers in options.layers:
        source = training_step(layers)
        module = clone(source)
        PassManager.from_text(BEFORE).run(module)
        budget = least_budget(module)
        everything, _ = arena(source, module, PLANNED)
        planned, again = arena(source, module, f"remat{{budget={budget}}},{PLANNED}")
        print(f"{layers:4} | {everything:12,} | {budget:12,} | {planned:12,} | {len(again):4} of {layers}", flush=True)


if __name__ == "__main__":
    main()
