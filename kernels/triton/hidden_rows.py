"""The hidden layer of refine_masks, a row of pixels at a time, without ever storing it.

conv1 acts on ramps that are linear in X and Y, with zeros around the image, so before the ReLU a channel is

    z(i, j) = a X_j + c Y_i + e - B . box        minus, in the first column, cl Y_i + el - Bl . box
                                                 and, in the last column, cr Y_i + er - Br . box

with other numbers in the first and in the last row, where a row of taps is missing: three kinds of row. They depend on
the weights alone; ``hidden_table_kernel`` writes them down once.
"""

from __future__ import annotations

import torch
from torch import Tensor

import triton
import triton.language as tl

from .grid_points import grid_point

# Numbers of a channel and kind of row: a, c, e, B (4), cl, el, Bl (4), cr, er, Br (4).
TABLE = tl.constexpr(19)
_LEFT = tl.constexpr(7)
_RIGHT = tl.constexpr(13)


@triton.jit
def hidden_table_kernel(
    conv1_weight,
    conv1_bias,
    table,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """table (3, TABLE, CHANNELS) for the rows: first, those between, last."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    kind = tl.program_id(0)
    channels = tl.arange(0, BLOCK)
    inside = channels < CHANNELS
    step_x = 1.0 / tl.maximum(kind * 0 + WIDTH - 1, 1).to(acc)
    step_y = 1.0 / tl.maximum(kind * 0 + HEIGHT - 1, 1).to(acc)
    last_x = grid_point(kind * 0 + WIDTH - 1, WIDTH, acc)
    above = tl.where(kind == 0, 0.0, 1.0).to(acc)
    below = tl.where(kind == 2, 0.0, 1.0).to(acc)
    if HEIGHT == 1:
        below = above * 0.0
    for side in tl.static_range(3):  # all taps, those to the left, those to the right
        by_x = tl.zeros((BLOCK,), dtype=acc)
        by_y = tl.zeros((BLOCK,), dtype=acc)
        constant = tl.zeros((BLOCK,), dtype=acc)
        sums_0 = tl.zeros((BLOCK,), dtype=acc)
        sums_1 = tl.zeros((BLOCK,), dtype=acc)
        sums_2 = tl.zeros((BLOCK,), dtype=acc)
        sums_3 = tl.zeros((BLOCK,), dtype=acc)
        for tap in tl.static_range(9):
            if side == 0 or (side == 1 and tap % 3 == 0) or (side == 2 and tap % 3 == 2):
                there = above * 0.0 + 1.0
                if tap // 3 == 0:
                    there = above
                if tap // 3 == 2:
                    there = below
                here = conv1_weight + channels * 36 + tap
                w_0 = tl.load(here, mask=inside, other=0.0).to(acc) * there
                w_1 = tl.load(here + 9, mask=inside, other=0.0).to(acc) * there
                w_2 = tl.load(here + 18, mask=inside, other=0.0).to(acc) * there
                w_3 = tl.load(here + 27, mask=inside, other=0.0).to(acc) * there
                # X of the tap: as far from the pixel's as the tap is; in the last column from that column's.
                shift_x = (tap % 3 - 1) * step_x
                if side == 2:
                    shift_x += last_x
                by_x += 2.0 * (w_0 + w_2)
                by_y += 2.0 * (w_1 + w_3)
                constant += (w_0 + w_2) * (2.0 * shift_x - 1.0)
                constant += (w_1 + w_3) * (2.0 * ((tap // 3 - 1) * step_y) - 1.0)
                sums_0 += 2.0 * w_0
                sums_1 += 2.0 * w_1
                sums_2 += 2.0 * w_2
                sums_3 += 2.0 * w_3
        out = table + kind * TABLE * CHANNELS + channels
        if side == 0:
            constant += tl.load(conv1_bias + channels, mask=inside, other=0.0).to(acc)
            tl.store(out, by_x, mask=inside)
            out += CHANNELS
        if side == 1:
            out += _LEFT * CHANNELS
        if side == 2:
            out += _RIGHT * CHANNELS
        tl.store(out, by_y, mask=inside)
        tl.store(out + CHANNELS, constant, mask=inside)
        tl.store(out + 2 * CHANNELS, sums_0, mask=inside)
        tl.store(out + 3 * CHANNELS, sums_1, mask=inside)
        tl.store(out + 4 * CHANNELS, sums_2, mask=inside)
        tl.store(out + 5 * CHANNELS, sums_3, mask=inside)


@triton.jit
def rows_of_kind(kind, first, last, HEIGHT: tl.constexpr):
    """The rows from first to last that are of a kind, as a range."""
    end: tl.constexpr = max(HEIGHT - 1, 1)
    low = tl.where(kind == 0, 0, tl.where(kind == 1, 1, end))
    high = tl.where(kind == 0, 1, tl.where(kind == 1, end, HEIGHT))
    return tl.maximum(low, first), tl.minimum(high, last)


@triton.jit
def _affine(table, place: tl.constexpr, x0, y0, x1, y1, channels, CHANNELS: tl.constexpr):
    """(by Y, constant) of the six numbers that begin at ``place``."""
    here = table + place * CHANNELS + channels
    inside = channels < CHANNELS
    by_y = tl.load(here, mask=inside, other=0.0)
    constant = tl.load(here + CHANNELS, mask=inside, other=0.0)
    constant -= tl.load(here + 2 * CHANNELS, mask=inside, other=0.0) * x0
    constant -= tl.load(here + 3 * CHANNELS, mask=inside, other=0.0) * y0
    constant -= tl.load(here + 4 * CHANNELS, mask=inside, other=0.0) * x1
    constant -= tl.load(here + 5 * CHANNELS, mask=inside, other=0.0) * y1
    return by_y, constant


@triton.jit
def coefficients(table, kind, x0, y0, x1, y1, channels, CHANNELS: tl.constexpr):
    """What ``hidden_row`` needs for one symbol's rows of a kind."""
    here = table + kind * TABLE * CHANNELS
    by_x = tl.load(here + channels, mask=channels < CHANNELS, other=0.0)
    by_y, constant = _affine(here, 1, x0, y0, x1, y1, channels, CHANNELS)
    left_by_y, left = _affine(here, _LEFT, x0, y0, x1, y1, channels, CHANNELS)
    right_by_y, right = _affine(here, _RIGHT, x0, y0, x1, y1, channels, CHANNELS)
    return by_x, by_y, constant, left_by_y, left, right_by_y, right


@triton.jit
def hidden_row(given, y, x, columns, WIDTH: tl.constexpr):
    """z (channels, columns) before the ReLU, in the row at y and at the columns given, whose X are x."""
    by_x, by_y, constant, left_by_y, left, right_by_y, right = given
    along = constant + by_y * y
    first = along - (left + left_by_y * y)
    last = along - (right + right_by_y * y)
    if WIDTH == 1:
        last = first - (right + right_by_y * y)
        first = last
    else:
        last += by_x  # X is 1 there
    z = by_x[:, None] * x[None, :] + along[:, None]
    z = tl.where(columns[None, :] == 0, first[:, None], z)
    return tl.where(columns[None, :] == WIDTH - 1, last[:, None], z)


@triton.jit
def normalisation(
    bn_weight, bn_bias, mean, var, channels, CHANNELS: tl.constexpr, EPS: tl.constexpr, acc: tl.constexpr
):
    """scale and shift of BatchNorm, and 1 / sqrt(var + eps); 0 beyond the last channel."""
    inside = channels < CHANNELS
    inverse = 1.0 / tl.sqrt(tl.load(var + channels, mask=inside, other=1.0).to(acc) + EPS)
    scale = tl.load(bn_weight + channels, mask=inside, other=0.0).to(acc) * inverse
    average = tl.load(mean + channels, mask=inside, other=0.0).to(acc)
    shift = tl.load(bn_bias + channels, mask=inside, other=0.0).to(acc) - average * scale
    return scale, shift, inverse


def block_of(channels: int) -> int:
    """Channels as kernels hold them: a power of two that tl.dot takes."""
    return max(16, triton.next_power_of_2(channels))


def columns_of(width: int) -> int:
    """Columns of a tile: the whole row where it is not long."""
    return min(64 if width <= 64 else 128, max(16, triton.next_power_of_2(width)))


def hidden_table(conv1_weight: Tensor, conv1_bias: Tensor, size: tuple[int, int]) -> Tensor:
    """The table (3, TABLE, K) for images of this size, in the type sums are made in."""
    channels, wide = len(conv1_weight), conv1_weight.element_size() == 8
    table = conv1_weight.new_empty((3, TABLE.value, channels), dtype=torch.float64 if wide else torch.float32)
    hidden_table_kernel[(3,)](
        conv1_weight, conv1_bias, table,
        CHANNELS=channels, HEIGHT=size[0], WIDTH=size[1], WIDE=wide, BLOCK=block_of(channels),
    )  # fmt: skip
    return table
