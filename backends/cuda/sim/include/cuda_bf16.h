// bfloat16 for cuda-sim: a storage type and its conversions, which round to nearest even as the device's do.
#pragma once

struct alignas(2) __nv_bfloat16 {
  unsigned short bits;
};

static inline float __bfloat162float(__nv_bfloat16 value) {
  return dlir_bit_cast<float>(static_cast<unsigned>(value.bits) << 16);
}

static inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  unsigned bits = dlir_bit_cast<unsigned>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};  // the device's only NaN
  return {static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

static inline __nv_bfloat16 __double2bfloat16(double value) { return __float2bfloat16_rn(dlir_to_odd(value)); }

static inline short __bfloat16_as_short(__nv_bfloat16 value) { return static_cast<short>(value.bits); }
static inline __nv_bfloat16 __short_as_bfloat16(short bits) { return {static_cast<unsigned short>(bits)}; }
