"""Points of the grid that masks and crops are sampled on."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def grid_point(index, count, acc: tl.constexpr):
    """index / (count - 1), from the nearer end, as torch.linspace(0, 1, count) does it; 0 where count is 1."""
    step = 1.0 / tl.maximum(count - 1, 1).to(acc)
    point = tl.where(index < count // 2, step * index.to(acc), 1.0 - step * (count - 1 - index).to(acc))
    return tl.where(count > 1, point, 0.0)
