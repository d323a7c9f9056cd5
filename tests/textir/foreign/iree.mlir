#executable_target = #hal.executable.target<"llvm-cpu", "embedded-elf-x86_64", {cpu_features = "+avx512f",
    native_vector_size = 64 : i64}>
#device = #hal.device.target<"local", [#executable_target]> : !hal.device
#layout = #hal.pipeline.layout<constants = 1, bindings = [#hal.pipeline.binding<storage_buffer, "ReadOnly|Indirect">,
    #hal.pipeline.binding<storage_buffer>]>
module attributes {stream.affinity.default = #hal.device.affinity<@device>} {
  util.global private @device = #device
  util.global private mutable @state = dense<1.0> : tensor<4xf32>
  util.global private @param = #flow.parameter.named<"model"::"w"> : tensor<4xf32>
  hal.executable private @ex {
    hal.executable.variant public @v target(#executable_target) {
      hal.executable.export public @f ordinal(0) layout(#layout) count(%d: !hal.device, %n: index) -> (index, index,
          index) {
        %c1 = arith.constant 1 : index
        hal.return %n, %c1, %c1 : index, index, index
      }
      builtin.module {
        func.func @f() attributes {workgroup_note = [64, 1, 1]} {
          %c0 = arith.constant 0 : index
          %0 = hal.interface.binding.subspan layout(#layout) binding(0) alignment(64) offset(%c0) : !iree_tensor_ext.dispatch.tensor<readonly:tensor<4xf32>>
          return
        }
      }
    }
  }
  util.func public @main(%a: !hal.buffer_view, %n: index) -> !stream.resource<external> {
    %0 = hal.tensor.import %a "in" : !hal.buffer_view -> tensor<?x4xf32>{%n}
    %1 = stream.resource.alloc uninitialized : !stream.resource<external>{%n}
    %2 = stream.async.transfer %1 : !stream.resource<external>{%n} -> !stream.resource<*>{%n}
    %3 = flow.tensor.reshape %0 : tensor<?x4xf32>{%n} -> tensor<4x?xf32>{%n}
    %4 = util.global.load @state : tensor<4xf32>
    %5:2 = flow.dispatch.workgroups[%n](%4, %n) : (tensor<4xf32>, index) -> (tensor<4xf32>,
        tensor<4xf32>) = (%i: !iree_tensor_ext.dispatch.tensor<readonly:tensor<4xf32>>, %m: index,
        %o: !iree_tensor_ext.dispatch.tensor<writeonly:tensor<4xf32>>,
        %p: !iree_tensor_ext.dispatch.tensor<writeonly:tensor<4xf32>>) { flow.return }
    util.return %1 : !stream.resource<external>
  }
}
// -----
!mma = !hal.buffer_view
#enc = #stablehlo.bounds<?, 4>
func.func @hlo(%a: tensor<4x?xf32, #enc>, %k: !stablehlo.token, %q: tensor<4x!quant.uniform<i8:f32,
    0.5:3>>) -> (tensor<4x?xf32, #enc>, tuple<tensor<f32>, !stablehlo.token>) {
  %0 = stablehlo.abs %a : tensor<4x?xf32, #enc>
  %1 = stablehlo.constant dense<"0x0000803F"> : tensor<f32>
  %2 = stablehlo.tuple %1, %k : tuple<tensor<f32>, !stablehlo.token>
  %3:2 = "stablehlo.while"(%1, %k) ({
  ^bb0(%x: tensor<f32>, %t: !stablehlo.token):
    %c = stablehlo.compare LT, %x, %1, FLOAT : (tensor<f32>, tensor<f32>) -> tensor<i1>
    stablehlo.return %c : tensor<i1>
  }, {
  ^bb0(%x: tensor<f32>, %t: !stablehlo.token):
    stablehlo.return %x, %t : tensor<f32>, !stablehlo.token
  }) : (tensor<f32>, !stablehlo.token) -> (tensor<f32>, !stablehlo.token)
  return %0, %2 : tensor<4x?xf32, #enc>, tuple<tensor<f32>, !stablehlo.token>
}
// -----
module attributes {gpu.container_module} {
  gpu.module @kernels { gpu.func @k(%a: memref<4xf32>) kernel { gpu.return } }
  func.func @launch(%a: memref<4xf32>, %c: index) {
    gpu.launch_func @kernels::@k blocks in (%c, %c, %c) threads in (%c, %c, %c) args(%a : memref<4xf32>)
    return
  }
}
