"""What a module costs, counted and not timed: bytes an op, and function calls of each step on a module and a larger one."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from dlir.ir.registry import DIALECTS, dialect_ops
from dlir.ir.traversal import clone
from dlir.ir.verifier import verify
from dlir.passes.manager import find_pass
from dlir.textir import parse, to_text

TENSOR = "tensor<8x64x56x56xf32>"
FUNCTION = '"builtin.module"() ({{ "func.func"() <{{function_type = (i32) -> i32, sym_name = "main"}}> ({{\n{}\n}}) : () -> () }}) : () -> ()'
RETURN = '"func.return"(%x) : (i32) -> ()'


def function(lines: list[str]) -> str:
    return FUNCTION.format("\n".join(["^bb0(%x: i32):", *lines, RETURN]))


def arithmetic(count: int) -> str:
    """A chain of additions: every other one has a twin, and nobody uses what it gives in the end."""
    lines, value = [], "%x"
    for i in range(count // 2):
        lines += [f'%{side}{i} = "arith.addi"({value}, {value}) : (i32, i32) -> i32' for side in "ab"]
        value = f"%a{i}"
    return function(lines)


def layers(count: int) -> str:
    """Big ops of an unknown dialect, each with attributes of its own."""
    op = '%{0} = "dl.conv"() <{{groups = {0} : i64}}> {{name = "l{0}", act = #dl.act<relu>}} : () -> ' + TENSOR
    return function([op.format(i) for i in range(count)])


def new_types(count: int) -> str:
    return function([f'%{i} = "dl.make"() : () -> tensor<{i + 1}x3xf32>' for i in range(count)])


def blocks(count: int) -> str:
    add = '%v{0} = "arith.addi"(%x, %x) : (i32, i32) -> i32 "cf.br"()[^b{0}] : () -> () ^b{0}:'
    return function([add.format(i) for i in range(count // 2)])


def symbols(count: int) -> str:
    func = """"func.func"() <{{function_type = (i32) -> i32, sym_name = "f{0}"}}> ({{ ^bb0(%x: i32):
      %0 = "func.call"(%x) <{{callee = @f{1}}}> : (i32) -> i32
      "func.return"(%0) : (i32) -> () }}) : () -> ()"""
    number = count // 3
    funcs = [func.format(i, i * 7 % number) for i in range(number)]
    return '"builtin.module"() ({' + "\n".join(funcs) + "}) : () -> ()"


def nested(count: int) -> str:
    """Conditionals inside each other, with a read at each level."""
    depth = count // 4
    head = """%l{0} = "memref.load"(%m, %i) : (memref<4xi32>, index) -> i32
      "scf.if"(%c) ({{"""
    tail = '"scf.yield"() : () -> () }, {}) : (i1) -> ()'
    start = '%m = "memref.alloca"() <{operandSegmentSizes = array<i32: 0, 0>}> : () -> memref<4xi32> %i = "arith.constant"() <{value = 0 : index}> : () -> index'
    condition = '%c = "arith.constant"() <{value = true}> : () -> i1'
    return function([start, condition, *(head.format(i) for i in range(depth)), *[tail] * depth])


def nested_results(count: int) -> str:
    """Conditionals inside each other that give something nobody uses; the innermost writes."""
    depth = count // 4
    start = '%m = "memref.alloca"() <{operandSegmentSizes = array<i32: 0, 0>}> : () -> memref<4xi32> %i = "arith.constant"() <{value = 0 : index}> : () -> index'
    condition = '%c = "arith.constant"() <{value = true}> : () -> i1'
    write = '"memref.store"(%x, %m, %i) : (i32, memref<4xi32>, index) -> ()'
    end = '"scf.yield"(%x) : (i32) -> ()'
    heads = [f'%r{i} = "scf.if"(%c) ({{' for i in range(depth)]
    tails = [f"{end} }}, {{ {end} }}) : (i1) -> i32"] * depth
    return function([start, condition, *heads, write, *tails])


MODULES = {make.__name__: make for make in (arithmetic, layers, new_types, blocks, symbols, nested, nested_results)}


def run_pass(name):
    def run(module):
        item = find_pass(name)()
        item.stats = Counter()
        item.run(module)

    return run


STEPS = {
    "print": lambda module: to_text(module, generic=True),
    "pretty": to_text,
    "verify": verify,
    "clone": clone,
    **{name: run_pass(name) for name in ("cse", "canonicalize", "dce")},
}


def calls(run, subject) -> int:
    """How many functions, Python's and C's, are called."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        run(subject)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("step", ["parse", *STEPS])
@pytest.mark.parametrize("kind", MODULES)
def test_work_grows_with_the_module(kind, step):
    texts = [MODULES[kind](count) for count in (120, 480)]
    if step == "parse":
        parse(texts[0])  # loads dialects
        found = [calls(parse, text) for text in texts]
    else:
        STEPS[step](parse(texts[0]))
        found = [calls(STEPS[step], parse(text)) for text in texts]
    assert found[1] <= 4.4 * found[0] + 200


# A process of its own: what others keep makes tables of types grow at another time.
MEASURE = """
import gc, json, sys, tracemalloc
from dlir.textir import parse

for kind, (small, large) in json.load(sys.stdin).items():
    parse(small)
    gc.collect()
    tracemalloc.start()
    module = parse(large)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(kind, kept, sum(1 for _ in module.walk()))
"""


def test_an_op_takes_less_than_a_kilobyte():
    kinds = [kind for kind in MODULES if not kind.startswith("nested")]
    texts = json.dumps({kind: [MODULES[kind](count) for count in (12, 1500)] for kind in kinds})
    done = subprocess.run([sys.executable, "-c", MEASURE], input=texts, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [kind for kind, _, _ in lines] == kinds
    too_large = {kind: int(kept) / int(ops) for kind, kept, ops in lines if int(kept) > 1024 * int(ops)}
    assert not too_large


def test_ops_have_no_dictionary_of_their_own():
    loose = [cls for dialect in DIALECTS for cls in dialect_ops(dialect).values() if cls.__dictoffset__]
    assert not loose
