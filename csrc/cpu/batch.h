// Which symbols belong to which expression.
#pragma once

#include <cstdint>

namespace hmeg::cpu {

// first[n] .. first[n + 1] - 1 are the symbols of expression n; first holds graphs + 1 numbers. Throws
// std::invalid_argument, naming the operator and the place, where batch is not non-decreasing and in [0, graphs).
void first_symbols(const char* operator_name, const int64_t* batch, int64_t symbols, int64_t graphs, int64_t* first);

// The same for a batch in any order: symbols order[first[n]] .. order[first[n + 1] - 1], ascending, are those of
// expression n; order holds as many numbers as there are symbols.
void order_by_graph(const char* operator_name, const int64_t* batch, int64_t symbols, int64_t graphs, int64_t* first,
                    int64_t* order);

// Throws std::invalid_argument where batch is not in [0, graphs).
void check_batch(const char* operator_name, const int64_t* batch, int64_t symbols, int64_t graphs);

}  // namespace hmeg::cpu
