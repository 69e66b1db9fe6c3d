"""Sums over what several programs found, in the order of the programs."""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

_BLOCK = 1024


@triton.jit(do_not_specialize=["count", "length"])
def add_parts_kernel(parts, total, count, length, BLOCK: tl.constexpr):
    """total (length,) from parts (count, length)."""
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < length
    added = tl.load(parts + places, mask=inside, other=0.0)
    for part in range(1, count):
        added += tl.load(parts + part * length.to(tl.int64) + places, mask=inside, other=0.0)
    tl.store(total + places, added.to(total.dtype.element_ty), mask=inside)


def add_parts(parts: Tensor, total: Tensor) -> None:
    """Fills total from parts (n, *total.shape), n at least 1; both contiguous."""
    length = total.numel()
    if length:
        add_parts_kernel[(triton.cdiv(length, _BLOCK),)](parts, total, len(parts), length, BLOCK=_BLOCK)
