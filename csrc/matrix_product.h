// Products of float32 matrices by the processor's matrix unit, for operators whose other parts use it too.
#pragma once

#include <cstdint>

extern "C" {

// Bytes of workspace of the function below, aligned to 64.
int64_t hmeg_cpu_matrix_product_workspace(int64_t depth, int64_t columns, int64_t parts, int64_t variant,
                                          int64_t threads);

// out (rows, columns), rows out_row apart, = (add ? out : 0) + A B. A[i, k] is a[i * a_row + k * a_column], B[k, j] is
// b[k * b_row + j * b_column]; of the two steps of each one is 1. Numbers are float32, multiplied as sums of `parts`
// bfloat16: 3, which is all of them, 2 or 1. Results do not depend on the number of threads.
const char* hmeg_cpu_matrix_product(const float* a, int64_t a_row, int64_t a_column, const float* b, int64_t b_row,
                                    int64_t b_column, float* out, int64_t out_row, int64_t rows, int64_t depth,
                                    int64_t columns, int64_t add, void* workspace, int64_t parts, int64_t threads,
                                    int64_t variant);
}
