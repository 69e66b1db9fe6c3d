// The Python module hmeg._C. The only file that knows of pybind11; it knows nothing of torch, nor of any operator:
// entry points list their fields (parameters.h), and tensors arrive as addresses (hmeg/backends/native/entry.py).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/variants.h"
#include "entry.h"
#include "triple_message.h"

namespace py = pybind11;

namespace {

using hmeg::Call;
using hmeg::Device;
using hmeg::Entry;
using hmeg::Field;
using hmeg::Kind;

// An entry point as Python calls it.
struct Bound {
  const Entry* entry;
  std::vector<Field> fields;

  explicit Bound(const Entry* of) : entry(of), fields(of->fields(std::vector<char>(of->size).data())) {
    // Every field has 8 bytes, so this is each of them, once, in their order.
    for (size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].offset != int64_t(8 * i)) throw py::import_error(name() + ": fields are not listed in their order");
    }
    if (entry->size != int64_t(8 * fields.size())) throw py::import_error(name() + ": a field is not listed");
  }
  std::string name() const { return entry->name; }
};

struct Filled {
  alignas(8) char parameters[hmeg::kMostParameterBytes];
  Call call;
};

bool refuse(const Bound& bound, const std::string& what) {
  PyErr_SetString(PyExc_TypeError, (bound.name() + ": " + what).c_str());
  return false;
}

bool number(PyObject* value, int64_t* to) {
  if (!PyLong_Check(value)) return false;
  *to = PyLong_AsLongLong(value);
  return !(*to == -1 && PyErr_Occurred() != nullptr);
}

bool address(PyObject* value, void** to) {
  if (!PyLong_Check(value)) return false;
  *to = PyLong_AsVoidPtr(value);
  return !(*to == nullptr && PyErr_Occurred() != nullptr);
}

// Fills a structure from the values of its fields, in their order, and a Call from what follows them.
bool fill(const Bound& bound, PyObject* const* arguments, Py_ssize_t count, Filled* to) {
  if (count != 6 || !PyList_Check(arguments[0])) {
    return refuse(bound, "takes a list of values, then dtype, threads, variant, stream and workspace");
  }
  PyObject* const values = arguments[0];
  if (PyList_GET_SIZE(values) != Py_ssize_t(bound.fields.size())) {
    return refuse(bound, "takes " + std::to_string(bound.fields.size()) + " values, got " +
                             std::to_string(PyList_GET_SIZE(values)));
  }
  for (size_t i = 0; i < bound.fields.size(); ++i) {
    const Field& field = bound.fields[i];
    PyObject* const value = PyList_GET_ITEM(values, i);
    char* const place = to->parameters + field.offset;
    bool fits = false;
    if (field.kind == Kind::kInteger) {
      fits = number(value, reinterpret_cast<int64_t*>(place));
    } else if (field.kind == Kind::kReal) {
      fits = PyFloat_Check(value);
      if (fits) *reinterpret_cast<double*>(place) = PyFloat_AS_DOUBLE(value);
    } else {
      fits = address(value, reinterpret_cast<void**>(place));
    }
    if (!fits) {
      if (PyErr_Occurred() != nullptr) PyErr_Clear();
      const char* const kind = field.kind == Kind::kReal      ? "a float"
                               : field.kind == Kind::kInteger ? "an integer of 64 bits"
                                                              : "an address";
      return refuse(bound, std::string(field.name) + " must be " + kind + ", got " + Py_TYPE(value)->tp_name);
    }
  }
  Call& call = to->call;
  if (!number(arguments[1], &call.dtype) || !number(arguments[2], &call.threads) ||
      !number(arguments[3], &call.variant) || !address(arguments[4], &call.stream) ||
      !address(arguments[5], &call.workspace)) {
    if (PyErr_Occurred() != nullptr) PyErr_Clear();
    return refuse(bound, "dtype, threads, variant, stream and workspace must be integers");
  }
  if (call.threads < 1) call.threads = 1;
  return true;
}

