"""Contractions on tensor cores: 16-bit factors and float sums, in cuda-sim, against NumPy and torch; NVRTC compiles all."""

import numpy as np
import pytest

from dlir.backends.cuda import nvrtc
from dlir.backends.cuda.emit import emit_kernels
from dlir.backends.cuda.sim.module import KernelFault, SimModule
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import BF16, F16, F32
from dlir.passes.targets import cuda
from dlir.textir.parser import parse
from dlir.textir.printer import print_module

rng = np.random.default_rng(3)

#: The distance of neighbours just above 1.
STEP = {F16: 2.0**-10, BF16: 2.0**-7}


def draw(dtype, *shape):
    return rng.standard_normal(shape).astype(dtype.numpy)


def check(runs, want, dtype):
    """All runs gave the exact result rounded once, up to the order in which floats were summed."""
    want = np.asarray(want, np.float64)
    for (found,) in runs:
        assert found.dtype == dtype.numpy and found.shape == want.shape
        tolerance = STEP.get(dtype, 1e-5) * np.abs(want) + 1e-4 * np.abs(want).max(initial=1e-30)
        assert np.all(np.abs(found.astype(np.float64) - want) <= tolerance)


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


def uses_matrices(module):
    return any(op.name == "gpu.subgroup_mma_compute" for op in module.walk())


# ---------------------------------------------------------------- products


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("sizes", [(16, 16, 16), (33, 70, 45), (64, 8, 40), (40, 129, 16), (9, 1, 9)], ids=str)
def test_matmul(compiled, dtype, sizes):
    m, k, n = sizes
    a, b = draw(dtype, m, k), draw(dtype, k, n)
    module, runs = compiled(lambda a, b: nd.matmul(a, b), a, b)
    assert uses_matrices(module)
    check(runs, np.matmul(*wide(a, b)), dtype)


@pytest.mark.parametrize("flags", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("sizes", [(40, 64, 48), (21, 35, 27)], ids=["aligned", "odd"])
def test_batched_and_transposed_with_epilogue(compiled, flags, sizes):
    m, k, n = sizes
    a, b, bias, residual = draw(F16, 2, m, k), draw(F16, 2, k, n), draw(F16, n), draw(F16, 2, m, n)
    left = a.swapaxes(1, 2).copy() if flags[0] else a
    right = b.swapaxes(1, 2).copy() if flags[1] else b

    def compute(a, b, bias, residual):
        product = nd.cast(nd.matmul(a, b, transpose_a=flags[0], transpose_b=flags[1]), dtype=F32)
        biased = nd.add(product, nd.cast(bias, dtype=F32))
        return nd.add(nd.relu(biased), nd.cast(residual, dtype=F32))

    module, runs = compiled(compute, left, right, bias, residual)
    assert uses_matrices(module) and sum(op.name == "gpu.launch_func" for op in module.walk()) == 1
    a, b, bias, residual = wide(a, b, bias, residual)
    want = np.maximum((a @ b).astype(np.float16).astype(np.float64) + bias, 0) + residual
    for (found,) in runs:
        np.testing.assert_allclose(found, want, rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize("tile", [(128, 128, 32), (64, 64, 32), (32, 32, 32)], ids=str)
@pytest.mark.parametrize("transpose", [False, True])
def test_every_tile(compiled, monkeypatch, tile, transpose):
    """Small integers, whose sums are exact in any order."""
    monkeypatch.setattr(cuda, "mma_tile_for", lambda roles, blocks: tile)
    a, b = (rng.integers(-4, 5, shape).astype(np.float16) for shape in ((136, 72), (72, 144)))
    right = b.T.copy() if transpose else b
    _, runs = compiled(lambda a, b: nd.matmul(a, b, transpose_b=transpose), a, right)
    for (found,) in runs:
        np.testing.assert_array_equal(found.astype(np.float32), a.astype(np.float32) @ b.astype(np.float32))


def test_sums_are_floats(compiled):
    """2048 + 1 + 1 + ... in half stays 2048."""
    a, b = np.ones((16, 513), np.float16), np.ones((513, 16), np.float16)
    a[:, 0] = 2048
    _, runs = compiled(lambda a, b: nd.matmul(a, b), a, b)
    for (found,) in runs:
        np.testing.assert_array_equal(found, np.full((16, 16), 2560, np.float16))


def test_a_computed_factor_is_rounded_as_the_op_rounds_it(compiled):
    a, b = draw(F16, 24, 32), draw(F16, 32, 40)
    _, runs = compiled(lambda a, b: nd.matmul(nd.relu(nd.mul(a, 3.0)), b), a, b)
    factor = np.maximum((a.astype(np.float32) * 3).astype(np.float16), 0)
    check(runs, np.matmul(*wide(factor, b)), F16)


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((2, 5, 9, 11), (18, 5, 3, 3), {"padding": (1, 1)}),
        ((2, 16, 8, 8), (16, 16, 1, 1), {}),
        ((2, 6, 9, 9), (16, 3, 3, 3), {"groups": 2, "stride": (2, 2)}),
        ((3, 4, 20), (10, 4, 5), {"dilation": (2,), "padding": (3,)}),
    ],
)
def test_convolution_with_epilogue(compiled, dtype, shape, kernel, options):
    torch = pytest.importorskip("torch")
    x, w = draw(dtype, *shape), draw(dtype, *kernel)
    function = getattr(torch.nn.functional, f"conv{len(shape) - 2}d")
    want = torch.relu(function(*map(torch.tensor, wide(x, w)), **options)).numpy()
    module, runs = compiled(lambda x, w: nd.relu(nd.conv(x, w, **options)), x, w)
    assert uses_matrices(module)
    check(runs, want, dtype)


