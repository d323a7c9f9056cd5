"""What a caller of the CUDA backend sees: arguments, results, memory and errors. cuda-sim stands in for the GPU."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from support.cublaslt_model import ModelLibrary

from dlir.backends.compiler import compile_module, lower_module
from dlir.backends.cuda import cublaslt, launcher, nvrtc, simulated
from dlir.backends.cuda.backend import load, load_on
from dlir.backends.cuda.sim.module import KernelFault, SimModule
from dlir.backends.cuda.simulated import SimDevice
from dlir.ir.errors import DlirError
from dlir.ir.ops import nd
from dlir.ir.types import BF16
from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager
from dlir.textir.parser import parse

pytestmark = pytest.mark.usefixtures("needs_sim")

rng = np.random.default_rng(4)

NETWORK = """
module {
  state.variable @w {init = dense_resource<w> : tensor<6x4xf32>, type = tensor<6x4xf32>}
  state.variable @b {init = dense<0.5> : tensor<4xf32>, type = tensor<4xf32>}
  func.func @main(%x: tensor<3x6xf32>, %y: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3xf32>) {
    %w = state.read @w : tensor<6x4xf32>
    %b = state.read @b : tensor<4xf32>
    %p = nd.matmul %x, %w
    %q = nd.add %p, %b
    %r = nd.mul %q, %y
    %s = nd.sum %q {axes = array<i64: 1>}
    return %r, %s
  }
}
"""
DONATING = """
module {
  func.func @main(%x: tensor<5xf32> {dlir.donated}, %y: tensor<5xf32>) -> tensor<5xf32> {
    %z = nd.add %x, %y
    return %z
  }
}
"""


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """NETWORK compiled, and its weights."""
    w = f32(6, 4)
    return compile_module(verified(parse(NETWORK)), {"w": w}.__getitem__, backend="cuda-sim").executable, w


def expected(x, y, w):
    q = x @ w + np.float32(0.5)
    return q * y, q.sum(1)


def close(found, want):
    for one, two in zip(found, want, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- arguments and results


def test_arguments_in_order_by_name_and_in_any_layout(network):
    run, w = network
    x, y = f32(3, 6), f32(3, 4)
    close(run(x, y), expected(x, y, w))
    close(run(y=y, x=x), expected(x, y, w))
    close(run(np.asfortranarray(x), np.repeat(y, 2, 1)[:, ::2]), expected(x, y, w))
    close(run(x.tolist(), y.tolist()), expected(x, y, w))


def test_results_are_new_and_inputs_are_untouched(network):
    run, _ = network
    x, y = f32(3, 6), f32(3, 4)
    before = x.copy(), y.copy()
    first, second = run(x, y), run(x, y)
    assert not np.shares_memory(first[0], second[0])
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_results_go_to_the_arrays_that_are_given(network):
    run, w = network
    x, y = f32(3, 6), f32(3, 4)
    out = np.zeros((4, 3), np.float32).T, np.zeros(3, np.float32)
    found = run(x, y, out=out)
    assert found[0] is out[0] and found[1] is out[1]
    close(out, expected(x, y, w))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (((3, 6),), "needs argument 'y'"),
        (((3, 6), (3, 4), (1,)), "takes 2 arguments"),
        (((3, 7), (3, 4)), r"needs float32 of shape \[3, 6\] for argument 'x', got float32 of shape \[3, 7\]"),
    ],
)
def test_arguments_that_do_not_fit(network, args, message):
    with pytest.raises(DlirError, match=message):
        network[0](*(f32(*shape) for shape in args))


def test_out_that_does_not_fit(network):
    with pytest.raises(DlirError, match="gives 2 results, got 1 arrays"):
        network[0](f32(3, 6), f32(3, 4), out=[np.zeros((3, 4), np.float32)])


def test_weights_that_are_missing():
    with pytest.raises(DlirError, match="needs the array 'w', but there are no weights"):
        compile_module(verified(parse(NETWORK)), None, backend="cuda-sim")


def test_a_donated_input():
    run = compile_module(verified(parse(DONATING)), backend="cuda-sim").executable
    x, y = f32(5), f32(5)
    want = x + y
    close(run(x, y), [want])
    with pytest.raises(DlirError, match="takes argument 'x' as donated, but 'y' shares its memory"):
        run(x, x)


def test_several_threads_may_call_at_once(network):
    run, w = network
    inputs = [(f32(3, 6), f32(3, 4)) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for (x, y), found in zip(inputs, pool.map(lambda pair: run(*pair), inputs), strict=True):
            close(found, expected(x, y, w))


def test_the_report_of_a_kernel_fault_names_kernel_and_thread(mapped):
    module = mapped(lambda x: nd.neg(x), np.zeros(100, np.float32))
    store = next(op for op in module.walk() if op.name == "memref.store")
    store.set_operand(2, next(op for op in module.walk() if op.name == "gpu.block_id").results[0])
    with pytest.raises(KernelFault, match=r"kernel_0: block \(0, 0, 0\), thread \(1, 0, 0\): data race"):
        simulated.load(module, "main", None)(f32(100))


# ---------------------------------------------------------------- arrays in the device's memory


class Native(np.ndarray):
    """An array that pretends to lie on the device."""


class NativeDevice(SimDevice):
    """A device that has arrays of its own, and counts what is copied to and from it."""

    reuses_memory = True
    copies = 0

    def is_native(self, value):
        return isinstance(value, Native)

    def upload(self, array, keep):
        NativeDevice.copies += 1
        return super().upload(array, keep)

    def download(self, array, dtype):
        NativeDevice.copies += 1
        return super().download(array, dtype)


def native(array):
    return array.view(Native)


def test_arrays_on_the_device_are_used_and_returned_there():
    lowered = lower_module(verified(parse(NETWORK)), "cuda")
    w = f32(6, 4)
    run = load_on(NativeDevice, lowered, "main", {"w": w}.__getitem__)
    x, y = f32(3, 6), f32(3, 4)
    uploaded = NativeDevice.copies
    for _ in range(3):
        close(run(native(x), native(y)), expected(x, y, w))
    assert NativeDevice.copies == uploaded
    out = native(np.zeros((3, 4), np.float32)), native(np.zeros(3, np.float32))
    assert run(native(x), native(y), out=out)[0] is out[0]
    close(out, expected(x, y, w))
    assert NativeDevice.copies == uploaded
    close(run(native(x), y), expected(x, y, w))
    assert NativeDevice.copies == uploaded + 1


def test_arrays_on_the_device_must_fit():
    run = load_on(NativeDevice, lower_module(verified(parse(DONATING)), "cuda"), "main", None)
    x, y = native(f32(5)), native(f32(5))
    with pytest.raises(DlirError, match=r"needs float32 of shape \[5\] for argument 'y', got float64"):
        run(x, y.astype(np.float64))
    with pytest.raises(DlirError, match="'y' shares its memory"):
        run(x, x)
    with pytest.raises(DlirError, match="must be contiguous"):
        run(native(f32(10))[::2], y)
    with pytest.raises(DlirError, match="at a multiple of 16 bytes"):
        run(native(f32(6))[1:], y)
    with pytest.raises(DlirError, match=r"needs float32 of shape \[5\] in out\[0\]"):
        run(x, y, out=[native(f32(6))])
    want = x + y
    (found,) = run(x, native(np.repeat(y, 2))[::2])
    assert np.shares_memory(found, x)
    close([found], [want])


# ---------------------------------------------------------------- CuPy, with cuda-sim for a GPU


class FakeModule:
    """``cupy.cuda.Module``: its image is the kernels' text."""

    def load(self, image):
        self.kernels = SimModule(image.decode())

    def get_function(self, name):
        return self.kernels.kernel(name)


