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
