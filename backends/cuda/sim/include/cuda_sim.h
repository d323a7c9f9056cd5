// What CUDA C kernel text sees when cuda-sim compiles it for the host: keywords, thread indices, barriers, shuffles and
// the scalar functions of generated kernels. Anything else is a compile error, on purpose.
//
// Kernel text is compiled with thread-sanitizer and undefined-behaviour instrumentation whose callbacks runtime.cpp
// defines, so nothing here may touch the runtime's own memory: indices come by value.
//
// No header of the host is included: <math.h> alone would take longer to compile than a kernel.
#pragma once

#if !defined(__ELF__)
#error "cuda-sim needs a platform with ELF objects, such as Linux"
#endif

#define __global__ __attribute__((noinline))
#define __device__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
// Every shared array lies in one section, so that the runtime knows their extent and can poison them between blocks.
#define __shared__ static __attribute__((section("dlir_shared"), aligned(16)))

struct uint3 {
  unsigned x, y, z;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

extern "C" {
// Constant within one fiber, which is all that a caller can see.
uint3 dlir_sim_thread_index() __attribute__((const));
uint3 dlir_sim_block_index() __attribute__((const));
uint3 dlir_sim_block_dim() __attribute__((const));
uint3 dlir_sim_grid_dim() __attribute__((const));
int dlir_sim_lane() __attribute__((const));
void dlir_sim_barrier(int line);
unsigned long long dlir_sim_shuffle(unsigned mask, unsigned long long bits, int source, int line);
// The ends of the section of shared arrays; absent when the text has none.
extern char __start_dlir_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_dlir_shared[] __attribute__((weak, visibility("hidden")));
}

#define threadIdx (dlir_sim_thread_index())
#define blockIdx (dlir_sim_block_index())
#define blockDim (dlir_sim_block_dim())
#define gridDim (dlir_sim_grid_dim())
#define __syncthreads() dlir_sim_barrier(__LINE__)

// ---------------------------------------------------------------- shuffles

// The lane that each mode reads; where that lies outside the caller's group of `width` lanes, the caller itself.
static inline int dlir_lane_xor(int by, int width) {
  int lane = dlir_sim_lane(), source = lane ^ by;
  return source / width > lane / width ? lane : source;
}
static inline int dlir_lane_up(int by, int width) {
  int lane = dlir_sim_lane(), source = lane - by;
  return source < lane / width * width ? lane : source;
}
static inline int dlir_lane_down(int by, int width) {
  int lane = dlir_sim_lane(), source = lane + by;
  return source / width != lane / width ? lane : source;
}
static inline int dlir_lane_index(int index, int width) {
  return dlir_sim_lane() / width * width + (index & (width - 1));
}

template <class T>
static inline T dlir_shuffle(unsigned mask, T value, int source, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = dlir_sim_shuffle(mask, bits, source, line);
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

#define __shfl_xor_sync(mask, value, by, width) dlir_shuffle(mask, value, dlir_lane_xor(by, width), __LINE__)
#define __shfl_up_sync(mask, value, by, width) dlir_shuffle(mask, value, dlir_lane_up(by, width), __LINE__)
#define __shfl_down_sync(mask, value, by, width) dlir_shuffle(mask, value, dlir_lane_down(by, width), __LINE__)
#define __shfl_sync(mask, value, index, width) dlir_shuffle(mask, value, dlir_lane_index(index, width), __LINE__)

// ---------------------------------------------------------------- scalar functions

// From the host's C library.
#define DLIR_UNARY(name) extern "C" double name(double) noexcept; extern "C" float name##f(float) noexcept;
#define DLIR_BINARY(name) \
  extern "C" double name(double, double) noexcept; extern "C" float name##f(float, float) noexcept;
DLIR_UNARY(exp) DLIR_UNARY(expm1) DLIR_UNARY(log) DLIR_UNARY(log1p) DLIR_UNARY(sqrt) DLIR_UNARY(tanh) DLIR_UNARY(erf)
DLIR_UNARY(sin) DLIR_UNARY(cos) DLIR_UNARY(fabs) DLIR_UNARY(floor) DLIR_UNARY(ceil) DLIR_UNARY(rint) DLIR_UNARY(trunc)
DLIR_BINARY(pow) DLIR_BINARY(copysign) DLIR_BINARY(fmod) DLIR_BINARY(fmax) DLIR_BINARY(fmin)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;

template <class To, class From>
static inline To dlir_bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}
static inline float __int_as_float(int bits) { return dlir_bit_cast<float>(bits); }
static inline int __float_as_int(float value) { return dlir_bit_cast<int>(value); }
static inline double __longlong_as_double(long long bits) { return dlir_bit_cast<double>(bits); }
static inline long long __double_as_longlong(double value) { return dlir_bit_cast<long long>(value); }
// A double as the float on either side of it whose last bit is 1, unless it is a float: Boldo and Melquiond's round-to-odd.
static inline float dlir_to_odd(double value) {
  float near = static_cast<float>(value);
  unsigned bits = dlir_bit_cast<unsigned>(near);
  if (near == value || near != near || (bits & 1)) return near;
  bool outwards = fabs(value) > fabs(static_cast<double>(near));
  return dlir_bit_cast<float>(outwards ? bits + 1 : bits - 1);
}
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }

// ---------------------------------------------------------------- entry points

template <int... I>
struct dlir_indices {};
template <int N, int... I>
struct dlir_count : dlir_count<N - 1, N - 1, I...> {};
template <int... I>
struct dlir_count<0, I...> {
  using type = dlir_indices<I...>;
};

template <auto Kernel>
struct dlir_sim_entry;
template <class... Args, void (*Kernel)(Args...)>
struct dlir_sim_entry<Kernel> {
  static constexpr int arity = sizeof...(Args);
  template <int... I>
  __attribute__((no_sanitize("thread"))) static void unpack(void** args, dlir_indices<I...>) {
    Kernel(*static_cast<Args*>(args[I])...);
  }
  // Reads the argument table, which belongs to the runtime.
  __attribute__((no_sanitize("thread"))) static void call(void** args) {
    unpack(args, typename dlir_count<arity>::type());
  }
};

// Python finds a kernel by its first two names here, and the shared arrays by the third.
#define DLIR_SIM_UNCHECKED extern "C" __attribute__((no_sanitize("thread"), no_sanitize("undefined")))
#define DLIR_SIM_EXPORT(kernel)                                                                       \
  DLIR_SIM_UNCHECKED void dlir_sim_enter_##kernel(void** args) { dlir_sim_entry<&kernel>::call(args); } \
  DLIR_SIM_UNCHECKED int dlir_sim_arity_##kernel() { return dlir_sim_entry<&kernel>::arity; }
#define DLIR_SIM_EXPORT_SHARED()                                     \
  DLIR_SIM_UNCHECKED void dlir_sim_shared(char** low, char** high) { \
    *low = __start_dlir_shared;                                      \
    *high = __stop_dlir_shared;                                      \
  }
