// Kernels with the faults that the emulator must find, and correct ones; test_emulator.py runs them.
#include "device.h"
#include "entry.h"

namespace hmeg {
namespace {

constexpr int kBlock = 64;

// Reverses a block's numbers through shared memory; without the barrier, some are read before they are written.
template <bool kBarrier>
HMEG_KERNEL reverse(const float* in, float* out) {
  HMEG_SHARED(float, staged, kBlock);
  const int64_t first = block_index() * kBlock;
  staged[thread_index()] = in[first + thread_index()];
  if (kBarrier) sync_block();
  out[first + thread_index()] = staged[kBlock - 1 - thread_index()];
}

HMEG_KERNEL outside_shared(float* out) {
  HMEG_SHARED(float, staged, kBlock);
  staged[thread_index() + 1] = 1.0f;
  out[thread_index()] = staged[thread_index()];
}

HMEG_KERNEL divergent_barrier(float* out) {
  if (thread_index() < 40) sync_block();
  out[thread_index()] = 1.0f;
}

HMEG_KERNEL divergent_shuffle(float* out) {
  float value = 1.0f;
  if (thread_index() % 32 != 7) value = shuffle_xor(value, 1);
  out[thread_index()] = value;
}

HMEG_KERNEL one_too_far(float* out) { out[thread_index() + 1] = 1.0f; }

HMEG_KERNEL misaligned(const float* in, float* out) { out[thread_index()] = load_pack<4>(in + 1).items[0]; }

HMEG_KERNEL too_much_shared(float* out) {
  HMEG_SHARED(double, large, 6145);
  large[thread_index()] = 0.0;
  out[thread_index()] = 0.0f;
}

HMEG_KERNEL sums(const float* in, float* out) {
  float values[2] = {in[thread_index()], 2.0f * in[thread_index()]};
  block_sum<kBlock>(values);
  block_sum<kBlock>(values);
  out[2 * thread_index()] = values[0];
  out[2 * thread_index() + 1] = values[1];
}

HMEG_KERNEL shift_down(const float* in, float* out) { out[thread_index()] = shuffle_down(in[thread_index()], 3); }

HMEG_KERNEL shift_up(const float* in, float* out) { out[thread_index()] = shuffle_up(in[thread_index()], 3); }

HMEG_KERNEL count_positive(const float* in, float* out) {
  out[thread_index()] = static_cast<float>(count_lanes(in[thread_index()] > 0.0f));
}

// Value k of a lane is k + 1 times its number.
HMEG_KERNEL scattered_sums(const float* in, float* out) {
  float values[64];
  for (int k = 0; k < 64; ++k) values[k] = static_cast<float>(k + 1) * in[thread_index()];
  warp_sum_scattered<64>(values);
  out[2 * thread_index()] = values[0];
  out[2 * thread_index() + 1] = values[1];
}

// Reads four neighbours in shared memory that begin kFirst after a multiple of four.
template <int kFirst>
HMEG_KERNEL shared_packs(const float* in, float* out) {
  HMEG_SHARED(float, staged, kBlock);
  staged[thread_index()] = in[thread_index()];
  sync_block();
  out[thread_index()] = load_shared<4>(staged, thread_index() / 4 * 4 + kFirst).items[thread_index() % 4];
}

// out: `outputs` numbers a block.
struct Case {
  const float* in;
  float* out;
  int64_t which, blocks, outputs;

  template <typename List>
  void fields(List& list) {
    list.array(HMEG_FIELD(in), blocks * kBlock);
    list.array(HMEG_FIELD(out), blocks * outputs);
    list.number(HMEG_FIELD(which));
    list.number(HMEG_FIELD(blocks));
    list.number(HMEG_FIELD(outputs));
  }
};

const char* run(const Case& given, const Call& /*call*/) {
  const float* const from = given.in;
  float* const to = given.out;
  const int64_t blocks = given.blocks;
  switch (given.which) {
    case 9:
      return launch<kBlock>(one_too_far, blocks, nullptr, to);
    case 0:
      return launch<kBlock>(reverse<true>, blocks, nullptr, from, to);
    case 1:
      return launch<kBlock>(reverse<false>, blocks, nullptr, from, to);
    case 2:
      return launch<kBlock>(outside_shared, blocks, nullptr, to);
    case 3:
      return launch<kBlock>(divergent_barrier, blocks, nullptr, to);
    case 4:
      return launch<kBlock>(divergent_shuffle, blocks, nullptr, to);
    case 5:
      return launch<kBlock>(misaligned, blocks, nullptr, from, to);
    case 6:
      return launch<kBlock>(too_much_shared, blocks, nullptr, to);
    case 7:
      return launch<kBlock>(sums, blocks, nullptr, from, to);
    case 8:
      return launch<kBlock>(shift_down, blocks, nullptr, from, to);
    case 10:
      return launch<kBlock>(shift_up, blocks, nullptr, from, to);
    case 11:
      return launch<kBlock>(count_positive, blocks, nullptr, from, to);
    case 12:
      return launch<kBlock>(scattered_sums, blocks, nullptr, from, to);
    case 13:
      return launch<kBlock>(shared_packs<0>, blocks, nullptr, from, to);
    case 14:
      return launch<kBlock>(shared_packs<1>, blocks, nullptr, from, to);
    case 15:
      return launch<kBlock>(shared_packs<4>, blocks, nullptr, from, to);
    default:
      return "no such case";
  }
}

HMEG_ENTRY(kCuda, faulty_case, run);

}  // namespace
}  // namespace hmeg
