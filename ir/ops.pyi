# Written by docs/generate.py from the op classes.
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from dlir.ir.attributes import Attribute
from dlir.ir.core import Block, Operation, Region, Value
from dlir.ir.location import Location
from dlir.ir.types import FunctionType, ScalarType, TensorType, Type

class _Func:
    @staticmethod
    def func(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def return_(*operands: Any, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def call(*operands: Any, **keywords: Any) -> Any: ...

class _State:
    @staticmethod
    def variable(*, sym_name: str, init: Attribute | np.ndarray, type: TensorType, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def read(*operands: Any, **keywords: Any) -> Any: ...

class _Nn:
    @staticmethod
    def relu(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def sigmoid(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def tanh(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def softmax(x: Any, *, axis: int = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def flatten(x: Any, *, axis: int = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def dense(x: Any, w: Any, bias: Any = ..., *, activation: Literal['none', 'relu', 'sigmoid', 'tanh', 'softmax'] = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def conv2d(x: Any, w: Any, bias: Any = ..., *, stride: Sequence[int] = ..., padding: Sequence[int] = ..., dilation: Sequence[int] = ..., groups: int = ..., activation: Literal['none', 'relu', 'sigmoid', 'tanh', 'softmax'] = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def batch_norm(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, epsilon: float = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def layer_norm(x: Any, gamma: Any = ..., beta: Any = ..., *, axis: int = ..., epsilon: float = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def max_pool2d(x: Any, *, kernel: Sequence[int], stride: Sequence[int] | None = ..., padding: Sequence[int] = ..., ceil_mode: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def avg_pool2d(x: Any, *, kernel: Sequence[int], stride: Sequence[int] | None = ..., padding: Sequence[int] = ..., ceil_mode: bool = ..., count_include_pad: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501

class _Nd:
    @staticmethod
    def add(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def sub(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def mul(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def div(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def floor_divide(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def mod(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def pow(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def maximum(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def minimum(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def sum(x: Any, *, axes: Sequence[int] | None = ..., keepdims: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def mean(x: Any, *, axes: Sequence[int] | None = ..., keepdims: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def max(x: Any, *, axes: Sequence[int] | None = ..., keepdims: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def min(x: Any, *, axes: Sequence[int] | None = ..., keepdims: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def neg(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def abs(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def sign(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def exp(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def log(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def sqrt(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def rsqrt(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def tanh(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def erf(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def sin(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def cos(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def floor(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def ceil(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def rint(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def relu(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def sigmoid(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def softmax(x: Any, *, axis: int = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def layer_norm(x: Any, scale: Any = ..., bias: Any = ..., *, axes: Sequence[int] = ..., epsilon: float = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def argmax(x: Any, *, axis: int, keepdims: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def matmul(a: Any, b: Any, *, transpose_a: bool = ..., transpose_b: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def conv(x: Any, w: Any, *, stride: Sequence[int] | None = ..., padding: Sequence[int] | None = ..., dilation: Sequence[int] | None = ..., groups: int = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def cast(x: Any, *, dtype: ScalarType, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def constant(*, value: Attribute | np.ndarray, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def iota(like: Any = ..., *, shape: Sequence[int], axis: int = ..., dtype: ScalarType = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def concat(*xs: Any, axis: int, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def pad(x: Any, *, low: Sequence[int], high: Sequence[int], value: float = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def equal(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def not_equal(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def less(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def less_equal(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def greater(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def greater_equal(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def logical_and(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def logical_or(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def logical_xor(a: Any, b: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def logical_not(x: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def select(condition: Any, x: Any, y: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def reshape(x: Any, *, shape: Sequence[int], location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def transpose(x: Any, *, perm: Sequence[int] | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def broadcast_to(x: Any, like: Any = ..., *, shape: Sequence[int], location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def slice(x: Any, *, start: Sequence[int], stop: Sequence[int], step: Sequence[int] | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def max_pool(x: Any, *, kernel: Sequence[int], stride: Sequence[int] | None = ..., padding: Sequence[int] | None = ..., ceil_mode: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def avg_pool(x: Any, *, kernel: Sequence[int], stride: Sequence[int] | None = ..., padding: Sequence[int] | None = ..., ceil_mode: bool = ..., count_include_pad: bool = ..., location: Location | None = ...) -> Value: ...  # noqa: E501

class _Kernel:
    @staticmethod
    def region(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def yield_(*operands: Any, location: Location | None = ...) -> Operation: ...  # noqa: E501

class _Scf:
    @staticmethod
    def for_(lowerBound: Any, upperBound: Any, step: Any, *initArgs: Any, location: Location | None = ...) -> tuple[Value, ...]: ...  # noqa: E501
    @staticmethod
    def if_(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def while_(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def condition(condition: Any, *args: Any, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def parallel(lowerBound: Any = ..., upperBound: Any = ..., step: Any = ..., initVals: Any = ..., *, location: Location | None = ...) -> tuple[Value, ...]: ...  # noqa: E501
    @staticmethod
    def reduce(*operands: Any, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def yield_(*results: Any, location: Location | None = ...) -> Operation: ...  # noqa: E501

class _Arith:
    @staticmethod
    def extf(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def truncf(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def extsi(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def extui(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def trunci(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def sitofp(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def uitofp(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def fptosi(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def fptoui(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def index_cast(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def index_castui(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def bitcast(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def cmpi(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def cmpf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def select(condition: Any, true_value: Any, false_value: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def constant(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def addf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def subf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def mulf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def divf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def remf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def maximumf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def minimumf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def maxnumf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def minnumf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def negf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def addi(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def subi(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def muli(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def divsi(lhs: Any, rhs: Any, *, isExact: bool | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def divui(lhs: Any, rhs: Any, *, isExact: bool | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def remsi(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def remui(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def floordivsi(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def ceildivsi(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def ceildivui(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def andi(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def ori(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def xori(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def shli(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def shrsi(lhs: Any, rhs: Any, *, isExact: bool | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def shrui(lhs: Any, rhs: Any, *, isExact: bool | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def maxsi(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def minsi(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def maxui(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def minui(lhs: Any, rhs: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501

class _Math:
    @staticmethod
    def exp(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def expm1(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def log(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def log1p(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def sqrt(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def rsqrt(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def tanh(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def erf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def sin(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def cos(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def absf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def floor(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def ceil(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def roundeven(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def trunc(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def powf(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def copysign(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def absi(operand: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def fma(*operands: Any, **keywords: Any) -> Value: ...

class _Memref:
    @staticmethod
    def alloc(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def alloca(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def dealloc(memref: Any, *, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def global_(*, sym_name: str, sym_visibility: str | None = ..., type: Type, initial_value: Any | None = ..., constant: bool | None = ..., alignment: int | None = ..., location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def get_global(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def load(memref: Any, *indices: Any, nontemporal: bool = ..., alignment: int | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def store(value: Any, memref: Any, *indices: Any, nontemporal: bool = ..., alignment: int | None = ..., location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def copy(source: Any, target: Any, *, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def dim(source: Any, index: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def view(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def cast(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def reinterpret_cast(*operands: Any, **keywords: Any) -> Any: ...

class _Vector:
    @staticmethod
    def load(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def store(valueToStore: Any, base: Any, *indices: Any, nontemporal: bool = ..., alignment: int | None = ..., location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def broadcast(*operands: Any, **keywords: Any) -> Any: ...
    @staticmethod
    def fma(lhs: Any, rhs: Any, acc: Any, *, location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def extract(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def insert(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def reduction(*operands: Any, **keywords: Any) -> Value: ...

class _Gpu:
    @staticmethod
    def module(*, sym_name: str, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def func(*, sym_name: str, function_type: FunctionType, arg_attrs: Sequence[Attribute] | None = ..., res_attrs: Sequence[Attribute] | None = ..., workgroup_attributions: int | None = ..., workgroup_attrib_attrs: Sequence[Attribute] | None = ..., private_attrib_attrs: Sequence[Attribute] | None = ..., known_block_size: Any | None = ..., known_grid_size: Any | None = ..., location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def return_(*operands: Any, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def launch_func(asyncDependencies: Any, gridSizeX: Any, gridSizeY: Any, gridSizeZ: Any, blockSizeX: Any, blockSizeY: Any, blockSizeZ: Any, clusterSizeX: Any = ..., clusterSizeY: Any = ..., clusterSizeZ: Any = ..., dynamicSharedMemorySize: Any = ..., kernelOperands: Any = ..., asyncObject: Any = ..., *, kernel: str, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def thread_id(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def block_id(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def block_dim(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def grid_dim(*operands: Any, **keywords: Any) -> Value: ...
    @staticmethod
    def lane_id(*, upper_bound: Any | None = ..., location: Location | None = ...) -> Value: ...  # noqa: E501
    @staticmethod
    def barrier(*, location: Location | None = ...) -> Operation: ...  # noqa: E501
    @staticmethod
    def shuffle(*operands: Any, **keywords: Any) -> tuple[Value, ...]: ...

func: _Func
state: _State
nn: _Nn
nd: _Nd
kernel: _Kernel
scf: _Scf
arith: _Arith
math: _Math
memref: _Memref
vector: _Vector
gpu: _Gpu
