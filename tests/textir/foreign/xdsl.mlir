builtin.module attributes {a = opaque<"d", "text">, b = opaque<"d", "text"> : tensor<2xf64>, c = #builtin.int<3>} {
  "memref_stream.streaming_region"() <{patterns = [#memref_stream.stride_pattern<ub = [2, 3], index_map = (d0, d1) -> (d0, d1)>],
      operandSegmentSizes = array<i32: 0, 0>}> ({
  ^bb0:
  }) : () -> ()
  riscv_func.func @f(%a: !riscv.reg<a0>, %b: !riscv.freg) -> !riscv.reg<a0> {
    %0 = riscv.addi %a, -1 : (!riscv.reg<a0>) -> !riscv.reg<a0>
    riscv_func.return %0 : !riscv.reg<a0>
  }
  func.func @stencil(%f: !stencil.field<[-4,68]x[-4,68]xf64>) {
    %0 = stencil.load %f : !stencil.field<[-4,68]x[-4,68]xf64> -> !stencil.temp<?x?xf64>
    %1 = stencil.apply(%2 = %0 : !stencil.temp<?x?xf64>) -> (!stencil.temp<?x?xf64>) {
      %3 = stencil.access %2[0, -1] : !stencil.temp<?x?xf64>
      stencil.return %3 : f64
    }
    stencil.store %1 to %f(<[0, 0], [64, 64]>) : !stencil.temp<?x?xf64> to !stencil.field<[-4,68]x[-4,68]xf64>
    func.return
  }
  "csl.module"() <{kind = #csl<module_kind program>}> ({
    %0 = "test.op"() : () -> ui16
    %1 = "arith.extui"(%0) : (ui16) -> ui32
    "test.op"(%1) : (ui32) -> !csl<dsd mem1d_dsd>
  }) {sym_name = "p"} : () -> ()
}
