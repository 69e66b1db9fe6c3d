"""box_layout in Triton: features (V, C), boxes (V, 4), batch (V,) -> layout (N, C, H, W), and both gradients.

Forward, a program owns a tile of channels x pixels of one expression. A symbol's mask in the tile is made from its
box, and symbols whose mask is zero there are passed over. Backward, a program owns a symbol and reads the layout's
gradient in the support of its box only: three sums over rows, of all columns and channels, hold all that the features
and the box need, for the mask is a product of a ramp along X and one along Y. Nothing is added atomically.
"""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

from .expressions import first_symbol
from .runtime import kernel
from .soft_ramp import load_box, soft_ramp

_FORWARD_CONFIGS = [
    triton.Config({"CHANNEL_BLOCK": 64, "PIXEL_BLOCK": 128}, num_warps=8),
    triton.Config({"CHANNEL_BLOCK": 32, "PIXEL_BLOCK": 128}, num_warps=4),
    triton.Config({"CHANNEL_BLOCK": 32, "PIXEL_BLOCK": 256}, num_warps=8),
]
_BACKWARD_CONFIGS = [
    triton.Config({"CHANNEL_BLOCK": 64, "COLUMNS": 16}, num_warps=4),
    triton.Config({"CHANNEL_BLOCK": 128, "COLUMNS": 16}, num_warps=8),
]
# How far outside its side, as a share of it, a ramp may be above zero: a sixteenth, and some for rounding.
_REACH = tl.constexpr(0.07)


@triton.jit
def _support(low, high, count: tl.constexpr):
    """First index and index after the last of the grid points that a side's ramp can reach; all of them for NaN."""
    margin = _REACH * tl.abs(high - low)
    first = (tl.where(low < high, low, high) - margin) * (count - 1)
    last = (tl.where(low < high, high, low) + margin) * (count - 1)
    # Cut to the image before they become integers; NaN falls through to the whole of it.
    first = tl.where(first > 0.0, first, 0.0)
    first = tl.where(first < count, first, count)
    last = tl.where(last < count - 1, last, count - 1)
    last = tl.where(last > -1.0, last, -1.0)
    return tl.floor(first).to(tl.int32), tl.floor(last).to(tl.int32) + 1


