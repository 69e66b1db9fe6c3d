"""Boxes and the ramps of their fixed soft masks."""

from __future__ import annotations

import triton
import triton.language as tl

from .grid_points import grid_point

# csrc/box_soft_mask.h: kBoxSoftMaskMinSide
MIN_SIDE = tl.constexpr(1e-6)


@triton.jit
def soft_ramp(low, high, index, count, acc: tl.constexpr):
    """r(t) at grid points ``index`` of ``count``, and its derivatives by ``low`` and ``high``. NaN falls through."""
    side = high - low
    nothing = tl.abs(side) < MIN_SIDE
    something = tl.where(nothing, 0.0, 1.0)
    reciprocal = something / tl.where(nothing, 1.0, side)
    t = (grid_point(index, count, acc) - low) * reciprocal
    rising = 8.0 * t + 0.5
    falling = 8.5 - 8.0 * t
    value = tl.where(rising < falling, rising, falling)
    slope = tl.where(rising < falling, 8.0, -8.0) * reciprocal
    flat = (value < 0.0) | (value > 1.0)
    by_low = tl.where(flat, 0.0, slope * (t - 1.0))
    by_high = tl.where(flat, 0.0, -slope * t)
    value = tl.where(value < 0.0, 0.0, value)
    value = tl.where(value > 1.0, 1.0, value)
    return value * something, by_low, by_high


@triton.jit
def load_box(boxes, symbol, acc: tl.constexpr):
    """x0, y0, x1, y1 of a symbol (int64)."""
    x0 = tl.load(boxes + 4 * symbol).to(acc)
    y0 = tl.load(boxes + 4 * symbol + 1).to(acc)
    x1 = tl.load(boxes + 4 * symbol + 2).to(acc)
    y1 = tl.load(boxes + 4 * symbol + 3).to(acc)
    return x0, y0, x1, y1
