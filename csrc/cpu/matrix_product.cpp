#include "matrix_product.h"

#include <algorithm>

#include "cpu/call.h"
#include "cpu/parallel.h"
#include "cpu/variants.h"
#include "workspace.h"
#include "entry.h"

#ifdef HMEG_WITH_AMX
#include "cpu/amx/factors.h"
#include "cpu/amx/matrix_product_amx.h"
#endif

namespace hmeg::cpu {
namespace {

#ifdef HMEG_WITH_AMX
constexpr int64_t kBlock = amx::kFactorBlock;

int64_t blocks_of(int64_t count) { return (count + kBlock - 1) / kBlock; }

// A factor of 32 rows or columns.
int64_t numbers_of(int64_t depth, int64_t parts) { return 2 * blocks_of(depth) * parts * amx::kFactorNumbers; }

struct Plan {
  uint16_t *right, *left;  // B; 32 rows of A for every thread
  Plan(Workspace& workspace, int64_t depth, int64_t columns, int64_t parts, int64_t threads)
      : right(workspace.take<uint16_t>(blocks_of(columns) * numbers_of(depth, parts))),
        left(workspace.take<uint16_t>(threads * numbers_of(depth, parts))) {}
};

struct Matrix {
  const float* numbers;
  int64_t by_row, by_column;
};

// First B is packed, then 32 rows of A at a time are packed and multiplied.
struct Work {
  Matrix a, b;
  float* out;
  int64_t out_row, rows, depth, columns;
  bool add;
  int64_t parts;
  Plan plan;

  int64_t items(int64_t phase) const { return blocks_of(phase == 0 ? columns : rows); }

  void run(int64_t phase, int64_t item, int64_t worker) const {
    const int64_t factor = numbers_of(depth, parts), first = item * kBlock;
    if (phase == 0) {
      amx::pack(parts, amx::Side::kRight, b.numbers + first * b.by_column, b.by_row, b.by_column, depth,
                std::min(kBlock, columns - first), plan.right + item * factor, factor / 2);
      return;
    }
    const int64_t count = std::min(kBlock, rows - first);
    uint16_t* const left = plan.left + worker * factor;
    amx::pack(parts, amx::Side::kLeft, a.numbers + first * a.by_row, a.by_column, a.by_row, depth, count, left,
              factor / 2);
    amx::multiply_rows(parts, add, left, plan.right, count, depth, columns, out + first * out_row, out_row);
  }
};
#endif

void check(int64_t parts, int64_t variant) {
  if (parts < 1 || parts > 3) throw std::invalid_argument("a float32 is multiplied in one, two or three parts");
  if (checked_variant(variant) != kAmx) throw std::invalid_argument("this CPU variant has no matrix unit");
}

int64_t workspace(const MatrixProduct& given, const Call& call) {
  check(given.parts, call.variant);
  Workspace counting;
#ifdef HMEG_WITH_AMX
  Plan(counting, given.depth, given.columns, given.parts, call.threads);
#endif
  return counting.bytes();
}

const char* run(const MatrixProduct& given, const Call& call) {
  return message_of([&] {
    check(given.parts, call.variant);
#ifdef HMEG_WITH_AMX
    Workspace workspace(call.workspace);
    const Plan plan(workspace, given.depth, given.columns, given.parts, call.threads);
    parallel_phases(2, call.threads, [&] {
      return Work{{given.a, given.a_row, given.a_column},
                  {given.b, given.b_row, given.b_column},
                  given.out,
                  given.out_row,
                  given.rows,
                  given.depth,
                  given.columns,
                  given.add != 0,
                  given.parts,
                  plan};
    });
#endif
  });
}

HMEG_ENTRY(kCpu, matrix_product, run, workspace);

}  // namespace
}  // namespace hmeg::cpu
