"""refine_layout in Triton: boxes (V, 4), features (V, C), batch (V,) -> layout (N, C, H, W), without storing masks.

A program owns a few rows of one expression's layout, all channels of them. For each symbol it makes the mask in those
rows as refine_masks.py does, with one more row of the hidden layer at either end, and adds features times mask. So the
hidden layer of a row is made (rows + 2) / rows times, but masks need no memory and the layout is written once.
"""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

from .expressions import first_symbol
from .grid_points import grid_point
from .hidden_rows import block_of, coefficients, columns_of, hidden_row, hidden_table, normalisation, rows_of_kind
from .refine_masks import second_layer, sigmoid, tap_sums
from .runtime import kernel, precision, programs_wanted
from .soft_ramp import load_box

_CONFIGS = [
    triton.Config({}, num_warps=16, num_stages=1),
    triton.Config({}, num_warps=8, num_stages=1),
]
# Pixels and channels of a program: what is added up fills half of a multiprocessor's registers.
_PIXELS = 256
_CHANNELS = 128
# Fewer programs than a large GPU has multiprocessors: thinner ones.
_ENOUGH_PROGRAMS = programs_wanted(132)


@kernel(_CONFIGS, key=["HEIGHT", "WIDTH", "HIDDEN", "CHANNELS", "ROWS"])
@triton.jit(do_not_specialize=["symbols"])
def refine_layout_kernel(
    boxes,
    table,
    bn_weight,
    bn_bias,
    mean,
    var,
    conv2_weight,
    conv2_bias,
    features,
    batch,
    layout,
    symbols,
    HIDDEN: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    EPS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    CHANNEL_BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    # A tile that is not the whole row overlaps its neighbours by a column at either side.
    halo: tl.constexpr = 0 if WIDTH <= COLUMNS else 1
    tiles: tl.constexpr = (WIDTH + COLUMNS - 2 * halo - 1) // (COLUMNS - 2 * halo)
    bands: tl.constexpr = (HEIGHT + ROWS - 1) // ROWS
    blocks: tl.constexpr = (CHANNELS + CHANNEL_BLOCK - 1) // CHANNEL_BLOCK
    zero = tl.program_id(0) * 0
    graph = tl.program_id(0) // (tiles * bands * blocks)
    painted_channels = tl.program_id(0) // (tiles * bands) % blocks * CHANNEL_BLOCK + tl.arange(0, CHANNEL_BLOCK)
    begin = tl.program_id(0) // tiles % bands * ROWS
    end = tl.minimum(begin + ROWS, HEIGHT)
    places = tl.arange(0, COLUMNS)
    left = tl.program_id(0) % tiles * (COLUMNS - 2 * halo) - halo
    columns = left + places
    x = grid_point(columns, WIDTH, acc)
    hidden = tl.arange(0, BLOCK)
    scale, shift, _inverse = normalisation(bn_weight, bn_bias, mean, var, hidden, HIDDEN, EPS, acc)
    layer = second_layer(conv2_weight, scale, shift, hidden, places, columns, HIDDEN, WIDTH, COLUMNS, acc)
    bias = tl.load(conv2_bias).to(acc)
    # Pixels of the tile, row by row.
    pixels = tl.arange(0, ROWS * COLUMNS)
    pixel_place = pixels % COLUMNS
    pixel_row = begin + pixels // COLUMNS
    painted = tl.zeros((CHANNEL_BLOCK, ROWS * COLUMNS), dtype=acc)
    first = first_symbol(batch, symbols, graph)
    last = first_symbol(batch, symbols, graph + 1)
    for place in range(0, last - first):
        symbol = first.to(tl.int64) + place
        x0, y0, x1, y1 = load_box(boxes, symbol, acc)
        mask = tl.zeros((ROWS * COLUMNS,), dtype=acc)
        # Logits of the row before this one, but for this one's share; and of this one, from the row before.
        before = tl.zeros((COLUMNS,), dtype=acc)
        here = tl.zeros((COLUMNS,), dtype=acc)
        for one in range(3):
            kind = zero + one
            low, high = rows_of_kind(kind, tl.maximum(begin - 1, 0), tl.minimum(end + 1, HEIGHT), HEIGHT)
            if low < high:
                given = coefficients(table, kind, x0, y0, x1, y1, hidden, HIDDEN)
                for row in range(low, high):
                    z = hidden_row(given, grid_point(zero + row, HEIGHT, acc), x, columns, WIDTH)
                    below, at, above = tap_sums(tl.where(z < 0.0, 0.0, z), layer, PRECISION, acc)
                    complete = tl.gather(sigmoid(before + above + bias), pixel_place, axis=0)
                    mask = tl.where(pixel_row == zero + row - 1, complete, mask)
                    before = here + at
                    here = below
        complete = tl.gather(sigmoid(before + bias), pixel_place, axis=0)
        mask = tl.where(pixel_row == HEIGHT - 1, complete, mask)
        inside = painted_channels < CHANNELS
        feature = tl.load(features + symbol * CHANNELS + painted_channels, mask=inside, other=0.0).to(acc)
        painted += feature[:, None] * mask[None, :]
    pixel_column = left + pixel_place
    inside = (pixel_column >= 0) & (pixel_column < WIDTH) & (pixel_row < end)
    inside = inside & (pixel_place >= halo) & (pixel_place < COLUMNS - halo)
    inside = inside[None, :] & (painted_channels[:, None] < CHANNELS)
    rows = (graph.to(tl.int64) * CHANNELS + painted_channels[:, None]) * HEIGHT + pixel_row[None, :]
    tl.store(layout + rows * WIDTH + pixel_column[None, :], painted.to(layout.dtype.element_ty), mask=inside)


def refine_layout(
    boxes: Tensor, weights: tuple[Tensor, ...], features: Tensor, batch: Tensor, layout: Tensor, eps: float
) -> None:
    """Fills layout (N, C, H, W) from boxes (V, 4), features (V, C), of one type, and batch (V,) int64.

    weights: the eight of MaskWeights, in their order; all contiguous; batch non-decreasing, in [0, N).
    """
    graphs, channels, height, width = layout.shape
    if not layout.numel():
        return
    conv1_weight, conv1_bias, *rest = weights
    columns = columns_of(width)
    tiles = 1 if width <= columns else triton.cdiv(width, columns - 2)
    block = min(_CHANNELS, max(16, triton.next_power_of_2(channels)))
    programs = graphs * tiles * triton.cdiv(channels, block)
    rows = _PIXELS // columns
    while rows > 1 and programs * triton.cdiv(height, rows) < _ENOUGH_PROGRAMS:
        rows //= 2
    refine_layout_kernel[(programs * triton.cdiv(height, rows),)](
        boxes, hidden_table(conv1_weight, conv1_bias, (height, width)), *rest, features, batch, layout, len(boxes),
        HIDDEN=len(conv1_weight), CHANNELS=channels, HEIGHT=height, WIDTH=width, EPS=eps,
        WIDE=boxes.element_size() == 8, PRECISION=precision(boxes.dtype), BLOCK=block_of(len(conv1_weight)),
        CHANNEL_BLOCK=block, ROWS=rows, COLUMNS=columns,
    )  # fmt: skip
