"""Programs of every level, in the generic form, in other people's tools; and what upstream makes of the last level."""

from __future__ import annotations

import ctypes
import re

import numpy as np
import pytest
from support.registered import sample_program, sampled_ops
from support.upstream import Tool, in_llvm_24, without_defaults

from dlir.backends.compiler import compile_module
from dlir.frontends import symbolic
from dlir.frontends.optimizers import AdamW, by_global_norm, cosine
from dlir.ir.errors import DlirError
from dlir.ir.traversal import difference
from dlir.ir.verifier import verify
from dlir.passes.manager import PassManager
from dlir.passes.pipelines import pipeline_for
from dlir.textir import parse, parse_file, print_module
from dlir.textir.weights import to_blob

#: Dialects of upstream's own.
UPSTREAM = ("builtin", "func", "scf", "arith", "math", "memref", "vector", "gpu")


def programs(root):
    return sorted([*root.glob("examples/*.dlir"), *root.glob("tests/golden/*.dlir")])


#: What the files do not have: variables that initialisers fill, given and hoisted ones, scans and attention.
MORE = """
state.variable @w {init = dense_resource<w>, type = tensor<16x16xf32>}
state.variable @b {type = tensor<16xf32>}
func.func private @first() -> tensor<16xf32> attributes {dlir.initializes = [@b]} {
  %w = state.read @w
  %s = nd.sum %w {axes = [0]}
  return %s
}
func.func @main(%x: tensor<1x2x8x16xf32>, %n: tensor<8x16xf32>) -> (tensor<1x2x8x16xf32>, tensor<8x16xf32>) {
  %w = state.read @w
  %t = nd.transpose %w {perm = [1, 0]}
  %e = nd.exp %t
  %q = nd.matmul %x, %e
  %y = nd.attention %q, %x, %x {causal = true}
  %b = state.read @b
  %z = nd.add %n, %b
  %g = nd.gelu %z
  %c = nd.cumsum %g {axis = 1}
  return %y, %c
}
"""


def training_step():
    """A step of a small network with most of what is trained: gathers, windows, attention, dropout, AdamW."""
    nd, nn, variable = symbolic.nd, symbolic.nn, symbolic.Variable

    def weight(name, *shape):
        return symbolic.Parameter(name, np.ones(shape, np.float32))

    x = nn.layer_norm(nn.embedding(variable("tokens"), weight("table", 5, 4)), weight("g", 4), weight("c", 4))
    x = nd.reshape(x, shape=(2, 1, 6, 4))
    x = nn.attention(x, x, x, causal=True)
    x = nn.conv2d(x, weight("kernel", 3, 1, 3, 3), weight("bias", 3), padding=(1, 1), activation="gelu")
    x = nn.dropout(nn.max_pool2d(x, kernel=(2, 2)), variable("key"), rate=0.5)
    loss = nn.cross_entropy(nn.dense(nn.flatten(x), weight("w", 18, 4), weight("b", 4)), variable("targets"))
    optimizer = AdamW(cosine(1e-3, 9), weight_decay=0.1, clip=by_global_norm(1.0))
    arrays = {"tokens": np.zeros((2, 6), "i4"), "targets": np.zeros(2, "i4"), "key": np.zeros(2, "u4")}
    return symbolic.compile(loss, updates=optimizer.updates(loss)).module(**arrays)


def after_each_pass(module, level, target):
    """(what was run last, module) down to loops; the module changes under way."""
    yield "parse", module
    manager = PassManager.from_text(pipeline_for(level, target))
    for item in manager.passes:
        try:
            manager.run_pass(item, module)
        except DlirError:
            # The golden files show refusals too.
            return
        yield item.name, module


def sources(root):
    """(name, what makes the module, the levels to compile it at)"""
    for path in programs(root):
        yield path.name, lambda path=path: parse_file(path).module, ("O0", "O2")
    yield "more", lambda: parse(MORE), ("O0", "O1", "O2")
    # Op by op it is a megabyte of text, and has nothing that the others have not.
    yield "step", training_step, ("O2",)


