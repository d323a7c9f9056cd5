"""Small modules that use an op: on operands that the op draws itself, or as a lowering makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from dlir.frontends.cli.listings import first_sentence, signature
from dlir.ir.builder import at_end
from dlir.ir.core import Operation
from dlir.ir.dialects.builtin import Module
from dlir.ir.dialects.func import Func
from dlir.ir.errors import DlirError, did_you_mean
from dlir.ir.op import Op
from dlir.ir.ops import func
from dlir.ir.registry import DIALECTS, dialect_ops, find_op
from dlir.ir.types import F32, F64, I1, I8, I32, I64, INDEX, TensorType, dtype_from_numpy
from dlir.ir.verifier import verify
from dlir.passes.manager import PassManager
from dlir.passes.pipelines import pipeline_for
from dlir.textir import parse, to_text
from dlir.textir.forms import form

#: Programs in which ops stand that draw no operands, or in what they are lowered to.  The first one that has an op is taken.
PROGRAMS = (
    """\
state.variable @count {init = dense<0.0> : tensor<f32>}
func.func @main(%x: tensor<8x16xf32>, %w: tensor<16x4xf32>) -> tensor<8x4xf32> {
  %h = nn.dense %x, %w {activation = "relu"}
  %y = nn.softmax %h
  %old = state.read @count
  %new = nd.add %old, %old
  state.write @count %new
  return %y
}
""",
    """\
func.func @main(%x: tensor<8x4xf32>, %w: tensor<4x2xf32>) -> (tensor<f32>, tensor<4x2xf32>) {
  %y = nn.dense %x, %w {activation = "tanh"}
  %loss = nd.mean %y
  %dw = diff.gradient %loss, %w
  return %loss, %dw
}
""",
    """\
func.func @square(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = nd.mul %x, %x
  return %y
}
func.func @main(%n: tensor<index>, %x: tensor<4xf32>) -> tensor<4xf32> {
  %zero = arith.constant {value = 0 : index}
  %one = arith.constant {value = 1 : index}
  %steps = tensor.extract %n
  %is_any = arith.cmpi %zero, %steps {predicate = 2}
  %y = scf.if %is_any ({
    %z = scf.for %zero, %steps, %one, %x ({
    ^bb0(%i: index, %a: tensor<4xf32>):
      %b = func.call @square %a
      scf.yield %b
    }) : tensor<4xf32>
    scf.yield %z
  }, {
    scf.yield %x
  }) : tensor<4xf32>
  %r:2 = scf.while %zero, %y ({
  ^bb0(%i: index, %a: tensor<4xf32>):
    %again = arith.cmpi %i, %steps {predicate = 2}
    scf.condition %again, %i, %a
  }, {
  ^bb0(%i: index, %a: tensor<4xf32>):
    %next = arith.addi %i, %one
    %b = nd.exp %a
    scf.yield %next, %b
  }) : index, tensor<4xf32>
  return %r#1
}
""",
    """\
func.func @main(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> (tensor<64x64xf32>, tensor<f32>) {
  %c = nd.matmul %a, %b
  %d = nd.sum %c
  return %c, %d
}
""",
)


def example(name: str) -> str:
    """A module that uses op `name`, below a line that says what the op does; DlirError if there is none."""
    cls: Any = find_op(name)
    if cls is None:
        known = [op for dialect in DIALECTS for op in dialect_ops(dialect)]
        raise DlirError(f"there is no op '{name}'", hint=did_you_mean(name, known) or "--list-dialects lists the ops")
    module = _drawn(cls) if hasattr(cls, "sample") else _of_scalars(cls) or _found(name)
    if module is None:
        raise DlirError(f"there is no example of '{name}'", hint=form(name))
    return f"// {signature(cls)}: {first_sentence(cls.__doc__)}\n" + to_text(module)


def _drawn(cls: Any) -> Module:
    """A function with the op on arguments like those that it draws for tests."""
    for seed in range(200):  # until they have elements, floats if there are any, and the result is not empty
        arrays, attributes = cls.sample(np.random.default_rng(seed))
        present = [np.asarray(array) for array in arrays if array is not None]
        module = _module_of(cls, arrays, present, attributes)
        results = [item for item in module.body.first.type.results if isinstance(item, TensorType)]  # type: ignore[union-attr]
        is_large = all(array.size > 1 for array in present) and all(0 not in item.shape for item in results)
        if is_large and (not present or present[0].dtype == np.float32 or seed >= 100):
            break
    return module


def _of_scalars(cls: type[Op]) -> Module | None:
    """A function with the op on numbers, if it takes nothing else."""
    schema = cls.schema()
    keywords = {name: 2 for name, spec in schema.attributes.items() if spec.required and spec.kind == "an integer"}
    is_plain = all(spec.kind == "one" and TensorType not in spec.allowed for spec in schema.operands)
    if not is_plain or not schema.operands or not cls.op_name.startswith(("arith.", "math.")):
        return None
    count = len(schema.operands)
    for types in ((F32,) * count, (I32,) * count, (I1, *(F32,) * (count - 1)), (F64,) * count, (INDEX,) * count):
        for result in (None,) if schema.infers else (F64, I64, F32, INDEX, I8):
            module = Module.empty()
            function = Func.make("main", types, names=[spec.name for spec in schema.operands])
            module.body.append(function)
            given = {} if result is None else {"result_types": (result,)}
            with at_end(function.body), suppress(DlirError, TypeError):
                found = cls.build(*function.body.args, **keywords, **given)
                func.return_(found)
                function.update_type()
                if not verify(module):
                    return module
    return None


def _module_of(cls: type[Op], arrays: Any, present: list[np.ndarray], attributes: dict[str, Any]) -> Module:
    module = Module.empty()
    types = [TensorType(array.shape, dtype_from_numpy(array.dtype)) for array in present]
    function = Func.make("main", types, names=[f"x{i}" for i in range(len(types))])
    module.body.append(function)
    args = iter(function.body.args)
    with at_end(function.body):
        result = cls.build(*[None if array is None else next(args) for array in arrays], **attributes)
        func.return_(*(result if isinstance(result, tuple) else (result,)))
    function.update_type()
    return module


def _found(name: str) -> Operation | None:
    """The first of the programs that has op `name` in it, as it is or after some passes."""
    return next((module for module in _stages() if any(op.name == name for op in module.walk())), None)


def _stages() -> Iterator[Operation]:
    for text in PROGRAMS:
        yield parse(text)
    for target in ("cpu", "cuda"):
        for text in PROGRAMS:
            module = parse(text)
            manager = PassManager.from_text(pipeline_for("O2", target))
            for item in manager.passes:
                manager.run_pass(item, module)
                yield module
