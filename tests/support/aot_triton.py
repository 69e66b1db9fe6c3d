"""Compiles every Triton kernel ahead of time for the GPUs given as compute capabilities: python aot_triton.py 80 90.

Run as a script by test_build.py, in a process without TRITON_INTERPRET. Needs no GPU. Prints a line per kernel.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass, field
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hmeg.backends.triton.launcher import import_kernels

import_kernels()
from hmeg.backends.triton.kernels import (  # noqa: E402
    attention_readout,
    box_layout,
    box_soft_mask,
    compose_layout,
    crop_boxes,
    hidden_rows,
    normal_noise,
    refine_gradients,
    refine_layout,
    refine_masks,
    runtime,
    sums,
    triple_message,
)

TYPES = {"fp32": torch.float32, "fp64": torch.float64, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class Entry:
    """A kernel and what its arguments are; the compile-time constants WIDE, PRECISION and those of its configurations
    are set here."""

    kernel: Any
    tensors: str  # names of tensors of the operator's type
    constants: dict[str, float] = field(default_factory=dict)
    indices: str = ""  # names of int64 tensors
    words: str = ""  # names of int32 tensors
    sums: str = ""  # names of tensors of the type sums are made in
    integers: str = ""  # names of numbers known when the kernel starts
    floats: str = ""  # names of float32 tensors, whatever the operator's type
    words64: str = ""  # names of int64 numbers
    every: str = "fp32"  # the type to compile every configuration for
    options: dict[str, Any] = field(default_factory=dict)  # that a launch brings along
    fused: bool = True  # whether a product and a sum may become one instruction

    def compile(self, kind: str, capability: int, config: triton.Config) -> None:
        function = self.kernel.fn if isinstance(self.kernel, triton.runtime.Autotuner) else self.kernel
        given = {"WIDE": kind == "fp64", "PRECISION": runtime.precision(TYPES[kind])}
        values = {**self.constants, **config.kwargs, **{n: v for n, v in given.items() if n in function.arg_names}}
        signature = dict.fromkeys(self.tensors.split(), f"*{kind}")
        signature |= dict.fromkeys(self.indices.split(), "*i64") | dict.fromkeys(self.integers.split(), "i32")
        signature |= dict.fromkeys(self.words.split(), "*i32") | dict.fromkeys(self.floats.split(), "*fp32")
        signature |= dict.fromkeys(self.words64.split(), "i64")
        signature |= dict.fromkeys(self.sums.split(), "*fp64" if kind == "fp64" else "*fp32")
        signature |= dict.fromkeys(values, "constexpr")
        signature = {name: signature[name] for name in function.arg_names}
        # As when launched: torch aligns tensors.
        aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(signature.values()) if t.startswith("*")}
        compiled = triton.compile(
            ASTSource(function, signature=signature, constexprs=values, attrs=aligned),
            target=GPUTarget("cuda", capability, 32),
            options={"num_warps": config.num_warps, "num_stages": config.num_stages, **self.options},
        )
        assert len(compiled.asm["cubin"]) > 1000
        assert self.fused or "fma." not in compiled.asm["ptx"], "products and sums were fused"

    def compile_all(self, capability: int, kinds: list[str], thorough: bool) -> str:
        configs = getattr(self.kernel, "configs", [triton.Config({})])
        for kind in kinds:
            # One type is enough to compile every configuration.
            for config in configs if kind == self.every and thorough else configs[:1]:
                self.compile(kind, capability, config)
        name = getattr(self.kernel, "base_fn", self.kernel).__name__
        return f"sm_{capability} {name}: {', '.join(kinds)}; {len(configs)} configurations"


MASK_SIZE = {"HEIGHT": 64, "WIDTH": 64, "COLUMNS": 64}
LAYOUT = {"CHANNELS": 128, "PIXELS": 4096}
BOX_LAYOUT = {"CHANNELS": 128, "HEIGHT": 64, "WIDTH": 64}
CROPS = {"CHANNELS": 1, "HEIGHT": 256, "WIDTH": 256, "CROP_HEIGHT": 32, "CROP_WIDTH": 32}
HIDDEN = {"CHANNELS": 64, "HEIGHT": 64, "WIDTH": 64, "BLOCK": 64}
WALK = {**HIDDEN, "COLUMNS": 64}
NORMALISED = {**WALK, "EPS": 1e-5}
BN = "bn_weight bn_bias mean var conv2_weight"
READOUT = {"CHANNELS": 128, "PADDED": 128, "PART": 64, "SEARCH_STEPS": 12}
EDGE_LISTS = "subject_rows subject_edges object_rows object_edges"
PRODUCT = {"WIDTH": 512, "OUT": 128, "TYPED": False, "RETURN_EDGES": True, "KEEP": True, "WIDEN": False, "EDGES": 128}
ENTRIES = [
    Entry(box_soft_mask.forward_kernel, "boxes masks", MASK_SIZE),
    Entry(box_soft_mask.backward_kernel, "grad_masks boxes grad_boxes", MASK_SIZE),
    Entry(sums.add_parts_kernel, "total", {"BLOCK": 1024}, sums="parts", integers="count length inner"),
    Entry(attention_readout.forward_kernel, "x weight out", READOUT, indices="batch", integers="symbols"),
    Entry(
        attention_readout.backward_kernel, "grad x weight grad_x", READOUT, indices="batch", sums="means grad_products",
        integers="symbols",
    ),
    Entry(
        triple_message.product_kernel, "projected own w2 b2 new_edges", PRODUCT,
        indices="edge_index edge_type subject_edges object_edges", words="signs", sums="pieces",
        integers="edges nodes", every="bf16",
    ),
    Entry(
        triple_message.pool_kernel, "pooled", {"WIDTH": 512, "EDGES": 128, "COLUMNS": 512, "AVERAGE": True},
        indices="subject_rows object_rows", sums="pieces", integers="edges nodes",
    ),
    Entry(
        triple_message.hidden_kernel, "projected own hidden", {"WIDTH": 512, "COLUMNS": 256, "TYPED": True},
        indices="edge_index edge_type", integers="first count edges nodes",
    ),
    Entry(
        triple_message.grad_products_kernel, "grad_pooled grad_edges grad_products", {"WIDTH": 512, "OUT": 128},
        indices="edge_index", words="signs", integers="first count edges",
    ),
    Entry(
        triple_message.collect_kernel, "values collected", {"WIDTH": 512, "COLUMNS": 512}, indices=EDGE_LISTS,
        sums="carried", integers="first count edges nodes",
    ),
    Entry(
        compose_layout.compose_layout_forward_kernel, "masks features layout", LAYOUT,
        indices="batch", integers="symbols",
    ),
    Entry(
        compose_layout.compose_layout_backward_kernel, "grad_layout masks features grad_masks",
        {**LAYOUT, "FEATURES_BLOCK": 64}, indices="batch", sums="parts", integers="symbols splits span",
    ),
    Entry(
        box_layout.box_layout_forward_kernel, "features boxes layout", BOX_LAYOUT,
        indices="batch", integers="symbols",
    ),
    Entry(
        box_layout.box_layout_backward_kernel, "grad_layout features boxes grad_features grad_boxes", BOX_LAYOUT,
        indices="batch",
    ),
    Entry(
        normal_noise.normal_noise_kernel, "", indices="indices", floats="noise", integers="numbers", words64="seed",
        options=normal_noise.NO_FUSION, fused=False,
    ),
    Entry(crop_boxes.crop_boxes_forward_kernel, "images boxes crops", CROPS, indices="batch"),
    Entry(crop_boxes.crop_boxes_gradient_kernel, "grad_crops images boxes grad_boxes", CROPS, indices="batch"),
    Entry(
        crop_boxes.crop_images_gradient_kernel, "grad_crops boxes grad_images",
        {**CROPS, "SAMPLE_ROWS": 32, "SAMPLE_COLUMNS": 32}, indices="owners order", integers="symbols",
    ),
    Entry(hidden_rows.hidden_table_kernel, "conv1_weight conv1_bias", HIDDEN, sums="table"),
    Entry(
        refine_masks.refine_masks_kernel, f"boxes {BN} conv2_bias masks", NORMALISED, sums="table", integers="rows"
    ),
    Entry(
        refine_layout.refine_layout_kernel, f"boxes {BN} conv2_bias features layout",
        {**NORMALISED, "HIDDEN": 64, "CHANNELS": 128, "CHANNEL_BLOCK": 128, "ROWS": 4},
        indices="batch", sums="table", integers="symbols",
    ),
    Entry(refine_masks.refine_statistics_kernel, "boxes", WALK, sums="table parts", integers="rows"),
    Entry(
        refine_masks.merge_statistics_kernel, "",
        {"CHANNELS": 64, "HEIGHT": 64, "WIDTH": 64, "PARTS": 256, "BLOCK": 8},
        sums="parts statistics", integers="count rows",
    ),
    Entry(
        refine_gradients.refine_products_kernel, "grad_masks masks boxes", WALK,
        sums="table products readings", integers="rows",
    ),
    Entry(
        refine_gradients.refine_second_gradients_kernel,
        f"{BN} grad_bn_weight grad_bn_bias grad_conv2_weight grad_conv2_bias",
        {"CHANNELS": 64, "TRAINING": True, "EPS": 1e-5, "PARTS": 128},
        sums="products readings taken", integers="count values",
    ),
    Entry(
        refine_gradients.refine_moments_kernel, f"grad_masks masks boxes {BN}", NORMALISED,
        sums="table taken moments shares", integers="rows",
    ),
    Entry(
        refine_gradients.add_moments_kernel, "boxes", {"CHANNELS": 64, "PARTS": 128, "BLOCK": 16},
        sums="moments sums", integers="count bands",
    ),
    Entry(refine_gradients.refine_first_gradients_kernel, "grad_conv1_weight grad_conv1_bias", HIDDEN, sums="sums"),
]  # fmt: skip


def main() -> None:
    package = import_kernels()
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        ENTRIES.extend(Entry(**about) for about in getattr(module, "AHEAD_OF_TIME", ()))
    capabilities = [int(argument) for argument in sys.argv[1:]]
    for capability in capabilities:
        # All types and configurations for one GPU; the others differ from it in how they multiply float32.
        thorough = capability == capabilities[-1]
        for entry in ENTRIES:
            print(entry.compile_all(capability, list(TYPES) if thorough else ["fp32"], thorough), flush=True)


if __name__ == "__main__":
    main()
