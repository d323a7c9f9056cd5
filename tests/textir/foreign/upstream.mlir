#map = affine_map<(d0, d1)[s0] -> (d0 floordiv 2 + s0, d1 mod 3, d0 ceildiv 4)>
#set = affine_set<(d0)[s0] : (d0 - 1 >= 0, s0 - d0 == 0)>
!t = !llvm.struct<"node", (i32, ptr, array<4 x f32>)>
!u = tuple<i32, tuple<f32, vector<2xi1>>>
module @m attributes {a.map = #map, a.set = #set, a.u = !u, a.b = unit, a.c = [], a.d = {},
    a.e = "x\0A\22\\\F0\9F\92\A9", a.f = @x::@y::@"z w", a.g = 1 : i1024, a.h = -1 : i1024,
    a.i = 123456789012345678901234567890 : i128, a.j = 0x7fc00001 : f32, a.k = 1.0 : f80, a.l = 0.1 : f128,
    a.m = 1.5 : tf32, a.n = 1.0 : f8E5M2, a.o = 0x7F : f8E4M3FN, a.p = 1 : index, a.q = -128 : si8, a.r = 255 : ui8,
    a.s = true, a.t = 2.0 : bf16, a.u2 = 1.0e-45 : f32, a.v = 1.7976931348623157e308, a.w = (i32,
    (f32) -> f32) -> (i1, none), a.x = () -> (), a.y = distinct[0]<"q">, a.z = distinct[1]<42 : i32>} {
  func.func private @f(i32, !t, !u) -> (i32, !llvm.ptr<1>)
}
// -----
module attributes {d.a = dense<1> : tensor<4x4xi32>, d.b = dense<[[1,2],[3,4]]> : tensor<2x2xi4>,
    d.c = dense<(1.0,2.0)> : tensor<3xcomplex<f32>>, d.d = dense<[(1,2),(3,4)]> : tensor<2xcomplex<i32>>,
    d.e = dense<"0x00112233445566778899AABBCCDDEEFF"> : tensor<4xf32>, d.f = dense<["a","b\22c"]> : tensor<2x!str.t>,
    d.g = dense<> : tensor<0x3xf32>, d.h = dense<0xFFC00000> : tensor<f32>, d.i = dense<[0x7F800000, 0xFF800000, 0.0,
    -0.0, 1.0e-45]> : tensor<5xf32>, d.j = dense<true> : tensor<8xi1>, d.k = dense<[true,false,true]> : vector<3xi1>,
    d.l = dense<1.0> : vector<[4]xf32>, d.m = sparse<[[0,0],[1,2]],[1.0,5.0]> : tensor<3x4xf32>, d.n = sparse<0,
    "a"> : tensor<3x!str.t>, d.o = array<i8: 1, -2>, d.p = array<f64: 1.0, 2.5e-300>, d.q = array<i1: true, false>,
    d.r = array<f32>, d.s = array<i64>, d.t = dense<[1.0, 2.0]> : tensor<2xf8E4M3FNUZ>, d.u = dense<[0.5,
    6.0]> : tensor<2xf4E2M1FN>, d.v = dense<1.0> : tensor<2xf8E8M0FNU>, d.w = dense<[1, -1]> : tensor<2xi512>,
    d.x = dense<[255, 0]> : tensor<2xui8>, d.y = dense<[1, 2]> : tensor<2xindex>, d.z = dense<1.0> : tensor<2xf80>,
    d.aa = dense<[1.0, 3.0]> : tensor<2xtf32>, d.ab = dense<[1.0e-3, 2.0]> : tensor<2xf128>, d.ac = sparse<[],
    []> : tensor<2xi32>, d.ad = sparse<[[0],[2]], [1,2]> : tensor<3xi32>, d.ae = array<i32: 5>,
    d.af = dense<"0xFF"> : tensor<8xi1>, d.ag = dense<(0x7FC00000, 1.0)> : tensor<complex<f32>>} {}
