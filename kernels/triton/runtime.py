"""How kernels are decorated: autotuned on a GPU, plain in Triton's interpreter (TRITON_INTERPRET=1)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

import triton

# Read once, as Triton does when it decorates a kernel.
_INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU."""
    return _INTERPRETED


def version() -> str:
    """Triton's version."""
    return str(triton.__version__)


def programs_wanted(on_a_gpu: int) -> int:
    """How many programs work is cut into where it can be; few in the interpreter, which runs one after the other."""
    return 8 if interpreted() else on_a_gpu


def kernel(configs: Sequence[triton.Config], key: Sequence[str]) -> Callable[[Any], Any]:
    """Tunes a triton.jit function over ``configs`` anew for each value of the arguments named in ``key``.

    The interpreter takes the first config: it has nothing to time.
    """

    def decorate(function: Any) -> Any:
        if interpreted():
            return triton.heuristics({n: _constant(v) for n, v in configs[0].kwargs.items()})(function)
        return triton.autotune(configs=list(configs), key=list(key))(function)

    return decorate


def _constant(value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda _arguments: value


def precision(dtype: torch.dtype) -> str:
    """How tl.dot multiplies numbers that came as ``dtype``, with sums in float32 (float64 for float64).

    Hopper and Ampere multiply matrices in tensor cores, whose factors have 11 bits (tf32). float16 and bfloat16 fit
    in. float32 is split in two such numbers, and three products give 22 bits: about what a sum of float32 keeps.
    """
    if dtype == torch.float64:
        return "ieee"
    return "tf32x3" if dtype == torch.float32 else "tf32"
