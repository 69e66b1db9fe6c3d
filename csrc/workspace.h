// Memory that the caller allocated, handed out in pieces. Without memory it only counts, so that the same code that
// takes the pieces tells how much there must be.
#pragma once

#include <cstdint>

namespace hmeg {

class Workspace {
 public:
  explicit Workspace(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  // An array of `count` numbers, aligned to a cache line as the memory itself is; null when only counting.
  template <typename T>
  T* take(int64_t count) {
    char* const piece = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (count * int64_t(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(piece);
  }

  int64_t bytes() const { return used_; }

 private:
  char* memory_;
  int64_t used_ = 0;
};

}  // namespace hmeg