@triton.jit
def _supports(x0, y0, x1, y1, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Ranges of rows and of columns outside which a symbol's mask is zero; everything where the box is not finite."""
    total = x0 + y0 + x1 + y1
    poison = total - total
    top, bottom = _support(y0 + poison, y1, HEIGHT)
    left, right = _support(x0 + poison, x1, WIDTH)
    return top, bottom, left, right


@kernel(_FORWARD_CONFIGS, key=["CHANNELS", "HEIGHT", "WIDTH"])
@triton.jit(do_not_specialize=["symbols"])
def box_layout_forward_kernel(
    features,
    boxes,
    batch,
    layout,
    symbols,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    CHANNEL_BLOCK: tl.constexpr,
    PIXEL_BLOCK: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    count: tl.constexpr = HEIGHT * WIDTH
    tiles: tl.constexpr = (count + PIXEL_BLOCK - 1) // PIXEL_BLOCK
    blocks: tl.constexpr = (CHANNELS + CHANNEL_BLOCK - 1) // CHANNEL_BLOCK
    graph = tl.program_id(0) // (tiles * blocks)
    first_pixel = tl.program_id(0) % tiles * PIXEL_BLOCK
    pixels = first_pixel + tl.arange(0, PIXEL_BLOCK)
    rows = pixels // WIDTH
    columns = pixels % WIDTH
    first_row = first_pixel // WIDTH
    last_row = (first_pixel + PIXEL_BLOCK - 1) // WIDTH
    channels = tl.program_id(0) // tiles % blocks * CHANNEL_BLOCK + tl.arange(0, CHANNEL_BLOCK)
    begin = first_symbol(batch, symbols, graph)
    end = first_symbol(batch, symbols, graph + 1)
    painted = tl.zeros((CHANNEL_BLOCK, PIXEL_BLOCK), dtype=acc)
    for place in range(0, end - begin):
        symbol = begin.to(tl.int64) + place
        x0, y0, x1, y1 = load_box(boxes, symbol, acc)
        top, bottom, left, right = _supports(x0, y0, x1, y1, HEIGHT, WIDTH)
        if (bottom > first_row) & (top <= last_row) & (left < right):
            down, _y0, _y1 = soft_ramp(y0, y1, rows, HEIGHT, acc)
            across, _x0, _x1 = soft_ramp(x0, x1, columns, WIDTH, acc)
            feature = tl.load(features + symbol * CHANNELS + channels, mask=channels < CHANNELS, other=0.0).to(acc)
            painted += feature[:, None] * (down * across)[None, :]
    offsets = (graph.to(tl.int64) * CHANNELS + channels[:, None]) * count + pixels[None, :]
    inside = (channels[:, None] < CHANNELS) & (pixels[None, :] < count)
    tl.store(layout + offsets, painted.to(layout.dtype.element_ty), mask=inside)


@kernel(_BACKWARD_CONFIGS, key=["CHANNELS", "HEIGHT", "WIDTH"])
@triton.jit
def box_layout_backward_kernel(
    grad_layout,
    features,
    boxes,
    batch,
    grad_features,
    grad_boxes,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    CHANNEL_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    zero = tl.program_id(0) * 0
    symbol = tl.program_id(0).to(tl.int64)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    top, bottom, left, right = _supports(x0, y0, x1, y1, HEIGHT, WIDTH)
    layout = grad_layout + tl.load(batch + symbol) * CHANNELS * HEIGHT * WIDTH
    by_x0 = tl.zeros((COLUMNS,), dtype=acc)
    by_y0 = tl.zeros((COLUMNS,), dtype=acc)
    by_x1 = tl.zeros((COLUMNS,), dtype=acc)
    by_y1 = tl.zeros((COLUMNS,), dtype=acc)
    for first in range(0, CHANNELS, CHANNEL_BLOCK):
        channels = first + tl.arange(0, CHANNEL_BLOCK)
        feature = tl.load(features + symbol * CHANNELS + channels, mask=channels < CHANNELS, other=0.0).to(acc)
        by_feature = tl.zeros((CHANNEL_BLOCK,), dtype=acc)
        for column in range(left, right, COLUMNS):
            columns = column + tl.arange(0, COLUMNS)
            inside = (channels[:, None] < CHANNELS) & (columns[None, :] < right)
            here = layout + channels.to(tl.int64)[:, None] * (HEIGHT * WIDTH) + columns[None, :]
            # Sums over rows, weighted with the ramp along Y and with what its ends change in it.
            plain = tl.zeros((CHANNEL_BLOCK, COLUMNS), dtype=acc)
            upper = tl.zeros((CHANNEL_BLOCK, COLUMNS), dtype=acc)
            lower = tl.zeros((CHANNEL_BLOCK, COLUMNS), dtype=acc)
            for row in range(top, bottom):
                down, down_by_y0, down_by_y1 = soft_ramp(y0, y1, zero + row, HEIGHT, acc)
                grad = tl.load(here + row * WIDTH, mask=inside, other=0.0).to(acc)
                plain += grad * down
                upper += grad * down_by_y0
                lower += grad * down_by_y1
            across, across_by_x0, across_by_x1 = soft_ramp(x0, x1, columns, WIDTH, acc)
            by_feature += tl.sum(plain * across[None, :], axis=1)
            of_columns = tl.sum(plain * feature[:, None], axis=0)
            by_x0 += of_columns * across_by_x0
            by_x1 += of_columns * across_by_x1
            by_y0 += tl.sum(upper * feature[:, None], axis=0) * across
            by_y1 += tl.sum(lower * feature[:, None], axis=0) * across
        out = grad_features + symbol * CHANNELS + channels
        tl.store(out, by_feature.to(grad_features.dtype.element_ty), mask=channels < CHANNELS)
    ends = grad_boxes + 4 * symbol
    tl.store(ends, tl.sum(by_x0, axis=0).to(grad_boxes.dtype.element_ty))
    tl.store(ends + 1, tl.sum(by_y0, axis=0).to(grad_boxes.dtype.element_ty))
    tl.store(ends + 2, tl.sum(by_x1, axis=0).to(grad_boxes.dtype.element_ty))
    tl.store(ends + 3, tl.sum(by_y1, axis=0).to(grad_boxes.dtype.element_ty))


def box_layout_forward(features: Tensor, boxes: Tensor, batch: Tensor, layout: Tensor) -> None:
    """Fills layout (N, C, H, W) from features (V, C), boxes (V, 4), of one type, and batch (V,) int64.

    All contiguous; batch non-decreasing, in [0, N).
    """
    graphs, channels, height, width = layout.shape
    if layout.numel():
        box_layout_forward_kernel[
            lambda meta: (
                graphs
                * triton.cdiv(channels, meta["CHANNEL_BLOCK"])
                * triton.cdiv(height * width, meta["PIXEL_BLOCK"]),
            )
        ](
            features, boxes, batch, layout, len(boxes),
            CHANNELS=channels, HEIGHT=height, WIDTH=width, WIDE=boxes.element_size() == 8,
        )  # fmt: skip


def box_layout_backward(
    grad_layout: Tensor, features: Tensor, boxes: Tensor, batch: Tensor, grad_features: Tensor, grad_boxes: Tensor
) -> None:
    """Fills grad_features and grad_boxes, shaped as features and boxes, from grad_layout; as in the forward pass."""
    _, channels, height, width = grad_layout.shape
    if len(boxes):
        box_layout_backward_kernel[(len(boxes),)](
            grad_layout, features, boxes, batch, grad_features, grad_boxes,
            CHANNELS=channels, HEIGHT=height, WIDTH=width, WIDE=boxes.element_size() == 8,
        )  # fmt: skip
