// How native code is called: an entry point takes one plain structure of its parameters, and a Call, which says how to
// run. The structure lists its fields, so that whoever calls (csrc/bindings.cpp, the emulator of the tests) fills it by
// name and needs to know nothing of the operator.
//
//     struct ScaleForward {
//       const void* x;
//       void* y;
//       int64_t count;
//       double factor;
//
//       template <typename List>
//       void fields(List& list) {
//         list.array(HMEG_FIELD(x), count);
//         list.array(HMEG_FIELD(y), count);
//         list.number(HMEG_FIELD(count));
//         list.number(HMEG_FIELD(factor));
//       }
//     };
//
// A pointer's type says what the array holds: void the call's scalar type, Sums the type that sums are made in,
// int64_t, int32_t and float themselves. One that is not const is written. `count` is the number of items that are
// reached.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace hmeg {

// An array in accumulation precision: float64 for float64, else float32.
struct Sums;

// How an entry point is to run, the same for all.
struct Call {
  int64_t dtype = kFloat32;  // of arrays of void
  int64_t threads = 1;       // on the CPU
  int64_t variant = -1;      // of the CPU's instruction sets: cpu/variants.h
  void* stream = nullptr;    // on a GPU
  void* workspace = nullptr;
};

}  // namespace hmeg

// The name of a member, and the member itself.
#define HMEG_FIELD(member) #member, member
