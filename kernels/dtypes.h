// A scalar type by its code, for the launchers.
#pragma once

#include "device.h"
#include "dtype.h"

namespace hmeg {

// Calls body(T{}) with the scalar type of the given code; body returns nullptr or an error message.
template <typename Body>
const char* with_scalar_type(int64_t dtype, Body body) {
  switch (dtype) {
    case kFloat32:
      return body(float{});
    case kFloat64:
      return body(double{});
    case kFloat16:
      return body(Half{});
    case kBFloat16:
      return body(BFloat16{});
    default:
      return "the CUDA kernels take float32, float64, float16 and bfloat16 only";
  }
}

}  // namespace hmeg
