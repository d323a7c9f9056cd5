"""cuBLASLt as its manual describes it, over main memory: descriptors with attributes, and column-major products by NumPy.

It stands in for the shared library: functions take what ctypes would take.  What the manual rules out is refused with the
status CUBLAS_STATUS_INVALID_VALUE, so that nobody gets away with a wrong leading dimension or batch.
"""

import ctypes
import itertools

import ml_dtypes
import numpy as np

INVALID_VALUE = 7
NOT_SUPPORTED = 15

_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
#: compute type: type of the sums, and the inputs that it is for.
_COMPUTE = {68: (np.float32, (0, 2, 14)), 70: (np.float64, (1,))}
_ATTRIBUTES = {
    "MatmulDesc": {3: ctypes.c_int32, 4: ctypes.c_int32, 7: ctypes.c_uint32, 8: ctypes.c_uint64},
    "MatrixLayout": {4: ctypes.c_int64, 5: ctypes.c_int32, 6: ctypes.c_int64},
    "MatmulPreference": {1: ctypes.c_uint64, **dict.fromkeys((5, 6, 7, 8), ctypes.c_uint32)},
}


class Refused(Exception):
    """A call that the library answers with a status."""

    def __init__(self, status):
        self.status = status


def need(condition, status=INVALID_VALUE):
    if not condition:
        raise Refused(status)


class ModelLibrary:
    """Its attributes are the functions of the library; `workspaces` are the sizes of scratch that calls were given."""

    def __init__(self, workspace=0):
        self.objects = {}
        self.numbers = itertools.count(1000)
        self.workspace = workspace
        self.scratch = []
        for kind in _ATTRIBUTES:
            for verb in ("Create", "SetAttribute", "Destroy"):
                setattr(self, f"cublasLt{kind}{verb}", self._function(verb, kind))
        for verb in ("Create", "MatmulAlgoGetHeuristic", "Matmul"):
            setattr(self, f"cublasLt{verb}", self._function(f"do{verb}"))
        self.cublasLtGetStatusString = lambda status: f"status {status}".encode()

    def _function(self, verb, *first):
        def call(*arguments):
            try:
                getattr(self, f"_{verb}")(*first, *arguments)
            except Refused as refused:
                return refused.status
            return 0

        return call

    def _object(self, pointer):
        return self.objects[_value(pointer)]

    # ------------------------------------------------------------ descriptors

    def _Create(self, kind, into, *arguments):
        into._obj.value = next(self.numbers)
        self.objects[into._obj.value] = found = {"kind": kind, "made": [_value(one) for one in arguments]}
        if kind == "MatrixLayout":
            dtype, rows, columns, leading = found["made"]
            need(dtype in _DTYPES and rows > 0 and columns > 0 and leading >= rows)

    def _SetAttribute(self, kind, pointer, attribute, value, size):
        wanted = _ATTRIBUTES[kind].get(attribute)
        need(wanted is not None and size.value == ctypes.sizeof(wanted) == ctypes.sizeof(value._obj))
        self._object(pointer)[attribute] = value._obj.value

    def _Destroy(self, kind, pointer):
        assert self.objects.pop(_value(pointer))["kind"] == kind

    # ------------------------------------------------------------ the library

    def _doCreate(self, into):
        into._obj.value = next(self.numbers)
        self.objects[into._obj.value] = {"kind": "handle"}

    def _doMatmulAlgoGetHeuristic(self, handle, desc, a, b, c, d, preference, wanted, found, count):
        need(self._object(handle)["kind"] == "handle" and wanted == 1)
        self._check(desc, a, b, c, d)
        chosen = self._object(preference)
        need(self.workspace <= chosen[1], NOT_SUPPORTED)
        found._obj.algo[0] = id(self)
        found._obj.algo[1:5] = [chosen[number] for number in (5, 6, 7, 8)]
        found._obj.workspace_size, found._obj.state = self.workspace, 0
        count._obj.value = 1

    def _check(self, desc, a, b, c, d):
        """The status that descriptors that do not fit together have."""
        desc, *layouts = (self._object(one) for one in (desc, a, b, c, d))
        (compute, scale), dtypes = desc["made"], {one["made"][0] for one in layouts}
        need(len(dtypes) == 1 and dtypes <= set(_COMPUTE[compute][1]), NOT_SUPPORTED)
        need(_DTYPES[scale] is _COMPUTE[compute][0])
        need(desc.get(7, 1) != 4 or desc.get(8))
        # Epilogues are not for f64.
        need(desc.get(7, 1) == 1 or scale != 1, NOT_SUPPORTED)
        (m, k), (k2, n) = (
            one["made"][1:3][:: -1 if desc.get(number, 0) else 1] for one, number in zip(layouts, (3, 4))
        )
        need(k == k2 and all(one["made"][1:3] == [m, n] for one in layouts[2:]))
        need(len({one.get(5, 1) for one in layouts}) == 1)

    def _doMatmul(self, handle, desc, alpha, a, adesc, b, bdesc, beta, c, cdesc, d, ddesc, algo, scratch, size, stream):
        need(self._object(handle)["kind"] == "handle" and algo._obj[0] == id(self))
        self._check(desc, adesc, bdesc, cdesc, ddesc)
        self.scratch.append((_value(scratch), _value(size), _value(stream)))
        need(_value(size) >= self.workspace and bool(_value(scratch)) == bool(self.workspace))
        pointers = [_value(one) for one in (a, b, c, d)]
        need(all(pointer % alignment == 0 for pointer, alignment in zip(pointers, algo._obj[1:5])))
        # Where C and D are the same memory, they are the same matrices.
        layouts = [self._object(one) for one in (adesc, bdesc, cdesc, ddesc)]
        desc = self._object(desc)
        left, right, old, into = (_seen(*found) for found in zip(pointers, layouts))
        wide = _COMPUTE[desc["made"][0]][0]
        left, right = left.astype(wide), right.astype(wide)
        left = left.swapaxes(1, 2) if desc.get(3) else left
        right = right.swapaxes(1, 2) if desc.get(4) else right
        total = alpha._obj.value * (left @ right)
        if beta._obj.value:
            total = total + wide(beta._obj.value) * old.astype(wide)
        if desc.get(7, 1) == 4:
            rows = into.shape[1]
            bias = _memory(desc[8], rows, into.dtype).astype(wide)
            total = total + bias[None, :, None]
        into[...] = total.astype(into.dtype)


def _value(argument):
    """The number behind what ctypes is given."""
    argument = getattr(argument, "_as_parameter_", argument)
    return (argument.value or 0) if hasattr(argument, "value") else argument


def _memory(pointer, count, dtype):
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), np.uint8).view(dtype)


def _seen(pointer, layout):
    """The matrices of a layout: [batch, rows, columns], columns `leading` elements apart."""
    dtype, rows, columns, leading = layout["made"]
    batch, stride = layout.get(5, 1), layout.get(6, 0)
    dtype = np.dtype(_DTYPES[dtype])
    count = (batch - 1) * stride + (columns - 1) * leading + rows
    unit = dtype.itemsize
    flat = _memory(pointer, count, dtype)
    return np.lib.stride_tricks.as_strided(flat, (batch, rows, columns), (stride * unit, unit, leading * unit))
