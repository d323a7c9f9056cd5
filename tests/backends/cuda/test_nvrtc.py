"""NVRTC through ctypes: text to cubin with no GPU."""

import pytest

from dlir.backends.cuda import nvrtc
from dlir.ir.errors import DlirError

pytestmark = pytest.mark.usefixtures("needs_nvrtc")

SCALE = """
extern "C" __global__ void scale(const float* x, float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
"""


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_text_becomes_a_cubin_for_the_asked_architecture(arch):
    compiled = nvrtc.compile_cubin(SCALE, arch)
    assert compiled.image[:4] == b"\x7fELF"
    assert arch in compiled.log


def test_usage_reports_registers_and_shared_memory_of_each_kernel():
    text = SCALE + SCALE.replace("scale", "twice").replace("[64]", "[128]")
    first, second = nvrtc.compile_cubin(text).usage
    assert (first.name, first.shared) == ("scale", 256)
    assert (second.name, second.shared) == ("twice", 512)
    assert first.registers > 0 and first.spill_stores == 0


def test_spills_are_reported():
    body = "".join(f"float a{i} = x[{i} * 1024 + threadIdx.x];" for i in range(96))
    body += "__syncthreads();" + "".join(f"y[{i} * 1024 + threadIdx.x] = a{i};" for i in reversed(range(96)))
    text = f'extern "C" __global__ void __launch_bounds__(1024) spill(const float* x, float* y) {{ {body} }}'
    (usage,) = nvrtc.compile_cubin(text).usage
    assert usage.registers <= 64 and usage.spill_stores > 0 and usage.spill_loads > 0


def test_the_cache_returns_what_was_compiled(monkeypatch):
    text = SCALE.replace("scale", "cached")
    compiled = nvrtc.compile_cubin(text)

    def refuse(source, arch):
        raise AssertionError("compiled again")

    monkeypatch.setattr(nvrtc, "_compile", refuse)
    assert nvrtc.compile_cubin(text) == compiled
    with pytest.raises(AssertionError, match="compiled again"):
        nvrtc.compile_cubin(text, "sm_90")


def test_refused_text_raises_with_nvrtc_messages():
    with pytest.raises(nvrtc.CompileError, match=r'kernels.cu\(1\): error: identifier "nothing" is undefined'):
        nvrtc.compile_cubin('extern "C" __global__ void f(float* y) { y[0] = nothing; }')


def test_unknown_architecture_is_an_error_that_lists_the_known_ones():
    with pytest.raises(DlirError, match="'sm_20'") as caught:
        nvrtc.compile_cubin(SCALE, "sm_20")
    assert "sm_80" in (caught.value.diagnostics[0].hint or "")


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    nvrtc._library.cache_clear()
    monkeypatch.setattr(nvrtc, "find_library", lambda name: None)
    monkeypatch.setattr(nvrtc.ctypes, "CDLL", _refuse_to_load)
    try:
        assert "NVRTC" in (nvrtc.unavailable() or "")
        with pytest.raises(DlirError) as caught:
            nvrtc.compile_cubin(SCALE)
        assert "dlir[cuda13]" in (caught.value.diagnostics[0].hint or "")
    finally:
        nvrtc._library.cache_clear()


def _refuse_to_load(name):
    raise OSError(name)


def test_products_are_not_contracted_into_fused_multiply_adds():
    text = 'extern "C" __global__ void f(const float* x, float* y) { y[0] = x[0] * x[1] - x[2] * x[3]; }'
    fused = 'extern "C" __global__ void f(const float* x, float* y) { y[0] = fmaf(x[0], x[1], -(x[2] * x[3])); }'
    # Without contraction one more instruction is needed, so the two differ.
    assert nvrtc.compile_cubin(text).image != nvrtc.compile_cubin(fused).image
