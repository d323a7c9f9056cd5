"""cuda-sim: correct kernels compute what they should in every order of threads, and planted bugs are caught."""

import numpy as np
import pytest

from dlir.backends.cuda.sim import toolchain
from dlir.backends.cuda.sim.module import ORDERS, KernelFault, SimModule
from dlir.ir.errors import DlirError

pytestmark = pytest.mark.usefixtures("needs_sim")

POINTWISE = """
extern "C" __global__ void __launch_bounds__(256)
axpy(const float* __restrict__ x, float* __restrict__ y, float a, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) y[i] = a * x[i] + y[i];
}
"""
BLOCK_SUM = """
extern "C" __global__ void block_sum(const float* x, float* y, int n) {
  __shared__ float s[4];
  float v = 0.0f;
  for (int i = threadIdx.x; i < n; i += 128) v += x[blockIdx.x * n + i];
  for (int o = 1; o < 32; o *= 2) v += __shfl_xor_sync(0xffffffffu, v, o, 32);
  if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = v;
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = s[0] + s[1] + s[2] + s[3];
}
"""
TRANSPOSE = """
extern "C" __global__ void transpose(const double* x, double* y) {
  __shared__ double tile[16][17];
  tile[threadIdx.y][threadIdx.x] = x[(blockIdx.y * 16 + threadIdx.y) * 48 + blockIdx.x * 16 + threadIdx.x];
  __syncthreads();
  y[(blockIdx.x * 16 + threadIdx.y) * 32 + blockIdx.y * 16 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}
"""


def launch(text, grid, block, args, **options):
    """Run the only kernel of `text`."""
    module = SimModule(text)
    (name,) = module.names
    module.kernel(name)(grid, block, args, **options)


def one_block(body, threads=64, size=64, before=""):
    """Run `body` for one block with `float* y` (of `size` zeros) and `int t`, the thread; the final y."""
    y = np.zeros(size, np.float32)
    text = f'{before}\nextern "C" __global__ void k(float* y) {{ int t = threadIdx.x; {body} }}'
    launch(text, (1,), (threads,), (y,))
    return y


# ---------------------------------------------------------------- kernels that are right


@pytest.mark.parametrize("order", ORDERS)
def test_pointwise(order):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 1000)).astype(np.float32)
    want = np.float32(0.5) * x + y
    launch(POINTWISE, (2,), (256,), (x, y, np.float32(0.5), np.int32(1000)), order=order, seed=3)
    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("order", ORDERS)
def test_reduction_with_shuffles_and_shared_memory(order):
    x = np.arange(5 * 200, dtype=np.float32).reshape(5, 200)
    y = np.zeros(5, np.float32)
    launch(BLOCK_SUM, (5,), (128,), (x, y, np.int32(200)), order=order, seed=1)
    np.testing.assert_array_equal(y, x.sum(1))


@pytest.mark.parametrize("order", ORDERS)
def test_two_dimensional_blocks_through_shared_memory(order):
    x = np.arange(32 * 48, dtype=np.float64).reshape(32, 48)
    y = np.zeros((48, 32))
    launch(TRANSPOSE, (3, 2), (16, 16), (x, y), order=order)
    np.testing.assert_array_equal(y, x.T)


