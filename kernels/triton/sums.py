"""Sums over what several programs found, in the order of the programs."""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

_BLOCK = 1024


@triton.jit(do_not_specialize=["count", "length", "inner"])
def add_parts_kernel(parts, total, count, length, inner, BLOCK: tl.constexpr):
    """total (length,), seen as (length / inner, inner), from parts (length / inner, count, inner)."""
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < length
    first = places // inner * inner * count + places % inner
    added = tl.load(parts + first, mask=inside, other=0.0)
    for part in range(1, count):
        added += tl.load(parts + first + part * inner.to(tl.int64), mask=inside, other=0.0)
    tl.store(total + places, added.to(total.dtype.element_ty), mask=inside)


def add_parts(parts: Tensor, total: Tensor, dim: int = 0) -> None:
    """Fills total with the sum of parts over ``dim``, in order; both contiguous, that dimension at least 1 long."""
    length = total.numel()
    if length:
        inner = parts.stride(dim)
        add_parts_kernel[(triton.cdiv(length, _BLOCK),)](parts, total, parts.shape[dim], length, inner, BLOCK=_BLOCK)
