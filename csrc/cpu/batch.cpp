#include "cpu/batch.h"

#include <stdexcept>
#include <string>

namespace hmeg::cpu {
namespace {

[[noreturn]] void refuse(const char* operator_name, const char* wanted, const int64_t* batch, int64_t place,
                         int64_t graphs) {
  std::string message = std::string(operator_name) + ": batch must be " + wanted + "in [0, " + std::to_string(graphs) +
                        "), got batch[" + std::to_string(place) + "] = " + std::to_string(batch[place]);
  if (place > 0 && batch[place] >= 0 && batch[place] < graphs) message += " after " + std::to_string(batch[place - 1]);
  throw std::invalid_argument(message);
}

void sum_up(int64_t graphs, int64_t* first) {
  for (int64_t n = 0; n < graphs; ++n) first[n + 1] += first[n];
}

}  // namespace

void first_symbols(const char* operator_name, const int64_t* batch, int64_t symbols, int64_t graphs, int64_t* first) {
  for (int64_t n = 0; n <= graphs; ++n) first[n] = 0;
  for (int64_t v = 0; v < symbols; ++v) {
    if (batch[v] < 0 || batch[v] >= graphs || (v > 0 && batch[v] < batch[v - 1])) {
      refuse(operator_name, "non-decreasing and ", batch, v, graphs);
    }
    ++first[batch[v] + 1];
  }
  sum_up(graphs, first);
}

void order_by_graph(const char* operator_name, const int64_t* batch, int64_t symbols, int64_t graphs, int64_t* first,
                    int64_t* order) {
  check_batch(operator_name, batch, symbols, graphs);
  for (int64_t n = 0; n <= graphs; ++n) first[n] = 0;
  for (int64_t v = 0; v < symbols; ++v) ++first[batch[v] + 1];
  sum_up(graphs, first);
  for (int64_t v = 0; v < symbols; ++v) order[first[batch[v]]++] = v;
  // Each entry has moved on to where the next expression begins.
  for (int64_t n = graphs; n > 0; --n) first[n] = first[n - 1];
  first[0] = 0;
}

void check_batch(const char* operator_name, const int64_t* batch, int64_t symbols, int64_t graphs) {
  for (int64_t v = 0; v < symbols; ++v) {
    if (batch[v] < 0 || batch[v] >= graphs) refuse(operator_name, "", batch, v, graphs);
  }
}

}  // namespace hmeg::cpu
