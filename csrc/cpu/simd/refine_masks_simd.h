// Single-threaded parts of refine_masks, declared once per instruction set.
#pragma once

#include "cpu/simd/mask_tables.h"
#include "cpu/simd/variant.h"

namespace hmeg {

// Scalars of memory that refine_masks_forward needs.
static constexpr int64_t mask_forward_scratch(int64_t padded, int64_t width) {
  return (kMaskClasses + 2) * padded + 8 * (width + 2) + 5 * width;
}

// The backward pass sums, over the pixels where relu(z) is active, three quantities times 1, X and Y: the gradient that
// reaches relu(z) through conv2, and in training 1 and relu(z), with which BatchNorm's statistics enter.
enum MaskQuantity { kFromGradient, kFromCount, kFromValue, kMaskQuantities };
constexpr int kMaskMoments = 3;  // times 1, X, Y

// Numbers per channel that a group of symbols adds up for one quantity: of conv1's weights (input, tap) and its bias.
constexpr int64_t kMaskWeightSums = 4 * 9 + 1;

// A group's sums, kept in double: (9, padded) sums of relu(z) times the gradient by tap; (quantities, kMaskWeightSums,
// padded); 9 sums of the gradient by tap.
static constexpr int64_t mask_group_sums(int64_t padded, int64_t quantities) {
  return (9 + quantities * kMaskWeightSums) * padded + 9;
}

constexpr int64_t kMaskBlockRows = 8;  // rows that the backward pass takes together

// Scalars of memory that refine_masks_backward needs.
static constexpr int64_t mask_backward_scratch(int64_t padded, int64_t height, int64_t width, int64_t quantities) {
  const int64_t per_channel = kMaskClasses + quantities * kMaskMoments + 2 * kMaskUpdate + 2 * 12 + 9 + kMaskBlockRows +
                              kMaskClasses * quantities * (kMaskMoments + 4);
  return per_channel * padded + (height + 2) * (width + 2) + kMaskBlockRows * 8 * (width + 1) + 4 * kMaskUpdate + 16;
}

}  // namespace hmeg

#define HMEG_DECLARE_REFINE_MASKS(T)                                                                                \
  /* masks of symbols [begin, end) */                                                                               \
  void refine_masks_forward(const MaskTables<T>& tables, const T* boxes, T* masks, int64_t begin, int64_t end,      \
                            T* scratch);                                                                            \
  /* sums (2, padded): of relu(z) - about and of its square over symbols [begin, end), about (padded,); scratch:    \
     (kMaskClasses, padded) */                                                                                      \
  void refine_masks_statistics(const MaskTables<T>& tables, const T* boxes, const double* about, double* sums,      \
                               int64_t begin, int64_t end, double* scratch);                                        \
  /* One group of symbols, [begin, end). sums: mask_group_sums(...) numbers, overwritten. by_box (V, quantities, 4, \
     padded): for each quantity, what it gives to -grad_boxes / scale_k. tables.weights: conv2's as they are. */    \
  void refine_masks_backward(const MaskTables<T>& tables, const T* grad_masks, const T* masks, const T* boxes,      \
                             T* by_box, double* sums, int64_t begin, int64_t end, int64_t quantities, T* scratch);

HMEG_DECLARE_VARIANTS(HMEG_DECLARE_REFINE_MASKS)
