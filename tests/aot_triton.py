"""Compiles every Triton kernel ahead of time for the GPUs given as compute capabilities: python aot_triton.py 80 90.

Run as a script by test_build.py, in a process without TRITON_INTERPRET. Needs no GPU. Prints a line per kernel.
"""

from __future__ import annotations

import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hmeg.backends.triton.kernels import import_kernels

import_kernels()
from hmeg_kernels import box_soft_mask  # noqa: E402

TYPES = ("fp32", "fp64", "fp16", "bf16")
# kernel, arguments that are tensors, compile-time constants but WIDE and those of its configurations
KERNELS: list[tuple[Any, list[str], dict[str, int]]] = [
    (box_soft_mask.forward_kernel, ["boxes", "masks"], {"HEIGHT": 64, "WIDTH": 64, "COLUMNS": 64}),
    (box_soft_mask.backward_kernel, ["grad_masks", "boxes", "grad_boxes"], {"HEIGHT": 64, "WIDTH": 64, "COLUMNS": 64}),
]


def main() -> None:
    for capability in map(int, sys.argv[1:]):
        for tuned, tensors, constants in KERNELS:
            for kind in TYPES:
                # One type is enough to compile every configuration.
                for config in tuned.configs if kind == "fp32" else tuned.configs[:1]:
                    values = {**constants, **config.kwargs, "WIDE": kind == "fp64"}
                    signature = dict.fromkeys(tensors, f"*{kind}")
                    signature |= dict.fromkeys(values, "constexpr")
                    function = tuned.fn
                    ordered = {name: signature[name] for name in function.arg_names}
                    compiled = triton.compile(
                        ASTSource(function, signature=ordered, constexprs=values),
                        target=GPUTarget("cuda", capability, 32),
                        options={"num_warps": config.num_warps},
                    )
                    assert len(compiled.asm["cubin"]) > 1000
            print(f"sm_{capability} {tuned.fn.__name__}: {len(TYPES)} types, {len(tuned.configs)} configurations")


if __name__ == "__main__":
    main()
