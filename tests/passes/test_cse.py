"""What ``cse`` may merge: equal ops where one dominates the other and nothing is written between two reads."""

from dlir.ir.verifier import verified
from dlir.passes.manager import PassManager
from dlir.textir import parse

FUNCTION = """func.func @main(%m: memref<4xi32>, %i: index, %c: i1, %x: i32) -> i32 {{
{}
}}"""


def merged(body: str) -> int:
    """How many ops of the function go."""
    manager = PassManager.from_text("cse")
    module = parse(FUNCTION.format(body))
    verified(manager.run(verified(module)))
    return manager.passes[0].stats["merged"]


READ = '"memref.load"(%m, %i) : (memref<4xi32>, index) -> i32\n'
WRITE = '"memref.store"(%x, %m, %i) : (i32, memref<4xi32>, index) -> ()\n'
ADD = '"arith.addi"(%x, %x) : (i32, i32) -> i32\n'
RETURN = '"func.return"(%x) : (i32) -> ()\n'


def if_op(then: str, otherwise: str = "") -> str:
    end = '"scf.yield"() : () -> ()\n'
    return f'"scf.if"(%c) ({{ {then} {end} }}, {{ {otherwise + end} }}) : (i1) -> ()\n'


def for_op(body: str) -> str:
    head = f'"scf.for"(%i, %i, %i) ({{ ^bb0(%k{len(body)}: index):\n'
    return head + body + '"scf.yield"() : () -> () }) : (index, index, index) -> ()\n'


def test_equal_ops_become_one():
    assert merged(f"%a = {ADD} %b = {ADD} {RETURN}") == 1


def test_inner_op_is_replaced_by_an_outer_one():
    assert merged(f"%a = {ADD} {if_op('%b = ' + ADD)} {RETURN}") == 1


def test_op_of_a_region_is_not_known_behind_it():
    assert merged(f"{if_op('%a = ' + ADD)} %b = {ADD} %d = {ADD} {RETURN}") == 1


def test_sibling_regions_do_not_share():
    assert merged(f"{if_op('%a = ' + ADD, '%b = ' + ADD)} {RETURN}") == 0


def test_reads_become_one_until_something_is_written():
    assert merged(f"%a = {READ} %b = {READ} {WRITE} %d = {READ} {RETURN}") == 1


def test_read_in_a_loop_that_writes_later_stays():
    assert merged(f"%a = {READ} {for_op('%b = ' + READ + WRITE)} {RETURN}") == 0


def test_read_in_a_loop_that_only_reads_goes():
    assert merged(f"%a = {READ} {for_op('%b = ' + READ)} {RETURN}") == 1


def test_read_in_an_inner_loop_sees_what_the_outer_one_writes():
    inner = for_op("%b = " + READ)
    assert merged(f"%a = {READ} {for_op(inner + WRITE)} {RETURN}") == 0


def test_write_inside_a_region_counts_behind_it():
    assert merged(f"%a = {READ} {if_op(WRITE)} %b = {READ} {RETURN}") == 0


def test_unknown_op_may_write():
    assert merged(f'%a = {READ} "dl.x"() : () -> () %b = {READ} {RETURN}') == 0


def test_dominating_block_shares_and_a_sibling_does_not():
    branch = '"cf.cond_br"(%c)[^left, ^right] : (i1) -> ()\n'
    sides = f"^left:\n %b = {ADD} %d = {READ} {RETURN} ^right:\n %e = {ADD} %f = {READ} {RETURN}"
    assert merged(f"%a = {ADD} {branch} {sides}") == 2
    assert merged(f"{branch} {sides}") == 0


def test_write_in_a_block_that_may_run_before_counts():
    # ^join stands before the block that writes: what has been met so far says nothing about what ran.
    branch = '"cf.cond_br"(%c)[^join, ^write] : (i1) -> ()\n'
    join = '"cf.br"()[^join] : () -> ()\n'
    assert merged(f"%a = {READ} {branch} ^join:\n %b = {READ} {RETURN} ^write:\n {WRITE} {join}") == 0


def test_isolated_op_does_not_use_what_is_outside():
    constant = '"nd.constant"() <{value = dense<1.0> : tensor<4xf32>}> : () -> tensor<4xf32>\n'
    inner = f'%b = {constant} "kernel.yield"(%b) : (tensor<4xf32>) -> ()\n'
    kernel = f'%k = "kernel.region"() ({{ {inner} }}) : () -> tensor<4xf32>\n'
    assert merged(f"%a = {constant} {kernel} {RETURN}") == 0
    assert merged(f"%a = {constant} %d = {constant} {kernel} {RETURN}") == 1
