"""Every array op, alone in a kernel, computes in loops what its `eval` says, under each kind of schedule."""

import numpy as np
import pytest

from dlir.ir.registry import dialect_ops

PIPELINES = {
    "one op a kernel": "fuse{max-ops=1},schedule,bufferize,lower-kernels",
    "unscheduled": "fuse,bufferize,lower-kernels",
    "unmapped, for a GPU": "fuse,schedule{target=cuda},bufferize,plan-memory,lower-kernels",
    "mapped": "fuse,schedule,bufferize,plan-memory,lower-kernels,map{threshold=0 threads=3}",
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("name", dialect_ops("nd"))
def test_loops_compute_what_eval_does(tools, name, pipeline):
    cls = dialect_ops("nd")[name]
    for seed in range(4):
        arrays, attributes = cls.sample(np.random.default_rng(seed))
        real = [np.asarray(a) for a in arrays if a is not None]

        def body(*args, arrays=arrays, attributes=attributes):
            given = iter(args)
            return cls.build(*[None if a is None else next(given) for a in arrays], **attributes)

        tools.check(tools.make(body, *real), real, pipeline)
