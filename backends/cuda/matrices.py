"""CUDA C for vectors and for products of matrices by a warp: types, the ops' texts, and what the prelude defines for them.

A product of 16x16 matrices is two of PTX's ``mma.sync.m16n8k16``, and a lane's share of a matrix is what these take, so that
``ldmatrix`` can load factors from shared memory.  Each has a body in plain C++ beside it, which cuda-sim runs, and GPUs too old
for the instruction: bfloat16 needs sm_80, half sm_75.
"""

from __future__ import annotations

from collections.abc import Sequence

from dlir.ir.core import Operation
from dlir.ir.dialects.gpu import WORKGROUP
from dlir.ir.dialects.gpu_mma import Matrix, matrix_of
from dlir.ir.errors import DlirError
from dlir.ir.types import BF16, F16, F32, Type

#: Rows, columns and depth of the products that there is code for.
SHAPE = (16, 16, 16)


def matrix_type(type: Type, op: Operation) -> str | None:
    """The C type of a lane's share of an ``!gpu.mma_matrix``; None for another type, DlirError if there is none."""
    matrix = matrix_of(type)
    if matrix is None:
        return None
    dtypes = (F32,) if matrix.operand == "COp" else (F16, BF16)
    if (matrix.rows, matrix.columns) != SHAPE[:2] or matrix.dtype not in dtypes:
        raise DlirError(f"the CUDA backend has no code for {type}", op.location)
    return "dl_sums" if matrix.operand == "COp" else "dl_factors"


def load_matrix(op: Operation, element: str) -> str:
    """The text of a ``gpu.subgroup_mma_load_matrix`` whose first element is `element`."""
    matrix = _matrix(op, op.results[0].type)
    if matrix.operand == "COp":
        raise DlirError("the CUDA backend loads factors only, not sums", op.location)
    is_right = matrix.operand == "BOp"
    function = "dl_load_shared" if op.operands[0].type.space is WORKGROUP else "dl_load_factors"
    arguments = f"{_bool(is_right)}, {_bool('transpose' in op.attributes)}"
    return f"{function}<{arguments}>(&{element}, {op.get('leadDimension')})"


def store_matrix(op: Operation, value: str, element: str) -> str:
    """The text of a ``gpu.subgroup_mma_store_matrix`` to `element` and what follows it."""
    if "transpose" in op.attributes:
        raise DlirError("the CUDA backend stores sums by rows only", op.location)
    return f"dl_store_sums({value}, &{element}, {op.get('leadDimension')});"


def compute(op: Operation, operands: Sequence[str]) -> str:
    """The text of a ``gpu.subgroup_mma_compute``."""
    if op.attributes:
        raise DlirError("the CUDA backend multiplies matrices as they were loaded", op.location)
    dtype = _matrix(op, op.operands[0].type).dtype
    return f"dl_multiply_{dtype}({', '.join(operands)})"


def constant_matrix(op: Operation, operands: Sequence[str]) -> str:
    """The text of a ``gpu.subgroup_mma_constant_matrix``."""
    if _matrix(op, op.results[0].type).operand != "COp":
        raise DlirError("the CUDA backend fills sums only, not factors", op.location)
    return f"dl_sums_of({operands[0]})"


def _matrix(op: Operation, type: Type) -> Matrix:
    matrix_type(type, op)
    found = matrix_of(type)
    assert found is not None
    return found


def _bool(value: bool) -> str:
    return "true" if value else "false"


#: Neighbours in memory, moved at once: aligned to their size, which is a power of two.
VECTORS = """template <class T, int N>
struct __align__(sizeof(T) * N) dl_vector {
  T of[N];
};
template <class V, class T>
__device__ __forceinline__ V dl_splat(T value) {
  V found;
#pragma unroll
  for (int i = 0; i < (int)(sizeof(V) / sizeof(T)); i++) found.of[i] = value;
  return found;
}
"""

#: A lane's share of matrices.
SHARES = """struct dl_factors {
  unsigned of[4];
};
struct dl_sums {
  float of[8];
};
"""

