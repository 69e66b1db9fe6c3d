// What every entry point of the CPU kernels shares: a scalar type by its code, and errors as messages.
#pragma once

#include <stdexcept>
#include <string>

#include "dtype.h"

namespace hmeg::cpu {

// Calls body(T{}) with the scalar type of the given code.
template <typename Body>
void with_scalar_type(int64_t dtype, Body body) {
  switch (dtype) {
    case kFloat32:
      return body(float{});
    case kFloat64:
      return body(double{});
    default:
      throw std::invalid_argument("the CPU kernels take float32 and float64 only");
  }
}

// nullptr, or the std::invalid_argument that `body` threw, as text that lives until this thread's next call. Anything
// else (std::bad_alloc) is no message about arguments and goes on.
template <typename Body>
const char* message_of(Body body) {
  thread_local std::string message;
  try {
    body();
    return nullptr;
  } catch (const std::invalid_argument& error) {
    message = error.what();
    return message.c_str();
  }
}

}  // namespace hmeg::cpu
