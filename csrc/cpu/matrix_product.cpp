#include "matrix_product.h"

#include <algorithm>

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/variants.h"
#include "cpu/workspace.h"

#ifdef HMEG_WITH_AMX
#include "cpu/amx/matrix_product_amx.h"
#endif

namespace hmeg::cpu {
namespace {

#ifdef HMEG_WITH_AMX
constexpr int64_t kBlock = amx::kProductBlock;

int64_t blocks_of(int64_t count) { return (count + kBlock - 1) / kBlock; }

// A factor of 32 rows or columns.
int64_t numbers_of(int64_t depth, int64_t parts) { return 2 * blocks_of(depth) * parts * amx::kProductNumbers; }

struct Plan {
  uint16_t *right, *left;  // B; 32 rows of A for every thread
  Plan(Workspace& workspace, int64_t depth, int64_t columns, int64_t parts, int64_t threads)
      : right(workspace.take<uint16_t>(blocks_of(columns) * numbers_of(depth, parts))),
        left(workspace.take<uint16_t>(threads * numbers_of(depth, parts))) {}
};
#endif

void check(int64_t parts, int64_t variant) {
  if (parts < 1 || parts > 3) throw std::invalid_argument("a float32 is multiplied in one, two or three parts");
  if (checked_variant(variant) != kAmx) throw std::invalid_argument("this CPU variant has no matrix unit");
}

}  // namespace
}  // namespace hmeg::cpu

int64_t hmeg_cpu_matrix_product_workspace(int64_t depth, int64_t columns, int64_t parts, int64_t variant,
                                          int64_t threads) {
  using namespace hmeg::cpu;
  check(parts, variant);
  Workspace workspace;
#ifdef HMEG_WITH_AMX
  Plan(workspace, depth, columns, parts, threads);
#else
  (void)depth, (void)columns, (void)threads;
#endif
  return workspace.bytes();
}

const char* hmeg_cpu_matrix_product(const float* a, int64_t a_row, int64_t a_column, const float* b, int64_t b_row,
                                    int64_t b_column, float* out, int64_t out_row, int64_t rows, int64_t depth,
                                    int64_t columns, int64_t add, void* memory, int64_t parts, int64_t threads,
                                    int64_t variant) {
  using namespace hmeg::cpu;
  return message_of([&] {
    check(parts, variant);
#ifdef HMEG_WITH_AMX
    Workspace workspace(memory);
    const Plan plan(workspace, depth, columns, parts, threads);
    const int64_t factor = numbers_of(depth, parts);
    parallel_for(blocks_of(columns), 1, threads, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t column = item * kBlock;
        const int64_t count = std::min(kBlock, columns - column);
        hmeg::amx::pack_columns(parts, b + column * b_column, b_row, b_column, depth, count,
                                plan.right + item * factor, factor / 2);
      }
    });
    parallel_for(blocks_of(rows), 1, threads, [&](int64_t begin, int64_t end, int64_t worker) {
      uint16_t* const left = plan.left + worker * factor;
      for (int64_t item = begin; item < end; ++item) {
        const int64_t row = item * kBlock, count = std::min(kBlock, rows - row);
        hmeg::amx::pack_rows(parts, a + row * a_row, a_row, a_column, count, depth, left, factor / 2);
        hmeg::amx::multiply_rows(parts, add != 0, left, plan.right, count, depth, columns, out + row * out_row,
                                 out_row);
      }
    });
#else
    (void)a, (void)a_row, (void)a_column, (void)b, (void)b_row, (void)b_column, (void)out, (void)out_row, (void)rows;
    (void)depth, (void)columns, (void)add, (void)memory, (void)threads;
#endif
  });
}