// -----
module {
  "d.r"() {v = dense_resource<blob1> : tensor<2xf32>, w = dense_resource<"blob 2"> : tensor<1xi8>} : () -> ()
}
{-#
  dialect_resources: { builtin: { blob1: "0x04000000000080400000C040", "blob 2": "0x0100000007" } }
#-}
// -----
func.func @types(%a: memref<?x4xf32, strided<[?, 1], offset: ?>, 3>, %b: memref<4xf32, affine_map<(d0) -> (d0 * 2)>>,
    %c: memref<4x4xf32, affine_map<(d0, d1) -> (d1, d0)>, #gpu.address_space<workgroup>>, %d: vector<[4]xf32>,
    %e: vector<2x[8]xi1>, %f: tensor<*xf32>, %g: memref<*xf32, 1>, %h: tensor<4xf32, #x.enc<"a">>, %i: !a.b<c<d>,
    "e">, %j: complex<f64>, %k: none, %l: i1024, %m: tuple<>, %n: f80, %o: memref<2xmemref<3xf32>>, %p: vector<f32>,
    %q: tensor<0xf32>, %r: memref<4xf32, "space">, %t: tensor<2x!a.b<1>>, %v: tensor<1x?x3xf32, {a = 1}>,
    %w: !a.b<->>, %y: tensor<?x?x?xindex>) {
  return
}
// -----
func.func @u(%a: vector<3x!llvm.ptr>, %c: tensor<2xvector<4xf32>>, %d: tensor<3xcomplex<i32>>,
    %e: !quant.uniform<i8:f32, 2.0e-3:-5>, %f: tensor<2x!quant.uniform<i8<-8:7>:f32:1, {1.0, 2.0:3}>>,
    %g: tensor<2x!tosa.shape<3>>) { return }
// -----
func.func @locs(%a: i32 loc("arg"("f.py":1:2))) -> i32 {
  %0 = arith.addi %a, %a : i32 loc(fused<"CSE">["a", "f":3:4, callsite("b" at "g":1:1)])
  %1 = "x.y"(%0) {l = loc("inside":1:1), m = loc(unknown),
      n = [loc("z")]} : (i32) -> i32 loc("n"(callsite("b" at callsite("c":1:2 at unknown))))
  %2 = "x.z"(%1) ({
    ^bb0(%q: i32 loc("q":5:5), %r: f32 loc(fused<{a = 1}>["r"])):
      "x.w"() : () -> () loc("range":1:2 to 3:4)
  }) : (i32) -> i32 loc(fused[unknown, "x":1:1 to :9])
  return %2 : i32 loc("ret")
} loc("fn")
// -----
func.func @cf(%c: i1, %x: i32) -> i32 {
  cf.cond_br %c, ^bb1(%x : i32), ^bb2(%x, %c : i32, i1) {branch_weights = array<i32: 1, 2>}
^bb1(%a: i32):
  cf.switch %a : i32, [ default: ^bb3(%a : i32), 42: ^bb3(%x : i32), -1: ^bb1(%x : i32) ]
^bb2(%b: i32, %d: i1):
  cf.assert %d, "msg \" \n"
  cf.br ^bb3(%b : i32)
^bb3(%r: i32):
  return %r : i32
}
// -----
func.func @scf(%n: index, %x: memref<?xf32>, %c: i1) -> (f32, i32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %z = arith.constant 0.0 : f32
  %s = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %z) -> f32 {
    %v = memref.load %x[%i] : memref<?xf32>
    %w = arith.addf %acc, %v fastmath<fast> : f32
    scf.yield %w : f32
  }
  %u = scf.for unsigned %i = %c0 to %n step %c1 iter_args(%acc = %z) -> f32 { scf.yield %acc : f32 }
  %r = scf.if %c -> i32 { %a = arith.constant 1 : i32  scf.yield %a : i32 } else { %b = arith.constant -1 : i32  scf.yield %b : i32 }
  %w:2 = scf.while (%k = %r, %q = %s) : (i32, f32) -> (i32, f32) {
    %p = arith.cmpi slt, %k, %r : i32
    scf.condition(%p) %k, %q : i32, f32
  } do { ^bb0(%k: i32, %q: f32): scf.yield %k, %q : i32, f32 }
  scf.parallel (%i, %j) = (%c0, %c0) to (%n, %n) step (%c1, %c1) { scf.reduce }
  %red = scf.parallel (%i) = (%c0) to (%n) step (%c1) init (%z) -> f32 {
    scf.reduce(%z : f32) { ^bb0(%a: f32, %b: f32): %m = arith.maximumf %a, %b : f32  scf.reduce.return %m : f32 }
  }
  %e = scf.execute_region -> i32 { cf.br ^bb1
   ^bb1: scf.yield %r : i32 }
  %is = scf.index_switch %n -> i32
  case 2 { scf.yield %r : i32 }
  case 5 { scf.yield %e : i32 }
  default { scf.yield %r : i32 }
  scf.forall (%i, %j) in (%n, 4) { } {mapping = [#gpu.thread<y>, #gpu.thread<x>]}
  scf.forall (%i) = (0) to (8) step (2) { }
  scf.if %c { }
  return %red, %is : f32, i32
}
// -----
func.func @forall(%t: tensor<8xf32>) -> tensor<8xf32> {
  %r = scf.forall (%i) in (8) shared_outs(%o = %t) -> tensor<8xf32> {
    %s = tensor.extract_slice %t[%i] [1] [1] : tensor<8xf32> to tensor<1xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %s into %o[%i] [1] [1] : tensor<1xf32> into tensor<8xf32> }
  }
  return %r : tensor<8xf32>
}
// -----
func.func @math(%f: f32, %i: i32, %v: vector<4xf16>, %t: tensor<?xf32>) {
  %0 = math.exp %f fastmath<afn> : f32
  %1 = math.atan2 %f, %f : f32
  %2 = math.fpowi %f, %i : f32, i32
  %3 = math.ctpop %i : i32
  %4 = math.fma %v, %v, %v : vector<4xf16>
  %5 = math.tanh %t : tensor<?xf32>
  %6 = math.isnan %f : f32
  %7, %8 = math.sincos %f : f32
  %9 = math.ipowi %i, %i : i32
  %10 = math.cbrt %f : f32
  %11 = math.absi %i : i32
  %12 = math.roundeven %v : vector<4xf16>
  %13 = math.powf %t, %t : tensor<?xf32>
  return
}
// -----
memref.global "private" constant @g : memref<2x2xf32> = dense<[[1.0, 2.0], [3.0, 4.0]]> {alignment = 64 : i64}
memref.global "public" @ext : memref<4xi32>
memref.global @un : memref<4xi32, 3> = uninitialized
memref.global constant @res : memref<4xf32> = dense_resource<zz>
memref.global @i4 : memref<4xi4> = dense<1>
func.func @memref(%n: index, %m: memref<?x?xf32>, %u: memref<*xf32>, %s: memref<4x4xf32, strided<[4, 1], offset: ?>>,
    %f: f32) {
  %c0 = arith.constant 0 : index
  %0 = memref.alloc(%n) : memref<?x4xf32>
  %1 = memref.alloc()[%n] {alignment = 32 : i64} : memref<4xf32, affine_map<(d0)[s0] -> (d0 + s0)>>
  %2 = memref.alloca() : memref<2xf32, 5>
  %3 = memref.cast %m : memref<?x?xf32> to memref<4x?xf32>
  %4 = memref.cast %u : memref<*xf32> to memref<4xf32>
  %5 = memref.dim %u, %c0 : memref<*xf32>
  %6 = memref.subview %m[%c0, 1][2, %n][1, 1] : memref<?x?xf32> to memref<2x?xf32, strided<[?, 1], offset: ?>>
  %7 = memref.reinterpret_cast %m to offset: [%n], sizes: [4, %n], strides: [%n,
      1] : memref<?x?xf32> to memref<4x?xf32, strided<[?, 1], offset: ?>>
  %8 = memref.collapse_shape %s [[0, 1]] : memref<4x4xf32, strided<[4, 1], offset: ?>> into memref<16xf32,
      strided<[1], offset: ?>>
  %9 = memref.expand_shape %m [[0], [1, 2]] output_shape [%n, %n, 4] : memref<?x?xf32> into memref<?x?x4xf32>
  %base, %off, %sizes:2, %strides:2 = memref.extract_strided_metadata %m : memref<?x?xf32> -> memref<f32>, index,
      index, index, index, index
  memref.store %f, %m[%c0, %n] {nontemporal = true} : memref<?x?xf32>
  %10 = memref.load %s[%c0, %n] : memref<4x4xf32, strided<[4, 1], offset: ?>>
  memref.copy %m, %m : memref<?x?xf32> to memref<?x?xf32>
  memref.dealloc %0 : memref<?x4xf32>
  %11 = memref.get_global @g : memref<2x2xf32>
  %12 = memref.atomic_rmw addf %f, %m[%c0, %c0] : (f32, memref<?x?xf32>) -> f32
  %13 = memref.generic_atomic_rmw %m[%c0, %c0] : memref<?x?xf32> { ^bb0(%c: f32): memref.atomic_yield %c : f32 }
  memref.prefetch %m[%c0, %c0], write, locality<3>, data : memref<?x?xf32>
  %14 = memref.rank %u : memref<*xf32>
  %15 = memref.transpose %m (i, j) -> (j, i) : memref<?x?xf32> to memref<?x?xf32, strided<[1, ?]>>
  %17 = memref.alloc() : memref<64xi8>
  %16 = memref.view %17[%c0][%n] : memref<64xi8> to memref<?x4xf32>
  return
}
// -----
func.func @memref(%n: index, %m: memref<?x?xf32>, %u: memref<*xf32>, %s: memref<4x4xf32, strided<[4, 1], offset: ?>>,
    %f: f32) {
  %c0 = arith.constant 0 : index
  %r = memref.alloca_scope -> f32 { memref.alloca_scope.return %f : f32 }
  %a = memref.assume_alignment %m, 16 : memref<?x?xf32>
  %p = memref.extract_aligned_pointer_as_index %m : memref<?x?xf32> -> index
  %q = memref.alloc() : memref<64xf32>
  %re = memref.realloc %q(%n) : memref<64xf32> to memref<?xf32>
  return
}
// -----
func.func @vector(%m: memref<?x?xf32>, %v: vector<4xf32>, %w: vector<[4]xf32>, %i: index, %f: f32,
    %mask: vector<4xi1>, %t: tensor<4x4xf32>, %a: vector<4x4xf32>, %iv: vector<4xi32>) {
  %0 = vector.transfer_read %m[%i, %i], %f {in_bounds = [true]} : memref<?x?xf32>, vector<4xf32>
  vector.transfer_write %v, %m[%i, %i], %mask {permutation_map = affine_map<(d0, d1) -> (d0)>} : vector<4xf32>,
      memref<?x?xf32>
  %1 = vector.contract {indexing_maps = [affine_map<(i, j, k) -> (i, k)>, affine_map<(i, j, k) -> (k, j)>,
      affine_map<(i, j, k) -> (i, j)>], iterator_types = ["parallel", "parallel", "reduction"],
      kind = #vector.kind<add>} %a, %a, %a : vector<4x4xf32>, vector<4x4xf32> into vector<4x4xf32>
  %2 = vector.reduction <add>, %v, %f fastmath<reassoc> : vector<4xf32> into f32
  %3 = vector.extract %a[1, 2] : f32 from vector<4x4xf32>
  %4 = vector.extract %a[%i] : vector<4xf32> from vector<4x4xf32>
  %5 = vector.insert %f, %v[%i] : f32 into vector<4xf32>
  %6 = vector.broadcast %f : f32 to vector<[4]xf32>
  %7 = vector.shape_cast %a : vector<4x4xf32> to vector<16xf32>
  %8 = vector.shuffle %v, %v [0, 5, -1] : vector<4xf32>, vector<4xf32>
  %9 = vector.fma %v, %v, %v : vector<4xf32>
  %10 = vector.load %m[%i, %i] {alignment = 16 : i64, nontemporal = true} : memref<?x?xf32>, vector<4xf32>
  vector.store %v, %m[%i, %i] : memref<?x?xf32>, vector<4xf32>
  vector.maskedstore %m[%i, %i], %mask, %v : memref<?x?xf32>, vector<4xi1>, vector<4xf32>
  %11 = vector.create_mask %i : vector<[4]xi1>
  %12 = vector.mask %mask { vector.reduction <maximumf>, %v : vector<4xf32> into f32 } : vector<4xi1> -> f32
  %13 = vector.gather %m[%i, %i][%iv], %mask, %v : memref<?x?xf32>, vector<4xi32>, vector<4xi1>,
      vector<4xf32> into vector<4xf32>
  %14 = vector.transpose %a, [1, 0] : vector<4x4xf32> to vector<4x4xf32>
  %15 = vector.multi_reduction <mul>, %a, %v [0] : vector<4x4xf32> to vector<4xf32>
  %16 = vector.outerproduct %v, %f {kind = #vector.kind<maxnumf>} : vector<4xf32>, f32
  %17 = vector.extract_strided_slice %a {offsets = [0], sizes = [2],
      strides = [1]} : vector<4x4xf32> to vector<2x4xf32>
  %18 = vector.bitcast %v : vector<4xf32> to vector<8xf16>
  %19 = vector.interleave %v, %v : vector<4xf32> -> vector<8xf32>
  %20:2 = vector.deinterleave %v : vector<4xf32> -> vector<2xf32>
  %21 = vector.step : vector<[4]xindex>
  %22 = vector.vscale
  %23 = vector.from_elements %f, %f : vector<2xf32>
  %24:4 = vector.to_elements %v : vector<4xf32>
  %25 = vector.transfer_read %t[%i, %i], %f {in_bounds = [true, false]} : tensor<4x4xf32>, vector<2x2xf32>
  vector.print %v : vector<4xf32>
  vector.print punctuation <newline>
  vector.print str "a\0A"
  %26, %27 = vector.scan <add>, %a, %v {inclusive = true, reduction_dim = 0} : vector<4x4xf32>, vector<4xf32>
  %28 = vector.constant_mask [2] : vector<4xi1>
  %29 = vector.scalable.insert %v, %w[0] : vector<4xf32> into vector<[4]xf32>
  %30 = vector.insert %v, %a[1] : vector<4xf32> into vector<4x4xf32>
  %31 = vector.extract %v[] : vector<4xf32> from vector<4xf32>
  return
}
// -----
module attributes {gpu.container_module} {
  gpu.module @kernels [#nvvm.target<chip = "sm_90", flags = {fast}>, #rocdl.target] attributes {x.y = 1} {
    gpu.func @k(%a: memref<4xf32>, %b: index {llvm.noalias}) workgroup(%w: memref<32xf32,
        #gpu.address_space<workgroup>> {llvm.align = 16 : i64}) private(%p: memref<1xf32,
        5>) kernel attributes {known_block_size = array<i32: 1, 2, 3>} {
      %t = gpu.thread_id x upper_bound 32
      %bd = gpu.block_dim z
      %g = gpu.grid_dim y
      %gi = gpu.global_id x
      %l = gpu.lane_id
      %sg = gpu.subgroup_id : index
      gpu.barrier
      %c = arith.constant 1.0 : f32
      %o = arith.constant 1 : i32
      %s, %v = gpu.shuffle xor %c, %o, %o : f32
      %r = gpu.all_reduce add %c uniform {} : (f32) -> (f32)
      %r2 = gpu.subgroup_reduce maximumf %c cluster(size = 4, stride = 2) : (f32) -> f32
      %r3 = gpu.all_reduce %c { ^bb0(%x: f32, %y: f32): %z = arith.addf %x,
          %y : f32  gpu.yield %z : f32 } : (f32) -> (f32)
      %d = gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
      gpu.printf "x %d\0A", %t : index
      gpu.return
    }
  }
  func.func @main(%m: memref<4xf32>, %n: index) {
    %t0 = gpu.wait async
    %sm = arith.constant 0 : i32
    %t1 = gpu.launch_func async [%t0] @kernels::@k blocks in (%n, %n, %n) threads in (%n, %n,
        %n) dynamic_shared_memory_size %sm args(%m : memref<4xf32>, %n : index)
    gpu.launch_func @kernels::@k clusters in (%n, %n, %n) blocks in (%n, %n, %n) threads in (%n, %n,
        %n) args(%m : memref<4xf32>, %n : index)
    gpu.launch blocks(%bx, %by, %bz) in (%gx = %n, %gy = %n, %gz = %n) threads(%tx, %ty, %tz) in (%sx = %n, %sy = %n,
        %sz = %n) workgroup(%w : memref<4xf32, 3>) { gpu.terminator }
    %al, %t2 = gpu.alloc async [%t1] host_shared (%n) : memref<?xf32>
    %t3 = gpu.memcpy async [%t2] %al, %al : memref<?xf32>, memref<?xf32>
    %u = memref.cast %m : memref<4xf32> to memref<*xf32>
    gpu.host_register %u : memref<*xf32>
    return
  }
  gpu.binary @bin <#gpu.select_object<0>> [#gpu.object<#nvvm.target<chip = "sm_90">, "BLOB\00\FF">]
}
// -----
gpu.binary @bin <#gpu.select_object<0>> [#gpu.object<#nvvm.target<chip = "sm_90">, "BLOB\00\FF">]
// -----
#map = affine_map<(i, j, k) -> (i, k)>
#map1 = affine_map<(i, j, k) -> (k, j)>
#map2 = affine_map<(i, j, k) -> (i, j)>
#trait = {indexing_maps = [#map, #map1, #map2], iterator_types = ["parallel", "parallel", "reduction"], doc = "mm"}
func.func @linalg(%a: tensor<4x8xf32>, %b: tensor<8x?xf32>, %c: tensor<4x?xf32>, %f: f32) -> tensor<4x?xf32> {
  %0 = linalg.generic #trait ins(%a, %b : tensor<4x8xf32>, tensor<8x?xf32>) outs(%c : tensor<4x?xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %i = linalg.index 0 : index
    %m = arith.mulf %x, %y : f32
    %s = arith.addf %m, %z : f32
    linalg.yield %s : f32
  } -> tensor<4x?xf32>
  %1 = linalg.matmul ins(%a, %b : tensor<4x8xf32>, tensor<8x?xf32>) outs(%0 : tensor<4x?xf32>) -> tensor<4x?xf32>
  %2 = linalg.fill ins(%f : f32) outs(%1 : tensor<4x?xf32>) -> tensor<4x?xf32>
  %3 = linalg.map { math.exp } ins(%2 : tensor<4x?xf32>) outs(%c : tensor<4x?xf32>)
  %4 = linalg.elementwise kind=#linalg.elementwise_kind<add> ins(%3, %3 : tensor<4x?xf32>,
      tensor<4x?xf32>) outs(%c : tensor<4x?xf32>) -> tensor<4x?xf32>
  return %4 : tensor<4x?xf32>
}
// -----
func.func @tensor(%t: tensor<?x4xf32>, %i: index, %f: f32, %s: tensor<2xindex>) -> tensor<*xf32> {
  %0 = tensor.empty(%i) : tensor<?x4xf32>
  %1 = tensor.extract %t[%i, %i] : tensor<?x4xf32>
  %2 = tensor.insert %f into %t[%i, %i] : tensor<?x4xf32>
  %3 = tensor.extract_slice %t[%i, 0][2, 4][1, 1] : tensor<?x4xf32> to tensor<2x4xf32>
  %4 = tensor.insert_slice %3 into %t[0, 0][2, 4][1, %i] : tensor<2x4xf32> into tensor<?x4xf32>
  %5 = tensor.pad %t low[1, %i] high[0, 2] { ^bb0(%a: index,
      %b: index): tensor.yield %f : f32 } : tensor<?x4xf32> to tensor<?x?xf32>
  %6 = tensor.collapse_shape %t [[0, 1]] : tensor<?x4xf32> into tensor<?xf32>
  %7 = tensor.from_elements %f, %f : tensor<2xf32>
  %8 = tensor.generate %i { ^bb0(%a: index): tensor.yield %f : f32 } : tensor<?xf32>
  %9 = tensor.cast %t : tensor<?x4xf32> to tensor<*xf32>
  %10 = tensor.dim %t, %i : tensor<?x4xf32>
  %11 = tensor.splat %f : tensor<3xf32>
  %12 = tensor.reshape %t(%s) : (tensor<?x4xf32>, tensor<2xindex>) -> tensor<?x?xf32>
  %13 = tensor.concat dim(0) %3, %3 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %14 = bufferization.to_buffer %t : tensor<?x4xf32> to memref<?x4xf32>
  %15 = bufferization.to_tensor %14 restrict writable : memref<?x4xf32> to tensor<?x4xf32>
  return %9 : tensor<*xf32>
}
// -----
func.func @affine(%m: memref<?x?xf32>, %n: index) {
  affine.for %i = 0 to %n step 2 {
    affine.for %j = max affine_map<(d0)[s0] -> (0, d0 - s0)>(%i)[%n] to min affine_map<(d0)[s0] -> (s0,
        d0 + 8)>(%i)[%n] {
      %v = affine.load %m[%i + 1, %j floordiv 2] : memref<?x?xf32>
      affine.if affine_set<(d0, d1)[s0] : (d0 - d1 >= 0, s0 - d0 - 1 == 0)>(%i, %j)[%n] { affine.store %v, %m[%i,
          symbol(%n)] : memref<?x?xf32> } else { }
      %w = affine.vector_load %m[%i, %j] : memref<?x?xf32>, vector<4xf32>
    }
  }
  %r = affine.parallel (%i, %j) = (0, 0) to (min(128, %n), 8) step (2,
      4) reduce ("addf") -> f32 { %c = arith.constant 1.0 : f32  affine.yield %c : f32 }
  %a = affine.apply affine_map<(d0)[s0] -> (d0 * 4 + s0 mod 3)>(%n)[%n]
  %b = affine.min affine_map<(d0) -> (d0, 128)>(%n)
  %d:2 = affine.delinearize_index %n into (4, 8) : index, index
  return
}
// -----
llvm.mlir.global internal constant @s("hello\0A\00") {addr_space = 0 : i32} : !llvm.array<7 x i8>
llvm.mlir.global external @g(1 : i32) {alignment = 8 : i64} : i32
llvm.mlir.global linkonce @h() : !llvm.struct<packed (i8, vector<4xf32>,
    ptr<3>)> { %0 = llvm.mlir.undef : !llvm.struct<packed (i8, vector<4xf32>,
    ptr<3>)>  llvm.return %0 : !llvm.struct<packed (i8, vector<4xf32>, ptr<3>)> }
llvm.func @printf(!llvm.ptr {llvm.noalias, llvm.readonly}, ...) -> i32 attributes {sym_visibility = "private"}
llvm.func internal fastcc @f(%a: i32, %b: !llvm.struct<"rec", (i32, ptr)>,
    %p: !llvm.ptr<1>) -> i32 attributes {passthrough = ["noinline", ["a", "b"]],
    memory_effects = #llvm.memory_effects<other = none, argMem = read, inaccessibleMem = none, errnoMem = none,
    targetMem0 = none, targetMem1 = none>} {
  %0 = llvm.mlir.constant(42 : i32) : i32
  %1 = llvm.add %a, %0 overflow<nsw> : i32
  %2 = llvm.getelementptr inbounds %p[%a, 1] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.struct<(i32,
      array<4 x f32>)>
  %3 = llvm.load %2 {alignment = 4 : i64} : !llvm.ptr<1> -> i32
  %4 = llvm.icmp "slt" %1, %3 : i32
  llvm.cond_br %4 weights([1, 9]), ^bb1, ^bb2(%1 : i32)
^bb1:
  %5 = llvm.call @f(%a, %b, %p) : (i32, !llvm.struct<"rec", (i32, ptr)>, !llvm.ptr<1>) -> i32
  llvm.br ^bb2(%5 : i32) {loop_annotation = #llvm.loop_annotation<disableNonforced = false,
      vectorize = <disable = true>>}
^bb2(%6: i32):
  %7 = llvm.mlir.addressof @s : !llvm.ptr
  %8 = llvm.call @printf(%7, %6) vararg(!llvm.func<i32 (ptr, ...)>) : (!llvm.ptr, i32) -> i32
  %9 = llvm.inline_asm has_side_effects "mov $0, $1", "=r,r" %6 : (i32) -> i32
  %11 = llvm.mlir.constant(1.0 : f32) : f32
  %10 = llvm.fadd %11, %11 {fastmathFlags = #llvm.fastmath<fast>} : f32
  llvm.return %9 : i32
}
// -----
llvm.mlir.global internal constant @s("hello\0A\00") {addr_space = 0 : i32} : !llvm.array<7 x i8>
llvm.func @printf(!llvm.ptr {llvm.noalias, llvm.readonly}, ...) -> i32
#di_file = #llvm.di_file<"a.c" in "/x">
#di_cu = #llvm.di_compile_unit<id = distinct[0]<>, sourceLanguage = DW_LANG_C, file = #di_file, producer = "p",
    isOptimized = true, emissionKind = Full>
#di_sp = #llvm.di_subprogram<id = distinct[1]<>, compileUnit = #di_cu, scope = #di_file, name = "f", file = #di_file,
    line = 3, subprogramFlags = Definition>
#loc0 = loc("a.c":1:1)
llvm.func internal fastcc @f(%a: i32, %b: !llvm.struct<"rec", (i32, ptr)>,
    %p: !llvm.ptr<1>) -> i32 attributes {passthrough = ["noinline", ["a", "b"]]} {
  %0 = llvm.mlir.constant(42 : i32) : i32
  %1 = llvm.add %a, %0 overflow<nsw> : i32
  %2 = llvm.getelementptr inbounds %p[%a, 1] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.struct<(i32,
      array<4 x f32>)>
  %3 = llvm.load %2 {alignment = 4 : i64} : !llvm.ptr<1> -> i32
  %4 = llvm.icmp "slt" %1, %3 : i32
  llvm.cond_br %4 weights([1, 9]), ^bb1, ^bb2(%1 : i32)
^bb1:
  %5 = llvm.call @f(%a, %b, %p) : (i32, !llvm.struct<"rec", (i32, ptr)>,
      !llvm.ptr<1>) -> i32 loc(fused<#di_sp>[#loc0])
  llvm.br ^bb2(%5 : i32)
^bb2(%6: i32):
  %7 = llvm.mlir.addressof @s : !llvm.ptr
  %8 = llvm.call @printf(%7, %6) vararg(!llvm.func<i32 (ptr, ...)>) : (!llvm.ptr, i32) -> i32
  %9 = llvm.inline_asm has_side_effects "mov $0, $1", "=r,r" %6 : (i32) -> i32
  llvm.return %9 : i32
} loc(fused<#di_sp>["a.c":3:1])
// -----
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%arg0: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["linalg.matmul"]} in %arg0 : (!transform.any_op) -> !transform.any_op
    %1, %loops:3 = transform.structured.tile_using_for %0 tile_sizes [4, 4,
        8] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    %p = transform.param.constant 3 : i64 -> !transform.param<i64>
    transform.foreach %1 : !transform.any_op { ^bb0(%a: !transform.any_op): transform.yield }
    transform.apply_patterns to %arg0 { transform.apply_patterns.canonicalization } : !transform.any_op
    transform.yield
  }
}
// -----
spirv.module Logical GLSL450 requires #spirv.vce<v1.0, [Shader], [SPV_KHR_storage_buffer_storage_class]> {
  spirv.GlobalVariable @v bind(0, 1) : !spirv.ptr<!spirv.struct<(!spirv.array<4 x f32, stride=4> [0])>, StorageBuffer>
  spirv.SpecConstant @sc spec_id(3) = 5 : i32
  spirv.func @f(%a: f32, %b: vector<4xf32>) -> f32 "None" {
    %0 = spirv.FAdd %a, %a : f32
    %1 = spirv.Constant dense<1.0> : vector<4xf32>
    %2 = spirv.Constant [dense<3> : vector<2xi32>] : !spirv.array<1 x vector<2xi32>>
    %3 = spirv.CompositeExtract %b[0 : i32] : vector<4xf32>
    spirv.mlir.selection { spirv.Branch ^m
    ^m: spirv.mlir.merge }
    spirv.ReturnValue %0 : f32
  }
  spirv.EntryPoint "GLCompute" @f, @v
  spirv.ExecutionMode @f "LocalSize", 8, 1, 1
}
// -----
func.func @tosa(%a: tensor<1x4x4x4xf32>, %i: tensor<4xi8>) -> tensor<1x4x4x4xf32> {
  %0 = tosa.add %a, %a : (tensor<1x4x4x4xf32>, tensor<1x4x4x4xf32>) -> tensor<1x4x4x4xf32>
  %1 = "tosa.const"() <{values = dense<[1, -2]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %2 = tosa.clamp %0 {min_val = 0.0 : f32, max_val = 6.0 : f32,
      nan_mode = IGNORE} : (tensor<1x4x4x4xf32>) -> tensor<1x4x4x4xf32>
  %3 = tosa.const_shape {values = dense<[16, 4]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %4 = tosa.reshape %0, %3 : (tensor<1x4x4x4xf32>, !tosa.shape<2>) -> tensor<16x4xf32>
  %5 = tosa.reduce_sum %0 {axis = 1 : i32} : (tensor<1x4x4x4xf32>) -> tensor<1x1x4x4xf32>
  return %2 : tensor<1x4x4x4xf32>
}
// -----
func.func @async() { %t = async.execute { async.yield }  async.await %t : !async.token  return }
func.func @omp(%n: index) { omp.parallel { omp.terminator } return }
func.func @cplx(%a: complex<f32>) -> f32 { %0 = complex.re %a : complex<f32>  %1 = complex.constant [1.0 : f32,
    -1.0 : f32] : complex<f32>  return %0 : f32 }
func.func @shape(%a: tensor<?xf32>) { %0 = shape.shape_of %a : tensor<?xf32> -> tensor<?xindex>  %1 = shape.const_shape [1, 2] : !shape.shape  return }
func.func @index(%a: index) { %0 = index.add %a, %a  %1 = index.cmp slt(%a,
    %a)  %2 = index.bool.constant true  return }
func.func @ub() { %0 = ub.poison : i32  %1 = ub.poison : vector<4xf32>  return }
func.func @ctrl(%a: () -> i32) { %0 = call_indirect %a() : () -> i32  %f = constant @ctrl2 : () -> ()  return }
func.func private @ctrl2()
// -----
pdl.pattern @p : benefit(1) { %t = pdl.type : i32  %o = pdl.operand %at2 = pdl.attribute = 1 : i32 %op = pdl.operation "a.b"(%o : !pdl.value) {"x" = %at2} -> (%t : !pdl.type)  pdl.rewrite %op { pdl.erase %op } }
// -----
irdl.dialect @cmath { irdl.type @complex { %0 = irdl.is f32  irdl.parameters(elem: %0) }  irdl.operation @mul { %0 = irdl.any  irdl.operands(l: %0)  irdl.results(r: %0) } }
// -----
emitc.func @f(%a: !emitc.ptr<i32>,
    %b: !emitc.opaque<"std::vector<int>">) { %0 = "emitc.constant"() {value = #emitc.opaque<"x > 1">} : () -> i32  emitc.verbatim "#pragma once"  emitc.return }
// -----
ml_program.global private mutable @v(dense<4> : tensor<4xi32>) : tensor<4xi32>
ml_program.func @g(%a: i32) -> i32 { ml_program.return %a : i32 }
// -----
func.func @arith(%a: i32, %b: i32, %f: f32, %g: f32, %t: tensor<4xf32>, %v: vector<4xf32>, %iv: vector<[4]xi32>,
    %x: index) {
  %0 = arith.addi %a, %b overflow<nsw, nuw> : i32
  %1:2 = arith.addui_extended %a, %b : i32, i1
  %2:2 = arith.mulsi_extended %a, %b : i32
  %3 = arith.addf %t, %t : tensor<4xf32>
  %4 = arith.cmpf ueq, %f, %g fastmath<nnan,ninf> : f32
  %5 = arith.cmpi ult, %iv, %iv : vector<[4]xi32>
  %6 = arith.select %4, %f, %g : f32
  %7 = arith.select %5, %iv, %iv : vector<[4]xi1>, vector<[4]xi32>
  %8 = arith.truncf %f to_nearest_even : f32 to bf16
  %9 = arith.extf %f : f32 to f128
  %10 = arith.truncf %9 : f128 to f80
  %11 = arith.constant dense<1> : tensor<4xi32>
  %12 = arith.constant dense<[1,2]> : vector<2xi4>
  %13 = arith.constant 1.0 : f80
  %14 = arith.constant 1 : i1024
  %15 = arith.constant dense<0.0> : vector<[4]xf32>
  %16 = arith.index_cast %x : index to i32
  %17 = arith.bitcast %t : tensor<4xf32> to tensor<4xi32>
  %18 = arith.divsi %a, %b : i32
  %19 = arith.ceildivsi %a, %b : i32
  %20 = arith.floordivsi %a, %b : i32
  %21 = arith.maxnumf %f, %g : f32
  %22 = arith.minimumf %v, %v : vector<4xf32>
  %23 = arith.shrui %a, %b exact : i32
  %24 = arith.extui %4 : i1 to i32
  %25 = arith.trunci %a overflow<nuw> : i32 to i7
  %26 = arith.uitofp %a : i32 to f16
  %27 = arith.constant true
  %28 = arith.constant -9223372036854775808 : i64
  %29 = arith.constant 0xFFF0000000000000 : f64
  %30 = arith.cmpi eq, %x, %x : index
  %31 = arith.uitofp %a : i32 to f32
  %32 = arith.divui %a, %b exact : i32
  %33 = arith.select %30, %t, %t : tensor<4xf32>
  %34 = arith.constant dense_resource<foo> : tensor<4xf32>
  %35 = arith.constant 1.0 : f8E5M2
  %36 = arith.remf %t, %t : tensor<4xf32>
  %37 = arith.cmpi slt, %17, %11 : tensor<4xi32>
  %38 = arith.constant sparse<[[0]], [1.0]> : tensor<3xf32>
  return
}
// -----
"x.a"() ({
  "x.b"()[^bb1, ^bb1] : () -> ()
^bb1:
  "x.c"()[^bb1] {a} : () -> ()
}, {}) {"quoted key" = 1, "1" = 2, b.c.d, e = #x.y<"str>ing" -> x>, f = !x.y<(i32) -> (f32), [1, 2], {a = 3}>,
        g = #x.y, h = !x.y, i = @"a b"::@c, k = #x.y<1> : i32, l = [#x.y<a> : i8, 2], m = "typed" : !x.y,
            n = "s" : i32,
        o = #x<"a"> : tensor<4xf32>} : () -> ()
%0:3, %1 = "x.d"(%2) : (f32) -> (i32, f32, () -> i32, (i32) -> (f32, i1))
%2 = "x.e"(%0#2, %1, %0#0) : (() -> i32, (i32) -> (f32, i1), i32) -> f32
"x.f"(%2) <{p = 1, "q r" = dense<1> : tensor<2xi32>}> {d = 2} : (f32) -> ()
// -----
func.func @tensors(%a: tensor<4x?xf32>, %i: index, %f: f32) -> tensor<?x?xf32> {
  %e = tensor.empty(%i) : tensor<4x?xf32, "enc">
  %s = tensor.extract_slice %a[0, %i] [2, 4] [1, 2] : tensor<4x?xf32> to tensor<2x4xf32>
  %x = tensor.extract %s[%i, %i] : tensor<2x4xf32>
  %fe = tensor.from_elements %x, %f : tensor<2xf32>
  %c = tensor.cast %a : tensor<4x?xf32> to tensor<?x?xf32>
  %p = tensor.pad %a low[%i, %i] high[0, 0] {
  ^bb0(%u: index, %v: index):
    tensor.yield %f : f32
  } : tensor<4x?xf32> to tensor<?x?xf32>
  %g = tensor.generate %i, %i {
  ^bb0(%u: index, %v: index):
    tensor.yield %f : f32
  } : tensor<?x?xf32>
  %col = tensor.collapse_shape %a [[0, 1]] : tensor<4x?xf32> into tensor<?xf32>
  return %g : tensor<?x?xf32>
}
// -----
func.func @odd_uses(%i: index, %sv: vector<[4]xf32>, %b2: vector<2x2x[4]xf32>, %vv: memref<2xvector<4xf32>>,
    %by: memref<2048xi8>, %bys: memref<2048xi8, strided<[1]>>) {
  %c0 = arith.constant 0 : index
  %cm = arith.constant -1 : index
  %0 = vector.load %vv[%i] : memref<2xvector<4xf32>>, vector<4xf32>
  vector.store %0, %vv[%i] : memref<2xvector<4xf32>>, vector<4xf32>
  %1 = vector.extract %b2[0, 1] : vector<[4]xf32> from vector<2x2x[4]xf32>
  %2 = vector.insert %sv, %b2[%i, 1] : vector<[4]xf32> into vector<2x2x[4]xf32>
  %3 = memref.view %bys[%i][] : memref<2048xi8, strided<[1]>> to memref<64x4xf32>
  %4 = memref.view %by[%c0][] : memref<2048xi8> to memref<2xvector<4xf32>>
  %5 = memref.view %by[%c0][] : memref<2048xi8> to memref<2xf80>
  %6 = memref.get_global @i4 : memref<2xi4>
  scf.for %k = %c0 to %i step %c0 { }
  scf.for unsigned %k = %c0 to %i step %cm { }
  "scf.for"(%c0, %i, %i) ({
  ^bb0(%k: index):
    "scf.yield"() : () -> ()
  }) {operandSegmentSizes = array<i32: 0, 0, 0>} : (index, index, index) -> ()
  "a.b"() <{both = 1 : i64, own = 2 : i64}> {both = "x", other = 3 : i64} : () -> ()
  return
}
memref.global "private" @i4 : memref<2xi4> = dense<[1, 2]>
// -----
module attributes {gpu.container_module} {
  gpu.module @llvm { llvm.func @kernel(%p: !llvm.ptr) attributes {gpu.kernel, nvvm.kernel} { llvm.return } }
  gpu.binary @compiled [#gpu.object<#nvvm.target<chip = "sm_90">, "BLOB\00\FF">]
  func.func @launch(%p: !llvm.ptr, %l: i64, %c: index) {
    gpu.launch_func @llvm::@kernel blocks in (%l, %l, %l) threads in (%l, %l, %l) : i64 args(%p : !llvm.ptr)
    gpu.launch_func @compiled::@any blocks in (%c, %c, %c) threads in (%c, %c, %c)
    return
  }
}
// -----
#file = #llvm.di_file<"a.c" in "/x">
#unit = #llvm.di_compile_unit<id = distinct[0]<>, sourceLanguage = DW_LANG_C, file = #file, producer = "p\22",
    isOptimized = true, emissionKind = Full>
#self = #llvm.di_composite_type<recId = distinct[1]<>, isRecSelf = true>
#next = #llvm.di_derived_type<tag = DW_TAG_pointer_type, baseType = #self, sizeInBits = 64>
#node = #llvm.di_composite_type<recId = distinct[1]<>, tag = DW_TAG_structure_type, name = "node", elements = #next>
#fn = #llvm.di_subroutine_type<types = #node>
#sp = #llvm.di_subprogram<id = distinct[2]<>, compileUnit = #unit, scope = #file, name = "f", file = #file, line = 1,
    subprogramFlags = "Definition|Optimized", type = #fn>
module attributes {dlti.dl_spec = #dlti.dl_spec<!llvm.ptr = dense<64> : vector<4xi64>, "dlti.endianness" = "little">} {
  llvm.mlir.global internal constant @text("hello\00\0A\22") {addr_space = 0 : i32}
  llvm.func internal fastcc @f(%a: !llvm.ptr<3> {llvm.byval = !llvm.struct<"S", opaque>}, %n: i64,
      %t: !llvm.target<"spirv.Image", void, 0, 1>) -> (!llvm.struct<packed (i8, struct<"R", (ptr)>)> {llvm.noundef})
      attributes {passthrough = ["nounwind", ["k", "v"]], vscale_range = #llvm.vscale_range<minRange = 1 : i32,
      maxRange = 16 : i32>} {
    %0 = llvm.alloca %n x i32 : (i64) -> !llvm.ptr
    %1 = llvm.getelementptr inbounds %0[%n, 1, 2] : (!llvm.ptr, i64) -> !llvm.ptr, !llvm.struct<(i32, array<3 x i8>)>
    %2 = llvm.inline_asm has_side_effects asm_dialect = att "nop $0", "=r,r" %n : (i64) -> i64
    %3 = llvm.mlir.zero : !llvm.struct<packed (i8, struct<"R", (ptr)>)>
    llvm.return %3 : !llvm.struct<packed (i8, struct<"R", (ptr)>)>
  } loc(fused<#sp>["a.c":1:2])
}
spirv.module Logical GLSL450 requires #spirv.vce<v1.0, [Shader], [SPV_KHR_storage_buffer_storage_class]> {
  spirv.GlobalVariable @v bind(0, 1) : !spirv.ptr<!spirv.struct<(!spirv.array<4 x f32, stride=4> [0],
      !spirv.rtarray<i32> [16, NonWritable])>, StorageBuffer>
}
// -----
#csr = #sparse_tensor.encoding<{map = (d0, d1) -> (d0 : dense, d1 : compressed(nonunique)), posWidth = 32,
    explicitVal = 1.0 : f32, implicitVal = 0.0 : f32}>
#n24 = #sparse_tensor.encoding<{map = (i, j) -> (i : dense, j floordiv 4 : dense, j mod 4 : structured[2, 4])}>
func.func private @sparse(tensor<8x8xf32, #csr>, tensor<?x?xf64, #n24>, !sparse_tensor.iter_space<#csr, lvls = 0>,
    !emitc.ptr<!emitc.opaque<"std::vector<int>">>, !nvgpu.mbarrier.group<memorySpace = #gpu.address_space<workgroup>>)
shard.grid @grid(shape = 2x?x4)
irdl.dialect @cmath {
  irdl.type @complex { %0 = irdl.is f32  irdl.parameters(elem: %0) }
  irdl.operation @norm { %0 = irdl.any  %1 = irdl.parametric @cmath::@complex<%0>  irdl.operands(x: %1, y: optional %0) }
}
pdl.pattern @p : benefit(3) {
  %t = pdl.type : i32
  %o = pdl.operand : %t
  %r = pdl.operation "foo.op"(%o : !pdl.value) -> (%t : !pdl.type)
  pdl.rewrite %r with "rewriter"(%o : !pdl.value)
}
func.func @smt() {
  %0 = smt.bv.constant #smt.bv<-1> : !smt.bv<8>
  %1 = smt.declare_fun "f" : !smt.func<(!smt.bv<4>, !smt.bool) !smt.array<[!smt.int -> !smt.bool]>>
  return
}
func.func @omp(%n: i32) {
  omp.parallel num_threads(%n : i32) proc_bind(close) {
    omp.wsloop schedule(dynamic = %n : i32, nonmonotonic) {
      omp.loop_nest (%i, %j) : i32 = (%n, %n) to (%n, %n) inclusive step (%n, %n) { omp.yield }
    }
    omp.terminator
  }
  return
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%arg: !transform.any_op {transform.readonly}) {
    %0 = transform.structured.match ops{["linalg.matmul"]} in %arg : (!transform.any_op) -> !transform.op<"linalg.matmul">
    %1, %loops:3 = transform.structured.tile_using_for %0 tile_sizes [4, [4], 2] : (!transform.op<"linalg.matmul">) ->
        (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}
