"""Device functions that generated kernels call: MLIR's ops where C has no operator with their meaning.

Where MLIR leaves a result undefined, it is the one that ``eval`` of the op gives.
"""

from __future__ import annotations

import re

from dlir.backends.cuda.matrices import BFLOAT_PRODUCTS, HALF_PRODUCTS, MATRICES, SHARES, VECTORS

#: What each helper's definition begins with.
_INLINE = "__device__ __forceinline__"

_HELPERS = {
    # NaN if either is; -0.0 is less than 0.0.
    "dl_maximum": "T dl_maximum(T a, T b) { return a > b || a != a ? a : a == b && a == 0 ? a + b : b; }",
    "dl_minimum": "T dl_minimum(T a, T b) { return a < b || a != a ? a : a == b && a == 0 ? -(-a - b) : b; }",
    # x / 0 is 0, and the least integer divided by -1 is itself.
    "dl_neg": "T dl_neg(T a) { return (T)(0ull - (unsigned long long)a); }",
    "dl_abs": "T dl_abs(T a) { return a < 0 ? dl_neg(a) : a; }",
    "dl_div": "T dl_div(T a, T b) { return b == 0 ? 0 : b == -1 ? dl_neg(a) : a / b; }",
    "dl_rem": "T dl_rem(T a, T b) { return b == 0 || b == -1 ? 0 : a % b; }",
    "dl_divu": "T dl_divu(T a, T b) { return b == 0 ? 0 : a / b; }",
    "dl_remu": "T dl_remu(T a, T b) { return b == 0 ? 0 : a % b; }",
    "dl_floordiv": "T dl_floordiv(T a, T b) { return dl_div(a, b) - (dl_rem(a, b) != 0 && (a ^ b) < 0); }",
    "dl_ceildiv": "T dl_ceildiv(T a, T b) { return dl_div(a, b) + (dl_rem(a, b) != 0 && (a ^ b) >= 0); }",
    "dl_ceildivu": "T dl_ceildivu(T a, T b) { return dl_divu(a, b) + (dl_remu(a, b) != 0); }",
    # A shift by the width or more gives 0, or the sign.
    "dl_shl": "T dl_shl(T a, T n) { return n < 8 * sizeof(T) ? (T)(a << n) : 0; }",
    "dl_shr": "T dl_shr(T a, T n) { return n < 8 * sizeof(T) ? (T)(a >> n) : 0; }",
    "dl_sar": "T dl_sar(T a, T n) { return a >> (n >= 0 && n < (T)(8 * sizeof(T)) ? n : (T)(8 * sizeof(T) - 1)); }",
    # Towards zero; what does not fit saturates, and NaN gives 0.
    "dl_to_signed": """T dl_to_signed(F x) {
  const T least = (T)(1ull << (8 * sizeof(T) - 1));
  const F limit = -(F)least;
  return x != x ? 0 : x >= limit ? (T)~least : x <= -limit ? least : (T)x;
}""",
    "dl_to_unsigned": """T dl_to_unsigned(F x) {
  const F limit = 2 * (F)(1ull << (8 * sizeof(T) - 1));
  return x > 0 ? x >= limit ? (T)~0ull : (T)x : 0;
}""",
}


def prelude_for(text: str) -> str:
    """The headers and helpers that kernel text `text` uses, in order of definition."""
    used = set(re.findall(r"\bdl_\w+", text))
    definitions = []
    # Helpers call earlier ones only.
    for name in reversed(_HELPERS):
        if name in used:
            body = _HELPERS[name]
            used.update(re.findall(r"\bdl_\w+", body))
            parameters = "class T, class F" if "(F x)" in body else "class T"
            definitions.append(f"template <{parameters}>\n{_INLINE} {body}\n")
    headers = [f"#include <cuda_{kind}.h>\n" for kind, mark in _HEADERS.items() if mark in text]
    blocks = [block for mark, block in _BLOCKS if mark in text]
    return "".join([*headers, *blocks, *reversed(definitions)])


#: Definitions that come as a whole, by what text that needs them holds; an element type's products before what loads them.
_BLOCKS = (
    ("dl_vector", VECTORS),
    ("dl_sums", SHARES),
    ("dl_multiply_f16", HALF_PRODUCTS),
    ("dl_multiply_bf16", BFLOAT_PRODUCTS),
    ("dl_sums", MATRICES),
)
_HEADERS = {"fp16": "__half", "bf16": "__nv_bfloat16"}
