#include "entry.h"

namespace hmeg {

const Entry*& first_entry() {
  static const Entry* first = nullptr;
  return first;
}

}  // namespace hmeg