// Calls body(); a C++ exception becomes Python's.
template <typename Body>
PyObject* guarded(Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

const Bound& bound_of(PyObject* self) { return *static_cast<const Bound*>(PyCapsule_GetPointer(self, nullptr)); }

// Workspace up to this many bytes is at hand on the CPU: allocating it would take longer than a small call.
constexpr int64_t kAtHand = 64 * 1024;

void* workspace_at_hand() {
  constexpr size_t kAlignment = 64;
  thread_local std::vector<char> memory(kAtHand + kAlignment);
  static const bool debug = [] {  // as hmeg/backends/native/entry.py has it
    const char* const value = std::getenv("HMEG_DEBUG");
    return value != nullptr && std::strcmp(value, "") != 0 && std::strcmp(value, "0") != 0;
  }();
  if (debug) std::fill(memory.begin(), memory.end(), char(-1));  // what nobody wrote is NaN
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
  return reinterpret_cast<void*>((begin + kAlignment - 1) / kAlignment * kAlignment);
}

// None; or, without a workspace and where one is needed, its bytes, and nothing is done.
PyObject* run(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  const Bound& bound = bound_of(self);
  const Entry& entry = *bound.entry;
  Filled filled;
  if (!fill(bound, arguments, count, &filled)) return nullptr;
  return guarded([&]() -> PyObject* {
    if (entry.workspace != nullptr && filled.call.workspace == nullptr) {
      const int64_t bytes = entry.workspace(filled.parameters, filled.call);
      if (bytes > (entry.device == Device::kCpu ? kAtHand : 0)) return PyLong_FromLongLong(bytes);
      if (bytes > 0) filled.call.workspace = workspace_at_hand();
    }
    const char* message;
    {
      py::gil_scoped_release release;
      message = entry.run(filled.parameters, filled.call);
    }
    if (message == nullptr) Py_RETURN_NONE;
    // On the CPU all that is refused are arguments.
    PyErr_SetString(entry.device == Device::kCpu ? PyExc_ValueError : PyExc_RuntimeError, message);
    return nullptr;
  });
}

// Of every field: how many items are reached, and the limit of indices or -1.
PyObject* bounds(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  const Bound& bound = bound_of(self);
  Filled filled;
  if (!fill(bound, arguments, count, &filled)) return nullptr;
  return guarded([&] {
    py::list result;
    for (const Field& field : bound.entry->fields(filled.parameters)) {
      result.append(py::make_tuple(field.count, field.limit));
    }
    return result.release().ptr();
  });
}

using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

template <Fast kFunction>
py::object function_of(const char* name, PyObject* self) {
  static PyMethodDef definition = {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(kFunction)),
                                   METH_FASTCALL, nullptr};
  return py::reinterpret_steal<py::object>(PyCFunction_New(&definition, self));
}

// Name -> (fields, run, bounds); a field is (name, kind, written, optional, strided).
py::dict entries_of(Device device) {
  py::dict result;
  for (const Entry* entry = hmeg::first_entry(); entry != nullptr; entry = entry->next) {
    if (entry->device != device) continue;
    auto* const bound = new Bound(entry);  // as long as the process
    const py::object self = py::reinterpret_steal<py::object>(PyCapsule_New(bound, nullptr, nullptr));
    py::list fields;
    for (const Field& field : bound->fields) {
      fields.append(py::make_tuple(field.name, int64_t(field.kind), field.written, field.optional, field.strided));
    }
    result[entry->name] =
        py::make_tuple(fields, function_of<run>("run", self.ptr()), function_of<bounds>("bounds", self.ptr()));
  }
  return result;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> result;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    result.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return result;
}

// The variants that this processor runs, worst first: their positions are the numbers the CPU kernels take.
std::vector<std::string> cpu_variants() {
  using namespace hmeg::cpu;
  return {kVariantNames, kVariantNames + best_variant() + 1};
}

py::dict build_info() {
  py::dict info;
  info["version"] = HMEG_VERSION;
  info["compiler"] = HMEG_COMPILER;
  info["pybind11"] = std::to_string(PYBIND11_VERSION_MAJOR) + "." + std::to_string(PYBIND11_VERSION_MINOR);
  info["cpu_variants"] = cpu_variants();
  info["cpu_variant"] = hmeg::cpu::kVariantNames[hmeg::cpu::best_variant()];
#ifdef HMEG_WITH_CUDA
  info["cuda"] = HMEG_CUDA_VERSION;
  info["cuda_archs"] = words(HMEG_CUDA_ARCHS);
#else
  info["cuda"] = py::none();
  info["cuda_archs"] = words("");
#endif
  return info;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Native kernels of hmeg. Arrays are addresses of memory; use hmeg.ops from Python.";
  module.def("build_info", &build_info,
             "version, compiler, pybind11, cpu_variants (instruction sets usable here), cpu_variant (the one in use), "
             "cuda (compiler version or None), cuda_archs (compiled in).");
  module.attr("entries") =
      py::dict(py::arg("cpu") = entries_of(Device::kCpu), py::arg("cuda") = entries_of(Device::kCuda));
  module.def("triple_message_by_matrix_unit", &hmeg::triple_message_by_matrix_unit, py::kw_only(), py::arg("dtype"),
             py::arg("edges"), py::arg("variant"), "Whether triple_message multiplies by a matrix unit.");
  module.def("triple_message_gradient_row", &hmeg::triple_message_gradient_row, py::kw_only(), py::arg("hidden"),
             "Numbers that a row of the gradients of W1 and W2 takes.");
}