class FakeDevice:
    """``cupy.cuda.Device``."""

    compute_capability = "90"
    id = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def fake_cupy(monkeypatch):
    """As much of CuPy as the launcher uses, in main memory."""
    stream = SimpleNamespace(ptr=0)
    cuda = SimpleNamespace(
        is_available=lambda: True, Device=FakeDevice, Module=FakeModule, get_current_stream=lambda: stream
    )
    monkeypatch.setattr(Native, "__cuda_array_interface__", {}, raising=False)
    monkeypatch.setattr(Native, "data", property(lambda self: SimpleNamespace(ptr=self.ctypes.data)))
    cupy = SimpleNamespace(
        cuda=cuda,
        ndarray=Native,
        asarray=lambda array, order=None: np.array(array, order=order).view(Native),
        asnumpy=np.array,
        empty=lambda shape, dtype: np.empty(shape, dtype).view(Native),
        copyto=np.copyto,
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    compiled = SimpleNamespace(image=b"")

    def compile_cubin(source, arch):
        compiled.image = source.encode()
        assert arch == "sm_90"
        return compiled

    monkeypatch.setattr(nvrtc, "compile_cubin", compile_cubin)
    return cupy


def test_the_launcher_speaks_to_cupy(fake_cupy, needs_nvrtc):
    w, x, y = f32(6, 4), f32(3, 6), f32(3, 4)
    run = load(lower_module(verified(parse(NETWORK)), "cuda"), "main", {"w": w}.__getitem__)
    found = run(x, y)
    assert all(type(array) is np.ndarray for array in found)
    close(found, expected(x, y, w))
    found = run(fake_cupy.asarray(x), y)
    assert all(type(array) is Native for array in found)
    close(found, expected(x, y, w))


def test_bfloat16_travels_as_uint16(fake_cupy, needs_nvrtc, array_module):
    x = f32(7).astype(BF16.numpy)
    run = load(lower_module(array_module(lambda x: nd.add(x, x), x), "cuda"), "main", None)
    (found,) = run(x)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, x + x)
    (bits,) = run(fake_cupy.asarray(x.view(np.uint16)))
    np.testing.assert_array_equal(bits, (x + x).view(np.uint16))


