// The Python module hmeg._C. The only file that knows of pybind11; it knows nothing of torch: tensors arrive as
// addresses, sizes and a dtype code (hmeg/backends does the translation).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "attention_readout.h"
#include "box_layout.h"
#include "box_soft_mask.h"
#include "compose_layout.h"
#include "crop_boxes.h"
#include "cpu/variants.h"
#include "matrix_product.h"
#include "normal_noise.h"
#include "refine_layout.h"
#include "refine_masks.h"
#include "triple_message.h"

namespace py = pybind11;

namespace {

// Pointers cross from Python as integers.
template <typename A>
using Wire = std::conditional_t<std::is_pointer_v<A>, std::uintptr_t, A>;

template <typename A>
A from_wire(Wire<A> value) {
  if constexpr (std::is_pointer_v<A>) {
    return reinterpret_cast<A>(value);
  } else {
    return value;
  }
}

// A submodule of entry points, and what their messages are thrown as.
template <typename Error>
struct Entries {
  py::module_ module;
};

// Binds an entry point that returns nullptr or an error message.
template <typename Error, typename... A>
void bind(Entries<Error>& entries, const char* name, const char* (*function)(A...)) {
  entries.module.def(name, [function](Wire<A>... arguments) {
    std::string error;
    {
      py::gil_scoped_release release;
      if (const char* message = function(from_wire<A>(arguments)...)) error = message;
    }
    if (!error.empty()) throw Error(error);
  });
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
  module.doc() = "Native kernels of hmeg. Arrays are addresses of contiguous memory; use hmeg.ops from Python.";
  module.def("build_info", &build_info,
             "version, compiler, pybind11, cpu_variants (instruction sets usable here), cpu_variant (the one in use), "
             "cuda (compiler version or None), cuda_archs (compiled in).");

  // ValueError: all that these refuse are arguments.
  Entries<std::invalid_argument> cpu{module.def_submodule("cpu", "Kernels for the CPU.")};
  bind(cpu, "attention_readout_forward", &hmeg_cpu_attention_readout_forward);
  bind(cpu, "attention_readout_backward", &hmeg_cpu_attention_readout_backward);
  bind(cpu, "box_soft_mask_forward", &hmeg_cpu_box_soft_mask_forward);
  bind(cpu, "box_soft_mask_backward", &hmeg_cpu_box_soft_mask_backward);
  cpu.module.def("box_layout_forward_workspace", &hmeg::box_layout_forward_workspace, "Scalars of workspace.");
  cpu.module.def("box_layout_backward_scratch", &hmeg::box_layout_backward_scratch, "Scalars of workspace a thread.");
  bind(cpu, "box_layout_forward", &hmeg_cpu_box_layout_forward);
  bind(cpu, "box_layout_backward", &hmeg_cpu_box_layout_backward);
  cpu.module.def("crop_boxes_scratch", &hmeg::crop_boxes_scratch, "Scalars of workspace a thread.");
  bind(cpu, "crop_boxes_forward", &hmeg_cpu_crop_boxes_forward);
  bind(cpu, "crop_boxes_backward", &hmeg_cpu_crop_boxes_backward);
  bind(cpu, "compose_layout_forward", &hmeg_cpu_compose_layout_forward);
  bind(cpu, "compose_layout_backward", &hmeg_cpu_compose_layout_backward);
  cpu.module.def("matrix_product_workspace", &hmeg_cpu_matrix_product_workspace, "Bytes.");
  bind(cpu, "matrix_product", &hmeg_cpu_matrix_product);
  bind(cpu, "normal_noise", &hmeg_cpu_normal_noise);
  cpu.module.def("refine_masks_forward_workspace", &hmeg_cpu_refine_masks_forward_workspace, "Bytes.");
  cpu.module.def("refine_masks_backward_workspace", &hmeg_cpu_refine_masks_backward_workspace, "Bytes.");
  bind(cpu, "refine_masks_forward", &hmeg_cpu_refine_masks_forward);
  bind(cpu, "refine_masks_backward", &hmeg_cpu_refine_masks_backward);
  cpu.module.def("refine_layout_workspace", &hmeg_cpu_refine_layout_workspace, "Bytes.");
  bind(cpu, "refine_layout", &hmeg_cpu_refine_layout);
  cpu.module.def("triple_message_forward_workspace", &hmeg_cpu_triple_message_forward_workspace, "Bytes.");
  cpu.module.def("triple_message_backward_workspace", &hmeg_cpu_triple_message_backward_workspace, "Bytes.");
  cpu.module.def("triple_message_by_matrix_unit", &hmeg_cpu_triple_message_by_matrix_unit, "1 or 0.");
  cpu.module.def("triple_message_gradient_row", &hmeg::triple_message_gradient_row, "Numbers that a row takes.");
  bind(cpu, "triple_message_forward", &hmeg_cpu_triple_message_forward);
  bind(cpu, "triple_message_backward", &hmeg_cpu_triple_message_backward);

#ifdef HMEG_WITH_CUDA
  Entries<std::runtime_error> cuda{module.def_submodule("cuda", "Launchers of the CUDA kernels.")};
  bind(cuda, "attention_readout_forward", &hmeg_cuda_attention_readout_forward);
  bind(cuda, "attention_readout_backward", &hmeg_cuda_attention_readout_backward);
  bind(cuda, "box_layout_forward", &hmeg_cuda_box_layout_forward);
  bind(cuda, "box_layout_backward", &hmeg_cuda_box_layout_backward);
  bind(cuda, "box_soft_mask_forward", &hmeg_cuda_box_soft_mask_forward);
  bind(cuda, "box_soft_mask_backward", &hmeg_cuda_box_soft_mask_backward);
  bind(cuda, "compose_layout_forward", &hmeg_cuda_compose_layout_forward);
  bind(cuda, "compose_layout_backward", &hmeg_cuda_compose_layout_backward);
  bind(cuda, "normal_noise", &hmeg_cuda_normal_noise);
  bind(cuda, "triple_message_hidden", &hmeg_cuda_triple_message_hidden);
  bind(cuda, "triple_message_pool", &hmeg_cuda_triple_message_pool);
  bind(cuda, "triple_message_grad_products", &hmeg_cuda_triple_message_grad_products);
  bind(cuda, "triple_message_collect", &hmeg_cuda_triple_message_collect);
  bind(cuda, "crop_boxes_forward", &hmeg_cuda_crop_boxes_forward);
  bind(cuda, "crop_boxes_backward", &hmeg_cuda_crop_boxes_backward);
  bind(cuda, "refine_masks_workspace", &hmeg_cuda_refine_masks_workspace);
  bind(cuda, "refine_masks_forward", &hmeg_cuda_refine_masks_forward);
  bind(cuda, "refine_masks_backward", &hmeg_cuda_refine_masks_backward);
  bind(cuda, "refine_layout_workspace", &hmeg_cuda_refine_layout_workspace);
  bind(cuda, "refine_layout", &hmeg_cuda_refine_layout);
#endif
}
