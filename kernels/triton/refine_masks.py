"""refine_masks in Triton, forward: boxes (V, 4) -> masks (V, H, W), and the batch statistics of training.

A program walks down a band of rows of one symbol's image. A row of the hidden layer (channels x columns) lives in
registers; one product with conv2's weights (taps x channels) gives what the row adds to the rows above, at and below
it, and two rows of sums are carried along. A band computes one row more at either end. Nothing is stored but masks.
"""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

from .grid_points import grid_point
from .hidden_rows import (
    block_of,
    coefficients,
    columns_of,
    hidden_row,
    hidden_table,
    normalisation,
    rows_of_kind,
)
from .runtime import kernel, precision, programs_wanted
from .soft_ramp import load_box

# Eight warps at least: with fewer the numbers of a thread's channels do not fit in its registers.
_CONFIGS = [
    triton.Config({}, num_warps=8, num_stages=1),
    triton.Config({}, num_warps=16, num_stages=1),
]
# Programs that fill every multiprocessor of a large GPU a few times, and rows under which a band is not cut.
_ENOUGH_PROGRAMS = programs_wanted(528)
_FEWEST_ROWS = 8


@triton.jit
def second_layer(
    conv2_weight, scale, shift, channels, places, columns,
    CHANNELS: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, acc: tl.constexpr,
):  # fmt: skip
    """For ``tap_sums``: weights (16 taps x channels) with BatchNorm's scale, what its shift adds, and where to."""
    taps = tl.arange(0, 16)
    inside = (taps[:, None] < 9) & (channels[None, :] < CHANNELS)
    weights = tl.load(conv2_weight + channels[None, :] * 9 + taps[:, None], mask=inside, other=0.0).to(acc)
    shifted = tl.sum(weights * shift[None, :], axis=1)
    step = (taps % 3 - 1)[:, None]
    source = places[None, :] + step
    column = columns[None, :] + step
    there = (taps[:, None] < 9) & (column >= 0) & (column < WIDTH) & (source >= 0) & (source < COLUMNS)
    return weights * scale[None, :], shifted, tl.where(there, source, 0), there