@pytest.mark.parametrize(
    ("call", "want"),
    [
        ("__shfl_xor_sync(0xffffffffu, v, 5, 32)", lambda t: t ^ 5),
        ("__shfl_up_sync(0xffffffffu, v, 3, 32)", lambda t: np.where(t % 32 < 3, t, t - 3)),
        ("__shfl_down_sync(0xffffffffu, v, 3, 8)", lambda t: np.where(t % 8 > 4, t, t + 3)),
        ("__shfl_sync(0xffffffffu, v, 35, 16)", lambda t: t // 16 * 16 + 3),
    ],
)
def test_shuffle_modes_follow_the_ptx_definition(call, want):
    np.testing.assert_array_equal(one_block(f"float v = t; y[t] = {call};"), want(np.arange(64)))


def test_half_warps_shuffle_apart():
    body = "float v = t; unsigned m = t % 32 < 16 ? 0xffffu : 0xffff0000u; y[t] = __shfl_xor_sync(m, v, 1, 32);"
    np.testing.assert_array_equal(one_block(body), np.arange(64) ^ 1)


def test_small_floats_convert_as_numpy_does():
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    values = np.concatenate([high | low for low in (0, 0x1000, 0x3000, 0x7FFF, 0x8000)]).view(np.float32)
    values = values[~np.isnan(values)]
    half, back = np.zeros(values.size, np.uint16), np.zeros(values.size, np.float32)
    text = """
#include <cuda_fp16.h>
extern "C" __global__ void k(const float* x, __half* y, float* z, int n) {
  for (int i = threadIdx.x; i < n; i += 64) { __half h = __float2half_rn(x[i]); y[i] = h; z[i] = __half2float(h); }
}"""
    launch(text, (1,), (64,), (values, half, back, np.int32(values.size)))
    with np.errstate(over="ignore"):
        want = values.astype(np.float16)
    np.testing.assert_array_equal(half, want.view(np.uint16))
    np.testing.assert_array_equal(back, want.astype(np.float32))

    import ml_dtypes

    launch(text.replace("fp16", "bf16").replace("__float2half_rn", "__float2bfloat16_rn")
           .replace("__half2float", "__bfloat162float").replace("__half", "__nv_bfloat16"),
           (1,), (64,), (values, half, back, np.int32(values.size)))  # fmt: skip
    np.testing.assert_array_equal(half, values.astype(ml_dtypes.bfloat16).view(np.uint16))


def test_overlapping_arguments_see_each_other():
    memory = np.arange(64, dtype=np.float32)
    text = 'extern "C" __global__ void k(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] + 1.0f; }'
    launch(text, (1,), (32,), (memory, memory))
    np.testing.assert_array_equal(memory, np.r_[np.arange(1, 33), np.arange(32, 64)])
    launch(text, (1,), (16,), (memory[:32], memory[16:48]))
    np.testing.assert_array_equal(memory[16:32], np.arange(2, 18))


def test_fibers_of_the_portable_kind_agree(monkeypatch):
    monkeypatch.setattr(toolchain, "_COMMON", (*toolchain._COMMON, "-DDLIR_SIM_UCONTEXT"))
    toolchain._runtime_objects.cache_clear()
    try:
        test_reduction_with_shuffles_and_shared_memory("random")
        with pytest.raises(KernelFault, match="divergence"):
            one_block("if (t < 40) __syncthreads(); y[t] = 1.0f;")
    finally:
        toolchain._runtime_objects.cache_clear()


# ---------------------------------------------------------------- kernels that are wrong


def test_missing_barrier_is_a_race():
    with pytest.raises(KernelFault, match=r"data race: this read of shared memory .* thread|uninitialised"):
        one_block("__shared__ float s[64]; s[t] = t; y[t] = s[63 - t];")


def test_missing_barrier_between_read_and_overwrite_is_a_race():
    body = "__shared__ float s[64]; s[t] = t; __syncthreads(); float v = s[63 - t]; s[t] = v; y[t] = v;"
    with pytest.raises(KernelFault, match=r"data race: this read of shared memory at byte 124 .* thread 31's access"):
        one_block(body)


def test_missing_barrier_inside_a_tree_reduction_is_a_race():
    body = "__shared__ float s[64]; s[t] = t; __syncthreads();"
    body += "for (int k = 32; k; k /= 2) if (t < k) s[t] += s[t + k]; y[t] = s[0];"
    with pytest.raises(KernelFault, match="data race"):
        one_block(body)


def test_two_threads_writing_one_place_is_a_race():
    with pytest.raises(KernelFault, match=r"data race: this write at byte 0 of argument 0 .* thread 0's access"):
        one_block("y[t / 2] = 1.0f;")


def test_two_blocks_touching_one_place_is_a_race():
    y = np.zeros(64, np.float32)
    for body in ("y[t] = 1.0f;", "if (blockIdx.x) y[t] = 1.0f; else y[63 - t] = y[t] + 1.0f;"):
        text = f'extern "C" __global__ void k(float* y) {{ int t = threadIdx.x; {body} }}'
        with pytest.raises(KernelFault, match=r"data race.*(another block|thread)"):
            launch(text, (2,), (64,), (y,))


def test_uninitialised_shared_memory_is_caught():
    with pytest.raises(KernelFault, match="read of uninitialised shared memory at byte 128"):
        one_block("__shared__ float s[64]; if (t < 32) s[t] = 1.0f; __syncthreads(); y[t] = s[t];")


def test_shared_memory_does_not_survive_a_block():
    body = "__shared__ float s[64]; int t = threadIdx.x, b = blockIdx.x; if (b == 0) s[t] = 1.0f; y[b * 64 + t] = s[t];"
    with pytest.raises(KernelFault, match=r"block \(1, 0, 0\).*uninitialised"):
        launch(f'extern "C" __global__ void k(float* y) {{ {body} }}', (2,), (64,), (np.zeros(128, np.float32),))


def test_barrier_not_reached_by_all_threads_is_caught():
    with pytest.raises(KernelFault, match="waits at the barrier of line 2, while thread 40 has returned"):
        one_block("if (t < 40) __syncthreads(); y[t] = 1.0f;")


def test_two_different_barriers_do_not_match():
    body = "if (t < 32)\n __syncthreads();\n else\n __syncthreads();\n y[t] = 1.0f;"
    with pytest.raises(KernelFault, match="barrier of line 3, while thread 32 waits at the barrier of line 5"):
        one_block(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("float v = t; if (t % 32 < 16) v = __shfl_xor_sync(0xffffffffu, v, 1, 32); y[t] = v;", "divergence"),
        ("float v = t; y[t] = __shfl_xor_sync(0x0000ffffu, v, 1, 32);", "without the calling lane 16"),
        ("float v = t; if (t < 16) v = __shfl_xor_sync(0xffffu, v, 16, 32); y[t] = v;", "reads lane 16"),
        ("float v = t; if (t < 8) __syncthreads(); y[t] = __shfl_xor_sync(0xffffffffu, v, 1, 32);", "at the barrier"),
    ],
)
def test_bad_shuffles_are_caught(body, message):
    with pytest.raises(KernelFault, match=message):
        one_block(body)


