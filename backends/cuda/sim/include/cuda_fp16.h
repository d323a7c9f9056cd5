// Half precision for cuda-sim: a storage type and its conversions, which round to nearest even as the device's do.
#pragma once

struct alignas(2) __half {
  unsigned short bits;
};

static inline float __half2float(__half half) {
  unsigned sign = (half.bits & 0x8000u) << 16, exponent = half.bits >> 10 & 31, mantissa = half.bits & 1023;
  if (exponent == 31) return dlir_bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  // Subnormals are small integers times 2^-24, which a float holds exactly.
  float magnitude = exponent == 0 ? static_cast<float>(mantissa) * 0x1p-24f
                                  : dlir_bit_cast<float>((exponent + 112) << 23 | mantissa << 13);
  return dlir_bit_cast<float>(dlir_bit_cast<unsigned>(magnitude) | sign);
}

static inline __half __float2half_rn(float value) {
  unsigned bits = dlir_bit_cast<unsigned>(value), magnitude = bits & 0x7fffffffu;
  unsigned short sign = static_cast<unsigned short>(bits >> 16 & 0x8000u);
  unsigned half;
  if (magnitude > 0x7f800000u) return {0x7fff};  // the device's only NaN
  if (magnitude >= 0x477ff000u) {
    half = 0x7c00;  // from 65520 on
  } else if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 aligns the last kept bit with the float's last bit, so that the addition rounds.
    half = dlir_bit_cast<unsigned>(dlir_bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1)) >> 13;
  }
  return {static_cast<unsigned short>(sign | half)};
}


// Round-to-odd on the way to float, so that the second rounding is the only one that counts.
static inline __half __double2half(double value) { return __float2half_rn(dlir_to_odd(value)); }

static inline short __half_as_short(__half half) { return static_cast<short>(half.bits); }
static inline __half __short_as_half(short bits) { return {static_cast<unsigned short>(bits)}; }
