// The list of entry points that were compiled in, and how one is entered in it; parameters.h says what they take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "parameters.h"

namespace hmeg {

// Numbered alike in hmeg/backends/native/entry.py.
enum class Kind : int64_t { kInteger, kReal, kScalars, kSums, kInt64, kInt32, kFloat32 };

struct Field {
  const char* name;
  Kind kind;
  int64_t offset;  // in the structure
  bool written;
  bool optional;  // may be null
  bool strided;   // need not be contiguous
  int64_t count;  // items that are reached
  int64_t limit;  // indices lie in [0, limit); -1 where they are no indices, or are looked at before use
};

// Collects the fields of a structure, with counts as they follow from the numbers in it.
class FieldTable {
 public:
  explicit FieldTable(const void* parameters) : begin_(static_cast<const char*>(parameters)) {}

  void number(const char* name, const int64_t& member) { add(name, &member, Kind::kInteger, false); }
  void number(const char* name, const double& member) { add(name, &member, Kind::kReal, false); }
  template <typename T>
  void array(const char* name, T* const& member, int64_t count, int64_t limit = -1) {
    add(name, &member, kind_of<std::remove_const_t<T>>(), !std::is_const_v<T>);
    list.back().count = count;
    list.back().limit = limit;
  }
  // One that may be null.
  template <typename T>
  void optional(const char* name, T* const& member, int64_t count, int64_t limit = -1) {
    array(name, member, count, limit);
    list.back().optional = true;
  }
  // One whose strides are among the numbers; `span`: items from the first to the last that is reached.
  template <typename T>
  void strided(const char* name, T* const& member, int64_t span) {
    array(name, member, span);
    list.back().strided = true;
  }

  std::vector<Field> list;

 private:
  void add(const char* name, const void* member, Kind kind, bool written) {
    list.push_back({name, kind, static_cast<const char*>(member) - begin_, written, false, false, 0, -1});
  }
  template <typename T>
  static constexpr Kind kind_of() {
    static_assert(std::is_void_v<T> || std::is_same_v<T, Sums> || std::is_same_v<T, int64_t> ||
                      std::is_same_v<T, int32_t> || std::is_same_v<T, float>,
                  "an array holds void, Sums, int64_t, int32_t or float");
    return std::is_void_v<T>            ? Kind::kScalars
           : std::is_same_v<T, Sums>    ? Kind::kSums
           : std::is_same_v<T, int64_t> ? Kind::kInt64
           : std::is_same_v<T, int32_t> ? Kind::kInt32
                                        : Kind::kFloat32;
  }

  const char* begin_;
};

enum class Device : int64_t { kCpu, kCuda };

// An entry point without its types, in the list of all that were compiled in.
struct Entry {
  Device device;
  const char* name;
  int64_t size;  // of its structure
  std::vector<Field> (*fields)(void* parameters);
  // nullptr, or a message that says what went wrong and lives until the thread's next call.
  const char* (*run)(const void* parameters, const Call& call);
  // Bytes of workspace for such a run, aligned to 64; null for entry points that need none.
  int64_t (*workspace)(const void* parameters, const Call& call);
  const Entry* next;
};

// The first of all entry points.
const Entry*& first_entry();

// The largest structure of parameters.
constexpr int64_t kMostParameterBytes = 512;

template <typename P>
struct Parameters {
  using Run = const char* (*)(const P&, const Call&);
  using Workspace = int64_t (*)(const P&, const Call&);
};

// Enters an entry point in the list, when the program starts.
template <typename P, typename Parameters<P>::Run kRun, typename Parameters<P>::Workspace kWorkspace = nullptr>
class Registered {
  static_assert(std::is_trivially_copyable_v<P> && sizeof(P) <= kMostParameterBytes, "parameters are plain");

 public:
  Registered(Device device, const char* name) : entry_{device, name, sizeof(P), fields, run, nullptr, first_entry()} {
    if constexpr (kWorkspace != nullptr) entry_.workspace = workspace;
    first_entry() = &entry_;
  }

 private:
  static std::vector<Field> fields(void* parameters) {
    FieldTable table(parameters);
    static_cast<P*>(parameters)->fields(table);
    return table.list;
  }
  static const char* run(const void* parameters, const Call& call) {
    return kRun(*static_cast<const P*>(parameters), call);
  }
  static int64_t workspace(const void* parameters, const Call& call) {
    if constexpr (kWorkspace != nullptr) return kWorkspace(*static_cast<const P*>(parameters), call);
    return 0;
  }

  Entry entry_;
};

// The type of a function of parameters.
template <typename Result, typename P>
P parameters_of(Result (*)(const P&, const Call&));

}  // namespace hmeg

// Makes a function `run`, and where there is one a function of its workspace, the entry point NAME of a device.
#define HMEG_ENTRY(device, NAME, run, ...)                                                              \
  const ::hmeg::Registered<decltype(::hmeg::parameters_of(run)), run, ##__VA_ARGS__> registered_##NAME( \
      ::hmeg::Device::device, #NAME)