#: Moving them; `g` and `t` are a lane's place among the eight rows and four pairs of columns of PTX's fragments.
MATRICES = """__device__ __forceinline__ dl_sums dl_sums_of(float value) {
  return {{value, value, value, value, value, value, value, value}};
}
// Two 16-bit elements of a row of a left factor, or of a column of a right one, in each register.
template <bool is_right, bool transpose, class T>
__device__ __forceinline__ dl_factors dl_load_factors(const T* p, int stride) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  dl_factors found;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int line = g + 8 * (is_right ? i / 2 : i % 2), k = 2 * t + 8 * (is_right ? i % 2 : i / 2);
    const bool by_lines = is_right == transpose;
    const T* q = p + (by_lines ? line * stride + k : k * stride + line);
    found.of[i] = dl_bits(q[0]) | dl_bits(q[by_lines ? 1 : stride]) << 16;
  }
  return found;
}
// PTX's ldmatrix: each lane gives a row of eight elements, eight lanes a matrix, and each register holds a pair of one matrix.
template <bool transpose, class T>
__device__ __forceinline__ dl_factors dl_ldmatrix(const T* row) {
  dl_factors found;
#if __CUDA_ARCH__ >= 750
  const unsigned place = (unsigned)__cvta_generic_to_shared(row);
  if (transpose)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found.of[0]), "=r"(found.of[1]), "=r"(found.of[2]), "=r"(found.of[3]) : "r"(place) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found.of[0]), "=r"(found.of[1]), "=r"(found.of[2]), "=r"(found.of[3]) : "r"(place) : "memory");
#else
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const T* first = (const T*)__shfl_sync(0xffffffffu, (unsigned long long)row, 8 * i + (transpose ? 2 * t : g), 32);
    const T* second = (const T*)__shfl_sync(0xffffffffu, (unsigned long long)row, 8 * i + (transpose ? 2 * t + 1 : g), 32);
    found.of[i] = dl_bits(first[transpose ? g : 2 * t]) | dl_bits(second[transpose ? g : 2 * t + 1]) << 16;
  }
#endif
  return found;
}
template <bool is_right, bool transpose, class T>
__device__ __forceinline__ dl_factors dl_load_shared(const T* p, int stride) {
  const int lane = threadIdx.x % 32;
  const int row = transpose ? lane / 16 * 8 + lane % 8 : lane % 16, column = transpose ? lane / 8 % 2 * 8 : lane / 16 * 8;
  return dl_ldmatrix<is_right != transpose>(p + row * stride + column);
}
__device__ __forceinline__ void dl_store_sums(const dl_sums& sums, float* p, int stride) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < 8; i++) p[(g + i % 4 / 2 * 8) * stride + i / 4 * 8 + 2 * t + i % 2] = sums.of[i];
}
"""

_SUMS = '"+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])'
#: Two instructions take the halves of the depth, where there is none for the whole.
_OLDER = f"""#elif __CUDA_ARCH__ >= 750
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {{%0, %1, %2, %3}}, {{%4, %5}}, {{%6}}, {{%0, %1, %2, %3}};"
        : {_SUMS} : "r"(a.of[0]), "r"(a.of[1]), "r"(b.of[2 * half]));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {{%0, %1, %2, %3}}, {{%4, %5}}, {{%6}}, {{%0, %1, %2, %3}};"
        : {_SUMS} : "r"(a.of[2]), "r"(a.of[3]), "r"(b.of[2 * half + 1]));
"""


def _multiplication(ptx: str, ctype: str, as_short: str, as_float: str, older: str) -> str:
    """What depends on the factors' element type."""
    return f"""__device__ __forceinline__ unsigned dl_bits({ctype} value) {{ return (unsigned short){as_short}(value); }}
__device__ __forceinline__ float dl_float_{ptx}(unsigned bits) {{ return {as_float}((short)bits)); }}
// Columns 0 to 7 of the product, then 8 to 15.  Without the instruction each lane fetches its rows and columns from the others.
__device__ __forceinline__ dl_sums dl_multiply_{ptx}(const dl_factors& a, const dl_factors& b, dl_sums sums) {{
#pragma unroll
  for (int half = 0; half < 2; half++) {{
    float* c = sums.of + 4 * half;
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.{ptx}.{ptx}.f32 "
        "{{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
        : {_SUMS} : "r"(a.of[0]), "r"(a.of[1]), "r"(a.of[2]), "r"(a.of[3]), "r"(b.of[2 * half]), "r"(b.of[2 * half + 1]));
{older}#else
    const int lane = threadIdx.x % 32, row = lane / 4 * 4, column = lane % 4 * 8;
#pragma unroll
    for (int i = 0; i < 2; i++) {{
#pragma unroll 1
      for (int from = 0; from < 4; from++) {{
        const unsigned upper = __shfl_sync(0xffffffffu, (int)a.of[2 * i], row + from, 32);
        const unsigned lower = __shfl_sync(0xffffffffu, (int)a.of[2 * i + 1], row + from, 32);
        const unsigned left = __shfl_sync(0xffffffffu, (int)b.of[2 * half + i], column + from, 32);
        const unsigned right = __shfl_sync(0xffffffffu, (int)b.of[2 * half + i], column + 4 + from, 32);
#pragma unroll
        for (int k = 0; k < 32; k += 16) {{
          c[0] = fmaf(dl_float_{ptx}(upper >> k), dl_float_{ptx}(left >> k), c[0]);
          c[1] = fmaf(dl_float_{ptx}(upper >> k), dl_float_{ptx}(right >> k), c[1]);
          c[2] = fmaf(dl_float_{ptx}(lower >> k), dl_float_{ptx}(left >> k), c[2]);
          c[3] = fmaf(dl_float_{ptx}(lower >> k), dl_float_{ptx}(right >> k), c[3]);
        }}
      }}
    }}
#endif
  }}
  return sums;
}}
"""


HALF_PRODUCTS = _multiplication("f16", "__half", "__half_as_short", "__half2float(__short_as_half", _OLDER)
BFLOAT_PRODUCTS = _multiplication(
    "bf16", "__nv_bfloat16", "__bfloat16_as_short", "__bfloat162float(__short_as_bfloat16", ""
)