def test_the_launcher_hands_products_to_the_library(fake_cupy, needs_nvrtc, monkeypatch):
    """The library's model gets the addresses of what the caller gave, and scratch memory of CuPy's."""
    model = ModelLibrary(workspace=512)
    scratch = np.empty(512, np.uint8)
    monkeypatch.setattr(cublaslt, "_library", lambda: model)
    monkeypatch.setattr(fake_cupy.cuda, "alloc", lambda size: SimpleNamespace(ptr=scratch.ctypes.data), raising=False)
    cublaslt._handle.cache_clear()
    text = NETWORK.replace("nd.matmul %x, %w", 'nd.matmul %x, %w {dlir.fuse = "none"}')
    fused = PassManager.from_text("inline,lower-nn,fuse{target=cuda}").run(verified(parse(text)))
    region = next(op for op in fused.walk() if op.name == "kernel.region")
    region.set("schedule", "cublaslt")
    w, x, y = f32(6, 4), f32(3, 6), f32(3, 4)
    run = load(lower_module(fused, "cuda"), "main", {"w": w}.__getitem__)
    for _ in range(2):
        close(run(x, y), expected(x, y, w))
    cublaslt._handle.cache_clear()
    assert model.scratch == [(scratch.ctypes.data, 512, 0)] * 2


# ---------------------------------------------------------------- without a GPU


def test_without_a_gpu_the_error_says_so():
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    with pytest.raises(DlirError, match="there is no CUDA GPU"):
        load(lower_module(verified(parse(DONATING)), "cuda"), "main", None)


def test_without_cupy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DlirError, match="needs CuPy") as caught:
        launcher.import_cupy()
    assert "dlir[cuda13]" in (caught.value.diagnostics[0].hint or "")


def test_the_architecture_is_one_that_the_gpu_can_run(needs_nvrtc, monkeypatch):
    monkeypatch.setattr(nvrtc, "architectures", lambda: ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"))
    assert [launcher.architecture(number) for number in ("80", "89", "90", "103", "121")] == [
        "sm_80",
        "sm_86",
        "sm_90",
        "sm_100",
        "sm_120",
    ]
    with pytest.raises(DlirError, match=r"compute capability 7.0"):
        launcher.architecture("70")


def test_importing_the_backends_imports_neither_cupy_nor_a_compiler():
    code = "import sys, dlir.backends.cuda.backend, dlir.backends.cuda.simulated; print('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