@pytest.fixture(scope="module")
def stages(repo_root):
    """The generic text of every program after every pass, without repeats -> where it is from."""
    found: dict[str, str] = {}
    for name, make, levels in sources(repo_root):
        for level in levels:
            for target in ("cpu", "cuda"):
                for last, module in after_each_pass(make(), level, target):
                    found.setdefault(print_module(module, generic=True), f"{name} at {level} for {target} after {last}")
                is_refusal = name not in ("more", "step") and not name.startswith("digits")
                assert last == "map" or is_refusal, f"{name} at {level} stopped at {last}"
    assert any("dlir.initializes" in text and "gpu.func" in text for text in found)
    assert any("gpu.shuffle" in text for text in found) and any("vector.fma" in text for text in found)
    trained = "\n".join(text for text, label in found.items() if label.startswith("step"))
    assert all(
        f'"{name}"' in trained for name in ("state.write", "nd.scatter_add", "random.bernoulli", "diff.gradient")
    )
    return found


def assert_the_same(stages, sent, printed):
    """What a tool printed parses, verifies and is the module that it was given."""
    wrong = []
    for label, before, after in zip(stages.values(), sent, printed, strict=True):
        module = parse(after)
        apart = difference(without_defaults(parse(before)), without_defaults(module))
        wrong += [f"{label}: {problem}" for problem in [apart, *verify(module)] if problem]
    assert wrong == []


def test_mlir_reads_every_level(stages, mlir_opt):
    assert_the_same(stages, list(stages), mlir_opt.each(list(stages)))


def test_iree_reads_every_level(stages, iree_opt):
    texts = [in_llvm_24(text) for text in stages]
    assert_the_same(stages, texts, iree_opt.each(texts))


#: Elements from outside, and whether they are floats.
RESOURCE = re.compile(r"dense_resource<[\w.]+>(?= : \w+<(?:\d+x)*(f|i))")


def test_xdsl_reads_every_level(stages, xdsl_opt):
    # Its gpu.func has no memory of a block, its memref.global no elements from outside; and of one resource in several
    # modules it makes several.
    # It takes its time: of large modules, what comes early is enough.
    chosen = {t: label for t, label in stages.items() if "workgroup_attributions" not in t and len(t) < 50_000}
    texts = [RESOURCE.sub(lambda found: f"dense<{'0.0' if found[1] == 'f' else '0'}>", t) for t in chosen]
    assert len(texts) > len(stages) // 3
    assert_the_same(chosen, texts, xdsl_opt.each(texts))


def test_the_last_level_is_upstreams_own(stages):
    """After the last pass all ops are of dialects that upstream registers and verifies; only attributes are ours."""
    last = [text for text, label in stages.items() if label.endswith("after map")]
    assert len(last) > 5
    names = {op.name for text in last for op in parse(text).walk()}
    assert {name for name in names if name.partition(".")[0] not in UPSTREAM} == set()
    Tool("mlir-opt").each(last)
    Tool("iree-opt").each([in_llvm_24(text) for text in last])


def test_upstream_refuses_what_it_does_not_know(stages):
    first = next(text for text, label in stages.items() if label == "digits.dlir at O0 for cpu after parse")
    with pytest.raises(AssertionError, match=r"state\.variable|unregistered"):
        Tool("mlir-opt")(first)


# ---------------------------------------------------------------- down to machine code, without our backends

TO_LLVM = (
    "builtin.module(convert-scf-to-cf,convert-vector-to-llvm,convert-math-to-llvm,expand-strided-metadata,"
    "finalize-memref-to-llvm,convert-arith-to-llvm,convert-cf-to-llvm,convert-index-to-llvm,"
    "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1},reconcile-unrealized-casts)"
)
TO_NVVM = (
    "builtin.module(convert-scf-to-cf,"
    "gpu.module(convert-gpu-to-nvvm{use-bare-ptr-memref-call-conv=1},reconcile-unrealized-casts))"
)


