"""Special functions: log1p, and the inverse of the error function."""

from __future__ import annotations

import math as libm
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlir.ir.core import Value
from dlir.ir.dialects.nd.checks import need_kind
from dlir.ir.dialects.nd.composite import FloatComposite, narrowed, widened
from dlir.ir.dialects.nd.samples import random_array, random_dtype, random_shape
from dlir.ir.dialects.nd.unary import FloatFunction
from dlir.ir.op import Tensor
from dlir.ir.ops import math, nd
from dlir.ir.types import F64


class Log1p(FloatFunction, name="nd.log1p"):
    """log(1 + x), precise near 0; log1p(-1) is -inf, of less NaN."""

    @staticmethod
    def eval(x: Any) -> Any:
        return np.log1p(x)

    def scalar(self, x: Value) -> Value:
        return math.log1p(x)

    def vjp(self, cotangents: Sequence[Value | None], needs: Sequence[bool]) -> Sequence[Value | None]:
        return [nd.div(cotangents[0], nd.add(self.operands[0], 1.0))]


#: Below a bound of w = -log(1 - x*x), the polynomial in w or its square root less a middle whose value times x is the
#: inverse; the last is for all that is left.  Highest powers first.
_F32 = (
    (
        *(5.0, False, 2.5),
        (
            *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503),
            *(-0.00417768164, 0.246640727, 1.50140941),
        ),
    ),
    (
        *(libm.inf, True, 3.0),
        (
            *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613),
            *(0.00943887047, 1.00167406, 2.83297682),
        ),
    ),
)
_F64 = (
    (
        *(6.25, False, 3.125),
        (
            *(-3.6444120640178196996e-21, -1.685059138182016589e-19, 1.2858480715256400167e-18),
            *(1.115787767802518096e-17, -1.333171662854620906e-16, 2.0972767875968561637e-17),
            *(6.6376381343583238325e-15, -4.0545662729752068639e-14, -8.1519341976054721522e-14),
            *(2.6335093153082322977e-12, -1.2975133253453532498e-11, -5.4154120542946279317e-11),
            *(1.051212273321532285e-09, -4.1126339803469836976e-09, -2.9070369957882005086e-08),
            *(4.2347877827932403518e-07, -1.3654692000834678645e-06, -1.3882523362786468719e-05),
            *(0.0001867342080340571352, -0.00074070253416626697512, -0.0060336708714301490533),
            *(0.24015818242558961693, 1.6536545626831027356),
        ),
    ),
    (
        *(16.0, True, 3.25),
        (
            *(2.2137376921775787049e-09, 9.0756561938885390979e-08, -2.7517406297064545428e-07),
            *(1.8239629214389227755e-08, 1.5027403968909827627e-06, -4.013867526981545969e-06),
            *(2.9234449089955446044e-06, 1.2475304481671778723e-05, -4.7318229009055733981e-05),
            *(6.8284851459573175448e-05, 2.4031110387097893999e-05, -0.0003550375203628474796),
            *(0.00095328937973738049703, -0.0016882755560235047313, 0.0024914420961078508066),
            *(-0.0037512085075692412107, 0.005370914553590063617, 1.0052589676941592334),
            3.0838856104922207635,
        ),
    ),
    (
        *(libm.inf, True, 5.0),
        (
            *(-2.7109920616438573243e-11, -2.5556418169965252055e-10, 1.5076572693500548083e-09),
            *(-3.7894654401267369937e-09, 7.6157012080783393804e-09, -1.4960026627149240478e-08),
            *(2.9147953450901080826e-08, -6.7711997758452339498e-08, 2.2900482228026654717e-07),
            *(-9.9298272942317002539e-07, 4.5260625972231537039e-06, -1.9681778105531670567e-05),
            *(7.5995277030017761139e-05, -0.00021503011930044477347, -0.00013871931833623122026),
            *(1.0103004648645343977, 4.8499064014085844221),
        ),
    ),
)


class ErfInv(FloatComposite, name="nd.erf_inv"):
    """The y with erf(y) = x: ±inf for ±1, and NaN outside of -1 .. 1.

    Giles, "Approximating the erfinv function" (2012), in the form that XLA computes, which rounds x*x: within 2 ulp of the
    exact value up to |x| = 0.9, and 64 close to 1 (f32).  f16 and bf16 are computed in f32 and rounded once.
    """

    @staticmethod
    def infer(x: Tensor) -> Tensor:
        need_kind(x.dtype, "f")
        return x

    @staticmethod
    def decompose(x: Value) -> Value:
        wide = widened(x)
        w = nd.neg(nd.log1p(nd.neg(nd.mul(wide, wide))))
        found = nd.mul(_polynomial(w, _F64 if wide.dtype is F64 else _F32), wide)
        for end, limit in ((1.0, libm.inf), (-1.0, -libm.inf)):
            found = nd.select(nd.equal(wide, end), limit, found)
        return narrowed(found, x)

    def vjp(self, cotangents: Sequence[Value | None], needs: Sequence[bool]) -> Sequence[Value | None]:
        (y,) = self.results
        slope = nd.mul(nd.exp(nd.mul(y, y)), libm.sqrt(libm.pi) / 2)
        return [nd.mul(cotangents[0], slope)]

    @staticmethod
    def sample(rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
        dtype = random_dtype(rng, "f")
        x = np.tanh(random_array(rng, random_shape(rng), dtype).astype("f8"))
        ends = rng.choice([1.0, -1.0, 0.0, 2.0], x.shape)
        return [np.asarray(np.where(rng.random(x.shape) < 0.2, ends, x), dtype.numpy)], {}


def _polynomial(w: Value, parts: Sequence[tuple[Any, ...]]) -> Value:
    """The value of the polynomial of the part that `w` is in; the short ones begin with zeros."""
    length = max(len(coefficients) for *_, coefficients in parts)
    below = [nd.less(w, bound) for bound, *_ in parts[:-1]]
    number = w.dtype.numpy.type

    def choose(values: Sequence[Any]) -> Any:
        found = values[-1]
        for condition, value in zip(reversed(below), reversed(values[:-1])):
            found = nd.select(condition, value, found)
        return found

    # No root is asked for in the first part, and where there is none, it has no slope that is infinite.
    root = nd.sqrt(nd.maximum(w, parts[0][0]))
    at = choose([nd.sub(root if is_root else w, middle) for _, is_root, middle, _ in parts])
    rows = [(0.0,) * (length - len(row)) + row for *_, row in parts]
    first, *rest = [choose(list(map(number, coefficients))) for coefficients in zip(*rows, strict=True)]
    total: Value = first
    for coefficient in rest:
        total = nd.add(coefficient, nd.mul(total, at))
    return total
