// Scalar types as they are numbered between Python and native code (hmeg/backends/native/entry.py holds the same
// table).
#pragma once

#include <cstdint>

namespace hmeg {

enum DType : int64_t { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };

// Bytes of a number of the type that sums are made in.
constexpr int64_t sum_bytes(int64_t dtype) { return dtype == kFloat64 ? 8 : 4; }

}  // namespace hmeg