def with_load(module):
    """The module with a function @load that calls its initialisers on the variables that they are for."""
    lines = ["  func.func @load() {"]
    for function in module.body.ops:
        filled = function.attributes.get("dlir.initializes")
        if filled is not None:
            names = [f"%{reference.path[0]}" for reference in filled.items]
            for name in names:
                lines.append(f"    {name} = memref.get_global @{name[1:]} : {module.symbol(name[1:])['type']}")
            lines.append(f"    func.call @{function.symbol} {', '.join(names)}")
    text = print_module(module).rstrip().removesuffix("}")
    return parse("\n".join([text.rstrip(), *lines, "    return", "  }", "}"]))


def run_through_upstream(parsed, x):
    """The first result of a program of one input, lowered by mlir-opt, translated by mlir-translate, run by LLVM."""
    binding = pytest.importorskip("llvmlite.binding")
    module = parsed.module
    PassManager.from_text(pipeline_for("O2", "cpu")).run(module)
    module = with_load(module)
    names = re.findall(r"dense_resource<(\w+)>", print_module(module))
    blobs = {name: to_blob(parsed.weights.get(name)) for name in names}
    lowered = Tool("mlir-opt")(print_module(module, generic=True, blobs=blobs), f"--pass-pipeline={TO_LLVM}")
    text = Tool("mlir-translate", "--mlir-to-llvmir")(lowered)
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    try:
        code = binding.parse_assembly(text)
    except RuntimeError as error:
        pytest.skip(f"llvmlite's LLVM is older than mlir-translate's: {error}")
    target = binding.Target.from_default_triple().create_target_machine(opt=1)
    engine = binding.create_mcjit_compiler(code, target)
    engine.finalize_object()
    ctypes.CFUNCTYPE(None)(engine.get_function_address("load"))()
    types = [arg.type for arg in module.symbol("main").body.args]
    buffers = [x] + [aligned(type.shape, type.dtype.numpy) for type in types[1:]]
    entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(buffers))(engine.get_function_address("main"))
    entry(*(buffer.ctypes.data for buffer in buffers))
    return buffers[1]


def aligned(shape, dtype):
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


@pytest.mark.parametrize(
    "name,shape",
    [("examples/digits.dlir", (64, 64)), ("tests/golden/loops.dlir", (64, 128))],
    ids=["digits", "softmax"],
)
def test_upstream_lowers_to_the_same_numbers(repo_root, name, shape):
    x = aligned(shape, np.dtype(np.float32))
    x[:] = np.random.default_rng(0).uniform(0, 16, shape)
    parsed = parse_file(repo_root / name)
    (want,) = compile_module(parsed.module, backend="ref", weights=parsed.weights)(x)
    got = run_through_upstream(parse_file(repo_root / name), x)
    assert np.abs(want).max() > 0.01
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_upstream_lowers_kernels_of_the_gpu(stages):
    texts = [text for text, label in stages.items() if label.endswith("for cuda after map") and "gpu.module" in text]
    # LLVM 22 asserts that what is stored has eight bits.
    texts = [text for text in texts if not re.search(r"memref<(?:\d+x)*i1[,>]", text)]
    assert len(texts) > 3
    for lowered in Tool("mlir-opt").each(texts, f"--pass-pipeline={TO_NVVM}"):
        assert "llvm.func @kernel_0" in lowered and "nvvm.read.ptx.sreg.ctaid.x" in lowered


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_upstream_verifies_the_loops_of_every_op(target):
    texts = {}
    for name, op in sampled_ops().items():
        module, _, _ = sample_program(op, seed=1, count=2)
        PassManager.from_text(pipeline_for("O2", target)).run(module)
        texts[name] = print_module(module, generic=True)
    assert len(texts) > 100
    printed = Tool("mlir-opt", "--mlir-print-op-generic").each(list(texts.values()))
    apart = [difference(*(without_defaults(parse(text)) for text in pair)) for pair in zip(texts.values(), printed)]
    assert [problem for problem in apart if problem] == []