@triton.jit
def tap_sums(hidden, layer, PRECISION: tl.constexpr, acc: tl.constexpr):
    """What a row of the hidden layer (channels x columns) adds to the logits of the rows below, at and above it."""
    weights, shifted, source, there = layer
    products = tl.dot(weights, hidden, input_precision=PRECISION, out_dtype=acc) + shifted[:, None]
    moved = tl.where(there, tl.gather(products, source, axis=1), 0.0)
    rows = (tl.arange(0, 16) // 3)[:, None]
    below = tl.sum(tl.where(rows == 0, moved, 0.0), axis=0)
    at = tl.sum(tl.where(rows == 1, moved, 0.0), axis=0)
    above = tl.sum(tl.where(rows == 2, moved, 0.0), axis=0)
    return below, at, above


@triton.jit
def sigmoid(logit):
    return 1.0 / (1.0 + tl.exp(-logit))


@kernel(_CONFIGS, key=["HEIGHT", "WIDTH", "CHANNELS"])
@triton.jit(do_not_specialize=["rows"])
def refine_masks_kernel(
    boxes,
    table,
    bn_weight,
    bn_bias,
    mean,
    var,
    conv2_weight,
    conv2_bias,
    masks,
    rows,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    EPS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    # A tile that is not the whole row overlaps its neighbours by a column at either side.
    halo: tl.constexpr = 0 if WIDTH <= COLUMNS else 1
    tiles: tl.constexpr = (WIDTH + COLUMNS - 2 * halo - 1) // (COLUMNS - 2 * halo)
    zero = tl.program_id(0) * 0
    bands = tl.cdiv(HEIGHT, rows)
    symbol = (tl.program_id(0) // (bands * tiles)).to(tl.int64)
    begin = tl.program_id(0) // tiles % bands * rows
    end = tl.minimum(begin + rows, HEIGHT)
    places = tl.arange(0, COLUMNS)
    columns = tl.program_id(0) % tiles * (COLUMNS - 2 * halo) - halo + places
    owned = (columns >= 0) & (columns < WIDTH) & (places >= halo) & (places < COLUMNS - halo)
    x = grid_point(columns, WIDTH, acc)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    channels = tl.arange(0, BLOCK)
    scale, shift, _inverse = normalisation(bn_weight, bn_bias, mean, var, channels, CHANNELS, EPS, acc)
    layer = second_layer(conv2_weight, scale, shift, channels, places, columns, CHANNELS, WIDTH, COLUMNS, acc)
    bias = tl.load(conv2_bias).to(acc)
    out = masks + symbol * HEIGHT * WIDTH + columns
    # Logits of the row before this one, but for this one's share; and of this one, from the row before.
    before = tl.zeros((COLUMNS,), dtype=acc)
    here = tl.zeros((COLUMNS,), dtype=acc)
    for one in range(3):
        kind = zero + one
        low, high = rows_of_kind(kind, tl.maximum(begin - 1, 0), tl.minimum(end + 1, HEIGHT), HEIGHT)
        if low < high:
            given = coefficients(table, kind, x0, y0, x1, y1, channels, CHANNELS)
            for row in range(low, high):
                y = grid_point(zero + row, HEIGHT, acc)
                z = hidden_row(given, y, x, columns, WIDTH)
                below, at, above = tap_sums(tl.where(z < 0.0, 0.0, z), layer, PRECISION, acc)
                complete = zero + row - 1 >= begin
                mask = sigmoid(before + above + bias).to(masks.dtype.element_ty)
                inside = owned & (columns < tl.where(complete, WIDTH, 0))
                tl.store(out + (zero + row - 1).to(tl.int64) * WIDTH, mask, mask=inside)
                before = here + at
                here = below
    last = sigmoid(before + bias).to(masks.dtype.element_ty)
    inside = owned & (columns < tl.where(end == HEIGHT, WIDTH, 0))
    tl.store(out + (end - 1).to(tl.int64) * WIDTH, last, mask=inside)


@kernel(_CONFIGS, key=["HEIGHT", "WIDTH", "CHANNELS"])
@triton.jit(do_not_specialize=["rows"])
def refine_statistics_kernel(
    boxes,
    table,
    parts,
    rows,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """parts (V * bands, 2, CHANNELS): a band's mean, then the sum of squares of what is left of it."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    zero = tl.program_id(0) * 0
    bands = tl.cdiv(HEIGHT, rows)
    symbol = (tl.program_id(0) // bands).to(tl.int64)
    begin = tl.program_id(0) % bands * rows
    end = tl.minimum(begin + rows, HEIGHT)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    channels = tl.arange(0, BLOCK)
    average = tl.zeros((BLOCK,), dtype=acc)
    squares = tl.zeros((BLOCK,), dtype=acc)
    for squared in tl.static_range(2):
        added = tl.zeros((BLOCK, COLUMNS), dtype=acc)
        for one in range(3):
            kind = zero + one
            low, high = rows_of_kind(kind, begin, end, HEIGHT)
            if low < high:
                given = coefficients(table, kind, x0, y0, x1, y1, channels, CHANNELS)
                for row in range(low, high):
                    y = grid_point(zero + row, HEIGHT, acc)
                    for first in range(0, WIDTH, COLUMNS):
                        columns = first + tl.arange(0, COLUMNS)
                        z = hidden_row(given, y, grid_point(columns, WIDTH, acc), columns, WIDTH)
                        value = tl.where(z < 0.0, 0.0, z)
                        if squared:
                            value = (value - average[:, None]) * (value - average[:, None])
                        added += tl.where(columns[None, :] < WIDTH, value, 0.0)
        if squared:
            squares = tl.sum(added, axis=1)
        else:
            average = tl.sum(added, axis=1) / ((end - begin) * WIDTH).to(acc)
    out = parts + tl.program_id(0).to(tl.int64) * 2 * CHANNELS + channels
    tl.store(out, average, mask=channels < CHANNELS)
    tl.store(out + CHANNELS, squares, mask=channels < CHANNELS)


@triton.jit(do_not_specialize=["count", "rows"])
def merge_statistics_kernel(
    parts,
    statistics,
    count,
    rows,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """statistics (2, CHANNELS), mean and biased variance of all, from the parts of ``refine_statistics_kernel``.

    Chan's rule: the squares about the whole mean are those about each part's, and its distance's, weighted.
    """
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    channels = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    bands = tl.cdiv(HEIGHT, rows)
    total = (count // bands).to(acc) * (HEIGHT * WIDTH)
    average = tl.zeros((BLOCK,), dtype=acc)
    variance = tl.zeros((BLOCK,), dtype=acc)
    for squared in tl.static_range(2):
        added = tl.zeros((PARTS, BLOCK), dtype=acc)
        for first in range(0, count, PARTS):
            items = first + tl.arange(0, PARTS)
            inside = (items[:, None] < count) & (channels[None, :] < CHANNELS)
            here = parts + items.to(tl.int64)[:, None] * 2 * CHANNELS + channels[None, :]
            mean = tl.load(here, mask=inside, other=0.0)
            values = (tl.minimum(rows, HEIGHT - items % bands * rows) * WIDTH).to(acc)[:, None]
            if squared:
                squares = tl.load(here + CHANNELS, mask=inside, other=0.0)
                away = mean - average[None, :]
                added += tl.where(inside, squares + values * away * away, 0.0)
            else:
                added += tl.where(inside, values * mean, 0.0)
        if squared:
            variance = tl.sum(added, axis=0) / total
        else:
            average = tl.sum(added, axis=0) / total
    tl.store(statistics + channels, average, mask=channels < CHANNELS)
    tl.store(statistics + CHANNELS + channels, variance, mask=channels < CHANNELS)


def bands_of(symbols: int, height: int) -> tuple[int, int]:
    """Bands a symbol's image is cut into, and rows of a band: enough programs, bands not too thin."""
    bands = max(1, min(triton.cdiv(_ENOUGH_PROGRAMS, symbols), height // _FEWEST_ROWS))
    rows = triton.cdiv(height, bands)
    return triton.cdiv(height, rows), rows


def refine_statistics(boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, size: tuple[int, int]) -> Tensor:
    """(2, K): mean and biased variance of the hidden layer over all symbols and pixels, in the type of sums.

    boxes (V, 4) with V at least 1; all contiguous, of one type.
    """
    (height, width), symbols, channels = size, len(boxes), len(conv1_weight)
    table = hidden_table(conv1_weight, conv1_bias, size)
    bands, rows = bands_of(symbols, height)
    parts, statistics = table.new_empty((symbols * bands, 2, channels)), table.new_empty((2, channels))
    wide = boxes.element_size() == 8
    refine_statistics_kernel[(symbols * bands,)](
        boxes, table, parts, rows,
        CHANNELS=channels, HEIGHT=height, WIDTH=width, WIDE=wide, BLOCK=block_of(channels), COLUMNS=columns_of(width),
    )  # fmt: skip
    merge_statistics_kernel[(triton.cdiv(channels, 8),)](
        parts, statistics, len(parts), rows,
        CHANNELS=channels, HEIGHT=height, WIDTH=width, WIDE=wide, PARTS=256, BLOCK=8,
    )  # fmt: skip
    return statistics


def refine_masks_forward(
    boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor, mean: Tensor,
    var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, masks: Tensor, eps: float,
) -> None:  # fmt: skip
    """Fills masks (V, 1, H, W); mean and var are normalised with, in the operator's type or that of sums.

    All contiguous.
    """
    symbols, _, height, width = masks.shape
    if not symbols:
        return
    channels = len(conv1_weight)
    table = hidden_table(conv1_weight, conv1_bias, (height, width))
    columns = columns_of(width)
    tiles = 1 if width <= columns else triton.cdiv(width, columns - 2)
    bands, rows = bands_of(symbols * tiles, height)
    refine_masks_kernel[(symbols * bands * tiles,)](
        boxes, table, bn_weight, bn_bias, mean, var, conv2_weight, conv2_bias, masks, rows,
        CHANNELS=channels, HEIGHT=height, WIDTH=width, EPS=eps, WIDE=boxes.element_size() == 8,
        PRECISION=precision(boxes.dtype), BLOCK=block_of(channels), COLUMNS=columns,
    )  # fmt: skip