# ---------------------------------------------------------------- what they are made of

FRAGMENTS = """
  __shared__ __align__(16) __half s[16 * 24];
  for (int i = threadIdx.x; i < 16 * 24; i += 32) s[i] = x[i];
  __syncthreads();
  const dl_factors a = dl_load_shared<RIGHT, TRANSPOSE>(s, 24), b = dl_load_factors<RIGHT, TRANSPOSE>(x, 24);
  for (int i = 0; i < 4; i++) y[32 * i + threadIdx.x] = a.of[i] == b.of[i] ? a.of[i] : 0xffffffffu;
  // dl_multiply_f16 dl_sums
"""


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_fragments_are_those_of_the_ptx_manual(needs_sim, right, transpose):
    """m16n8k16's layout: row or column g (and g + 8), products 2t and 2t + 1 (and 8 more), for lane 4g + t.

    Rows given to ldmatrix must lead to the same registers.
    """
    from dlir.backends.cuda.prelude import prelude_for

    body = FRAGMENTS.replace("RIGHT", str(right).lower()).replace("TRANSPOSE", str(transpose).lower())
    kernel = f'extern "C" __global__ void f(const __half* x, unsigned* y) {{{body}}}'
    x = np.arange(16 * 24, dtype=np.float16).reshape(16, 24)
    y = np.zeros((4, 8, 4), np.uint32)
    SimModule(prelude_for(kernel) + kernel).kernel("f")((1, 1, 1), (32, 1, 1), [x, y])
    by_lines = x[:, :16] if right == transpose else x[:, :16].T
    g, t = np.arange(8)[:, None], np.arange(4)[None, :]
    for register in range(4):
        line = g + 8 * (register // 2 if right else register % 2)
        k = 2 * t + 8 * (register % 2 if right else register // 2)
        np.testing.assert_array_equal(y[register] & 0xFFFF, by_lines[line, k].view(np.uint16))
        np.testing.assert_array_equal(y[register] >> 16, by_lines[line, k + 1].view(np.uint16))


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", [F16, BF16, F32], ids=str)
@pytest.mark.parametrize("transpose", [False, True])
def test_large_tiles_do_not_spill(mapped, needs_nvrtc, arch, dtype, transpose):
    x, w, bias = (np.zeros(shape, dtype.numpy) for shape in ((2048, 2048), (2048, 2048), (2048,)))

    def compute(x, w, bias):
        return nd.relu(nd.add(nd.matmul(x, w, transpose_b=transpose), bias))

    (usage,) = nvrtc.compile_cubin(emit_kernels(mapped(compute, x, w, bias)).text, arch).usage
    assert usage.spill_stores == 0 and usage.shared <= 48 << 10
    if arch != "sm_75":
        assert usage.registers <= 128  # two blocks of 256 threads


def test_the_text_has_the_instructions(mapped):
    x = np.zeros((64, 64), np.float16)
    text = emit_kernels(mapped(lambda x: nd.matmul(x, x), x)).text
    assert "mma.sync.aligned.m16n8k16" in text and "ldmatrix.sync.aligned" in text


def test_every_barrier_is_needed(mapped, load_sim):
    a, b = draw(F16, 40, 72), draw(F16, 72, 40)
    for number in range(3):
        module = mapped(lambda a, b: nd.matmul(a, b), a, b)
        [op for op in module.walk() if op.name == "gpu.barrier"][number].erase()
        with pytest.raises(KernelFault, match=r"data race|uninitialised"):
            load_sim(module)(a, b)


def test_the_text_form_comes_back(mapped):
    a, b = draw(F16, 40, 72), draw(F16, 72, 40)
    text = print_module(mapped(lambda a, b: nd.matmul(a, b), a, b))
    assert '!gpu.mma_matrix<16x16xf32, "COp">' in text
    assert print_module(parse(text)) == text


# ---------------------------------------------------------------- schedules in the text


@pytest.mark.parametrize(
    ("dtype", "tile", "message"),
    [
        ("f32", "[64, 64, 32]", "its factors are not both f16 or both bf16"),
        ("f16", "[64, 48, 32]", r"the tile must be one of \[128, 128, 32\], \[64, 64, 32\], \[32, 32, 32\]"),
    ],
)
def test_a_schedule_that_does_not_fit(dtype, tile, message):
    from dlir.backends.compiler import lower_module

    text = f"""module {{
  func.func @main(%a: tensor<64x64x{dtype}>) -> tensor<64x64x{dtype}> {{
    %y = kernel.region %a {{schedule = "mma-tile", tile = array<i64: {tile[1:-1]}>}} ({{
    ^bb0(%x: tensor<64x64x{dtype}>):
      %p = nd.matmul %x, %x
      kernel.yield %p
    }}) : tensor<64x64x{dtype}>
    return %y
  }}
}}"""
    with pytest.raises(DlirError, match=message):
        lower_module(parse(text), "cuda")
