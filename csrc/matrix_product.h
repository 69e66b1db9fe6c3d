// Products of float32 matrices by the processor's matrix unit, for operators whose other parts use it too.
#pragma once

#include "parameters.h"

namespace hmeg {

// out (rows, columns), rows out_row apart, = (add ? out : 0) + A B. A[i, k] is a[i * a_row + k * a_column], B[k, j] is
// b[k * b_row + j * b_column]; of the two steps of each one is 1. Numbers are float32, multiplied as sums of `parts`
// bfloat16: 3, which is all of them, 2 or 1. Results do not depend on the number of threads.
struct MatrixProduct {
  const float *a, *b;
  float* out;
  int64_t a_row, a_column, b_row, b_column, out_row, rows, depth, columns, add, parts;

  template <typename List>
  void fields(List& list) {
    list.strided(HMEG_FIELD(a), (rows - 1) * a_row + (depth - 1) * a_column + 1);
    list.strided(HMEG_FIELD(b), (depth - 1) * b_row + (columns - 1) * b_column + 1);
    list.strided(HMEG_FIELD(out), (rows - 1) * out_row + columns);
    list.number(HMEG_FIELD(a_row));
    list.number(HMEG_FIELD(a_column));
    list.number(HMEG_FIELD(b_row));
    list.number(HMEG_FIELD(b_column));
    list.number(HMEG_FIELD(out_row));
    list.number(HMEG_FIELD(rows));
    list.number(HMEG_FIELD(depth));
    list.number(HMEG_FIELD(columns));
    list.number(HMEG_FIELD(add));
    list.number(HMEG_FIELD(parts));
  }
};

}  // namespace hmeg
