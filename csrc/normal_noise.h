// normal_noise: standard normal numbers that depend on (seed, index of the sample, position) alone; bit for bit the
// same on every backend. docs/kernels.md defines them; what every implementation needs of the definition is here.
#pragma once

#include "parameters.h"

namespace hmeg::noise {

// Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011): factors of a round, and what the key grows by after each.
constexpr int kRounds = 10;
constexpr uint32_t kFactor0 = 0xD2511F53u, kFactor2 = 0xCD9E8D57u;
constexpr uint32_t kGrowthLow = 0x9E3779B9u, kGrowthHigh = 0xBB67AE85u;

// The counter's second word: hmeg.streams.Purpose.IMAGE.
constexpr uint32_t kPurpose = 1;

// ln u = k ln 2 + ln m with m in [sqrt(1/2), sqrt(2)), whose bits begin with these; ln 2 in two parts, of which k times
// the first is exact; ln(1 + f) = f - f^2 / 2 + f^3 (kLog3 + kLog4 f + ... + kLog10 f^7) for f = m - 1.
constexpr int32_t kRootOfHalfBits = 0x3F3504F3;
constexpr float kLn2High = 0.6931381225585938f, kLn2Low = 9.0580015e-06f;
constexpr float kLog3 = 0.3333333f, kLog4 = -0.2500082f, kLog5 = 0.20001243f, kLog6 = -0.1662341f, kLog7 = 0.1420154f,
                kLog8 = -0.1315955f, kLog9 = 0.12762485f, kLog10 = -0.076369405f;

// sin(pi/2 x) = x (kSine1 + kSine3 x^2 + ...), cos(pi/2 x) = 1 + kCosine2 x^2 + ..., for x in [-1/2, 1/2].
constexpr float kSine1 = 1.5707964f, kSine3 = -0.6459666f, kSine5 = 0.07971178f, kSine7 = -0.0046838736f;
constexpr float kCosine2 = -1.2337005f, kCosine4 = 0.25366852f, kCosine6 = -0.02085525f, kCosine8 = 0.00089355436f;

}  // namespace hmeg::noise

namespace hmeg {

// indices (N,), the sample's index as the bits of an unsigned number; out (N, numbers); seed likewise bits.
struct NormalNoise {
  const int64_t* indices;
  float* out;
  int64_t samples, numbers, seed;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(indices), samples);
    list.array(HMEG_FIELD(out), samples * numbers);
    list.number(HMEG_FIELD(samples));
    list.number(HMEG_FIELD(numbers));
    list.number(HMEG_FIELD(seed));
  }
};

}  // namespace hmeg
