"""Compiles every Triton kernel ahead of time for the GPUs given as compute capabilities: python aot_triton.py 80 90.

Run as a script by test_build.py, in a process without TRITON_INTERPRET. Needs no GPU. Prints a line per kernel.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hmeg.backends.triton.kernels import import_kernels

import_kernels()
from hmeg_kernels import box_soft_mask, compose_layout, runtime, sums  # noqa: E402

TYPES = {"fp32": torch.float32, "fp64": torch.float64, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class Entry:
    """A kernel and what its arguments are; the compile-time constants WIDE, PRECISION and those of its configurations
    are set here."""

    kernel: Any
    tensors: str  # names of tensors of the operator's type
    constants: dict[str, int] = field(default_factory=dict)
    indices: str = ""  # names of int64 tensors
    sums: str = ""  # names of tensors of the type sums are made in
    integers: str = ""  # names of numbers known when the kernel starts

    def compile(self, kind: str, capability: int, config: triton.Config) -> None:
        function = self.kernel.fn if isinstance(self.kernel, triton.runtime.Autotuner) else self.kernel
        given = {"WIDE": kind == "fp64", "PRECISION": runtime.precision(TYPES[kind])}
        values = {**self.constants, **config.kwargs, **{n: v for n, v in given.items() if n in function.arg_names}}
        signature = dict.fromkeys(self.tensors.split(), f"*{kind}")
        signature |= dict.fromkeys(self.indices.split(), "*i64") | dict.fromkeys(self.integers.split(), "i32")
        signature |= dict.fromkeys(self.sums.split(), "*fp64" if kind == "fp64" else "*fp32")
        signature |= dict.fromkeys(values, "constexpr")
        signature = {name: signature[name] for name in function.arg_names}
        # As when launched: torch aligns tensors.
        aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(signature.values()) if t.startswith("*")}
        compiled = triton.compile(
            ASTSource(function, signature=signature, constexprs=values, attrs=aligned),
            target=GPUTarget("cuda", capability, 32),
            options={"num_warps": config.num_warps, "num_stages": config.num_stages},
        )
        assert len(compiled.asm["cubin"]) > 1000

    def compile_all(self, capability: int) -> str:
        configs = getattr(self.kernel, "configs", [triton.Config({})])
        for kind in TYPES:
            # One type is enough to compile every configuration.
            for config in configs if kind == "fp32" else configs[:1]:
                self.compile(kind, capability, config)
        name = getattr(self.kernel, "base_fn", self.kernel).__name__
        return f"sm_{capability} {name}: {len(TYPES)} types, {len(configs)} configurations"


MASK_SIZE = {"HEIGHT": 64, "WIDTH": 64, "COLUMNS": 64}
LAYOUT = {"CHANNELS": 128, "PIXELS": 4096}
ENTRIES = [
    Entry(box_soft_mask.forward_kernel, "boxes masks", MASK_SIZE),
    Entry(box_soft_mask.backward_kernel, "grad_masks boxes grad_boxes", MASK_SIZE),
    Entry(sums.add_parts_kernel, "total", {"BLOCK": 1024}, sums="parts", integers="count length"),
    Entry(
        compose_layout.compose_layout_forward_kernel, "masks features layout", LAYOUT,
        indices="batch", integers="symbols",
    ),
    Entry(
        compose_layout.compose_layout_backward_kernel, "grad_layout masks features grad_masks",
        {**LAYOUT, "FEATURES_BLOCK": 64}, indices="batch", sums="parts", integers="symbols splits span",
    ),
]  # fmt: skip


def main() -> None:
    for capability in map(int, sys.argv[1:]):
        for entry in ENTRIES:
            print(entry.compile_all(capability), flush=True)


if __name__ == "__main__":
    main()
