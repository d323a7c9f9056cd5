"""What upstream's dialects hold beyond the ops that are modelled here.

Level 5 uses a part of them.  The other ops are read in the generic form and kept as they stand, as those of a dialect that
is not loaded, so that what MLIR's tools print can be read; a name that upstream has not either stays a mistake.
"""

from __future__ import annotations

#: By dialect, the ops of LLVM 22 and 24 that have no class here.
_OTHERS = {
    "arith": (
        "addui_extended convertf flush_denormals maximumnumf minimumnumf mulsi_extended mului_extended"
        " scaling_extf scaling_truncf subui_extended"
    ),
    "func": ("call_indirect constant"),
    "gpu": (
        "all_reduce alloc ballot binary cluster_block_id cluster_dim cluster_dim_blocks cluster_id"
        " create_2to4_spmat create_bsr create_coo create_coo_aos create_csc create_csr create_dn_tensor dealloc"
        " destroy_dn_tensor destroy_sp_mat dynamic_shared_memory global_id host_register host_unregister"
        " initialize_named_barrier launch memcpy memset num_subgroups printf rotate sddmm sddmm_buffer_size"
        " set_csr_pointers set_default_device spgemm_copy spgemm_create_descr spgemm_destroy_descr"
        " spgemm_work_estimation_or_compute spmat_get_size spmm spmm_buffer_size spmv spmv_buffer_size"
        " subgroup_broadcast subgroup_id subgroup_mma_elementwise subgroup_mma_extract_thread_local"
        " subgroup_mma_insert_thread_local subgroup_reduce subgroup_size terminator wait warp_execute_on_lane_0"
        " yield"
    ),
    "math": (
        "acos acosh asin asinh atan atan2 atanh cbrt clampf cosh ctlz ctpop cttz erfc exp2 fpowi ipowi isfinite"
        " isinf isnan isnormal log10 log2 round sincos sinh tan"
    ),
    "memref": (
        "alloca_scope alloca_scope.return assume_alignment atomic_rmw atomic_yield collapse_shape distinct_objects"
        " dma_start dma_wait expand_shape extract_aligned_pointer_as_index extract_strided_metadata"
        " generic_atomic_rmw memory_space_cast prefetch rank realloc reshape subview transpose"
    ),
    "scf": ("execute_region forall forall.in_parallel index_switch"),
    "tensor": (
        "bitcast cast collapse_shape concat dim empty expand_shape extract_slice gather generate insert insert_slice"
        " pack pad parallel_insert_slice rank reshape scatter splat unpack yield"
    ),
    "vector": (
        "bitcast compressstore constant_mask contract create_mask deinterleave expandload extract_strided_slice"
        " from_elements gather insert_strided_slice interleave mask maskedload maskedstore multi_reduction"
        " outerproduct print scalable.extract scalable.insert scan scatter shape_cast shuffle step to_elements"
        " transfer_read transfer_write transpose type_cast vscale yield"
    ),
}

#: Dialects whose names, attributes and semantics are upstream's.
UPSTREAM = ("builtin", "func", "scf", "arith", "math", "tensor", "memref", "vector", "gpu")

NOT_MODELLED = frozenset(f"{dialect}.{op}" for dialect, ops in _OTHERS.items() for op in ops.split())


def is_upstream(name: str) -> bool:
    """Whether the op called `name` is of a dialect of upstream's."""
    return name.partition(".")[0] in UPSTREAM