def test_shuffle_needs_whole_warps():
    with pytest.raises(KernelFault, match="lanes that the block does not have"):
        one_block("float v = t; y[t] = __shfl_xor_sync(0xffffffffu, v, 1, 32);", threads=16)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y[t + 1] = 1.0f;", "write of 4 bytes out of bounds, at byte 256 of argument 0, which has 256"),
        ("y[t] = y[t - 1];", "read of 4 bytes out of bounds, at byte -4 of argument 0"),
        ("y[t + 2048] = 1.0f;", "out of bounds"),
        ("__shared__ float s[32]; s[t] = 1.0f; y[t] = s[t];", "index out of bounds of an array at line 2"),
        ("float a[4]; for (int i = 0; i <= t % 8; i++) a[i] = t; y[t] = a[t % 4];", "index out of bounds of an array"),
        ("*(float4*)(y + t) = make();", "misaligned access"),
        ("y[t] = (float)(7 / (t - 3));", "integer division by zero"),
        ("y[t] = (float)((t + 2147483600) * 1);", "signed integer overflow in an addition"),
        ("y[t] = (float)(1 << t);", "shift by"),
    ],
)
def test_undefined_behaviour_is_caught(body, message):
    with pytest.raises(KernelFault, match=message):
        one_block(body, before="__device__ float4 make() { float4 v; v.x = v.y = v.z = v.w = 0.0f; return v; }")


def test_neighbouring_arrays_do_not_hide_an_overrun():
    memory = np.zeros(128, np.float32)
    text = 'extern "C" __global__ void k(float* x, float* y) { y[threadIdx.x] = x[threadIdx.x + 1]; }'
    with pytest.raises(KernelFault, match="at byte 256 of argument 0"):
        launch(text, (1,), (64,), (memory[:64], memory[64:]))


def test_writing_to_a_read_only_array_is_caught():
    y = np.zeros(64, np.float32)
    y.flags.writeable = False
    with pytest.raises(KernelFault, match="argument 0 is read-only"):
        launch('extern "C" __global__ void k(float* y) { y[threadIdx.x] = 1.0f; }', (1,), (64,), (y,))
    assert not y.any()


# ---------------------------------------------------------------- launches that CUDA refuses


@pytest.mark.parametrize(
    ("grid", "block", "args", "message"),
    [
        ((0,), (64,), 1, "grid"),
        ((1, 65536), (64,), 1, "grid"),
        ((1,), (2048,), 1, "block"),
        ((1,), (64,), 2, "takes 1 arguments, not 2"),
    ],
)
def test_impossible_launches_are_refused(grid, block, args, message):
    text = 'extern "C" __global__ void k(float* y) { y[0] = 1.0f; }'
    with pytest.raises(ValueError, match=message):
        launch(text, grid, block, (np.zeros(1, np.float32),) * args)


def test_text_outside_the_vocabulary_does_not_compile():
    with pytest.raises(RuntimeError, match="__nanosleep"):
        SimModule('extern "C" __global__ void k(float* y) { __nanosleep(1); }')


def test_without_a_compiler_the_error_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    with pytest.raises(DlirError, match=r"g\+\+"):
        SimModule("")
