// Declares the same functions in the namespace of every instruction set: HMEG_DECLARE_VARIANTS(MACRO) expands
// MACRO(float) and MACRO(double) in each.
#pragma once

#include <cstdint>

#define HMEG_DECLARE_VARIANT(name, MACRO) \
  namespace hmeg::simd::name {            \
  MACRO(float)                            \
  MACRO(double)                           \
  }

#define HMEG_DECLARE_VARIANTS(MACRO)    \
  HMEG_DECLARE_VARIANT(portable, MACRO) \
  HMEG_DECLARE_VARIANT(avx2, MACRO)     \
  HMEG_DECLARE_VARIANT(avx512, MACRO)
