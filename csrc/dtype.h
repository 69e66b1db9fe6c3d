// Scalar types as they are numbered between Python and native code (hmeg/backends/pointers.py holds the same table).
#pragma once

#include <cstdint>

namespace hmeg {

enum DType : int64_t { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };

}  // namespace hmeg
