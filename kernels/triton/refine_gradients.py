"""refine_masks in Triton, backward: gradients of boxes and weights from those of the masks (V, H, W).

g = gradient of a logit. g_tap(i, j) is g where the pixel (i, j) of the hidden layer is read through that tap of conv2.
Two walks over all pixels, a row of the hidden layer (channels x columns) in registers at a time:

1. products of the hidden layer with g_tap, which give the gradients of conv2 and of BatchNorm, and with them the two
   numbers a channel that batch statistics take off every gradient before BatchNorm;
2. the gradient before the ReLU, of which conv1 and the boxes need sums only, also weighted by X and by Y: of all
   columns, the first and the last, in each of the three kinds of row (hidden_rows.py).

A program owns a band of rows of one symbol; what it finds is added by small kernels, in order.
"""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

from .grid_points import grid_point
from .hidden_rows import (
    TABLE,
    block_of,
    coefficients,
    columns_of,
    hidden_row,
    hidden_table,
    normalisation,
    rows_of_kind,
)
from .refine_masks import bands_of
from .runtime import kernel, precision
from .soft_ramp import load_box
from .sums import add_parts

# Eight warps at least: with fewer the numbers of a thread's channels do not fit in its registers.
_CONFIGS = [
    triton.Config({}, num_warps=8, num_stages=1),
    triton.Config({}, num_warps=16, num_stages=1),
]
# Sums of a kind of row: all columns, the first, the last; X times all; Y times all, the first, the last.
MOMENTS = tl.constexpr(7)


@triton.jit
def _logit_gradients(
    grad_masks, masks, symbol, row, columns,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, acc: tl.constexpr,
):  # fmt: skip
    """g_tap (16 taps x columns) of a row of the hidden layer; 0 where nothing reads it and outside the image."""
    taps = tl.arange(0, 16)[:, None]
    reader_row = row - (taps // 3 - 1)
    reader_column = columns[None, :] - (taps % 3 - 1)
    inside = (taps < 9) & (columns[None, :] < WIDTH) & (reader_row >= 0) & (reader_row < HEIGHT)
    inside = inside & (reader_column >= 0) & (reader_column < WIDTH)
    offsets = (symbol * HEIGHT + reader_row) * WIDTH + reader_column
    mask = tl.load(masks + offsets, mask=inside, other=0.0).to(acc)
    return tl.load(grad_masks + offsets, mask=inside, other=0.0).to(acc) * mask * (1.0 - mask)


@kernel(_CONFIGS, key=["HEIGHT", "WIDTH", "CHANNELS"])
@triton.jit(do_not_specialize=["rows"])
def refine_products_kernel(
    grad_masks,
    masks,
    boxes,
    table,
    products,
    readings,
    rows,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """products (V * bands, CHANNELS, 16): hidden layer times g_tap; readings (V * bands, 16): g_tap; summed."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    zero = tl.program_id(0) * 0
    item = tl.program_id(0).to(tl.int64)
    bands = tl.cdiv(HEIGHT, rows)
    symbol = (tl.program_id(0) // bands).to(tl.int64)
    begin = tl.program_id(0) % bands * rows
    end = tl.minimum(begin + rows, HEIGHT)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    channels = tl.arange(0, BLOCK)
    taps = tl.arange(0, 16)
    product = tl.zeros((BLOCK, 16), dtype=acc)
    reading = tl.zeros((16,), dtype=acc)
    for one in range(3):
        kind = zero + one
        low, high = rows_of_kind(kind, begin, end, HEIGHT)
        if low < high:
            given = coefficients(table, kind, x0, y0, x1, y1, channels, CHANNELS)
            for row in range(low, high):
                y = grid_point(zero + row, HEIGHT, acc)
                for first in range(0, WIDTH, COLUMNS):
                    columns = first + tl.arange(0, COLUMNS)
                    grad = _logit_gradients(grad_masks, masks, symbol, row, columns, HEIGHT, WIDTH, acc)
                    z = hidden_row(given, y, grid_point(columns, WIDTH, acc), columns, WIDTH)
                    hidden = tl.where(z < 0.0, 0.0, z)
                    product += tl.dot(hidden, tl.trans(grad), input_precision=PRECISION, out_dtype=acc)
                    reading += tl.sum(grad, axis=1)
    offsets = (item * CHANNELS + channels[:, None]) * 16 + taps[None, :]
    tl.store(products + offsets, product, mask=(channels[:, None] < CHANNELS) & (taps[None, :] < 16))
    tl.store(readings + item * 16 + taps, reading)


@triton.jit(do_not_specialize=["count", "values"])
def refine_second_gradients_kernel(
    products,
    readings,
    bn_weight,
    bn_bias,
    mean,
    var,
    conv2_weight,
    grad_bn_weight,
    grad_bn_bias,
    grad_conv2_weight,
    grad_conv2_bias,
    taken,
    count,
    values,
    CHANNELS: tl.constexpr,
    TRAINING: tl.constexpr,
    EPS: tl.constexpr,
    WIDE: tl.constexpr,
    PARTS: tl.constexpr,
):
    """A channel's gradients of BatchNorm and conv2; taken (2, CHANNELS), what batch statistics take off:

    scale * (taken[0] + taken[1] * hidden) of every gradient before BatchNorm, 0 in evaluation.
    """
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    channel = tl.program_id(0)
    taps = tl.arange(0, 16)
    product = tl.zeros((PARTS, 16), dtype=acc)
    reading = tl.zeros((PARTS, 16), dtype=acc)
    for first in range(0, count, PARTS):
        items = (first + tl.arange(0, PARTS)).to(tl.int64)[:, None]
        inside = (items < count) & (taps[None, :] < 16)
        product += tl.load(products + (items * CHANNELS + channel) * 16 + taps[None, :], mask=inside, other=0.0)
        reading += tl.load(readings + items * 16 + taps[None, :], mask=inside, other=0.0)
    product_sums = tl.sum(product, axis=0)
    reading_sums = tl.sum(reading, axis=0)
    inverse = 1.0 / tl.sqrt(tl.load(var + channel).to(acc) + EPS)
    average = tl.load(mean + channel).to(acc)
    scale = tl.load(bn_weight + channel).to(acc) * inverse
    shift = tl.load(bn_bias + channel).to(acc) - average * scale
    weights = tl.load(conv2_weight + channel * 9 + taps, mask=taps < 9, other=0.0).to(acc)
    by_weights = scale * product_sums + shift * reading_sums
    tl.store(grad_conv2_weight + channel * 9 + taps, by_weights.to(grad_conv2_weight.dtype.element_ty), mask=taps < 9)
    by_bias = tl.sum(weights * reading_sums, axis=0)
    by_scale = inverse * (tl.sum(weights * product_sums, axis=0) - average * by_bias)
    tl.store(grad_bn_bias + channel, by_bias.to(grad_bn_bias.dtype.element_ty))
    tl.store(grad_bn_weight + channel, by_scale.to(grad_bn_weight.dtype.element_ty))
    # The middle tap of conv2 reads every pixel once. Every program finds the same.
    if channel == 0:
        of_logits = tl.sum(tl.where(taps == 4, reading_sums, 0.0), axis=0)
        tl.store(grad_conv2_bias, of_logits.to(grad_conv2_bias.dtype.element_ty))
    by_hidden = by_scale * 0.0
    constant = by_scale * 0.0
    if TRAINING:
        by_hidden = inverse * by_scale / values.to(acc)
        constant = by_bias / values.to(acc) - average * by_hidden
    tl.store(taken + channel, constant)
    tl.store(taken + CHANNELS + channel, by_hidden)


@triton.jit
def _share_of_box(here, coordinate, total, first, last, channels, CHANNELS: tl.constexpr):
    """-sum of B * total - Bl * first - Br * last over channels: what z's gradients say of one coordinate."""
    inside = channels < CHANNELS
    here += coordinate * CHANNELS + channels
    share = tl.load(here + 3 * CHANNELS, mask=inside, other=0.0) * total
    share -= tl.load(here + 9 * CHANNELS, mask=inside, other=0.0) * first
    share -= tl.load(here + 15 * CHANNELS, mask=inside, other=0.0) * last
    return -tl.sum(share, axis=0)


@kernel(_CONFIGS, key=["HEIGHT", "WIDTH", "CHANNELS"])
@triton.jit(do_not_specialize=["rows"])
def refine_moments_kernel(
    grad_masks,
    masks,
    boxes,
    table,
    bn_weight,
    bn_bias,
    mean,
    var,
    conv2_weight,
    taken,
    moments,
    shares,
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
    """moments (V * bands, 3 kinds of row, MOMENTS, CHANNELS) and shares (V * bands, 4) of the boxes' gradients."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    zero = tl.program_id(0) * 0
    item = tl.program_id(0).to(tl.int64)
    bands = tl.cdiv(HEIGHT, rows)
    symbol = (tl.program_id(0) // bands).to(tl.int64)
    begin = tl.program_id(0) % bands * rows
    end = tl.minimum(begin + rows, HEIGHT)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    channels = tl.arange(0, BLOCK)
    inside = channels < CHANNELS
    scale, _shift, _inverse = normalisation(bn_weight, bn_bias, mean, var, channels, CHANNELS, EPS, acc)
    constant = scale * tl.load(taken + channels, mask=inside, other=0.0)
    by_hidden = scale * tl.load(taken + CHANNELS + channels, mask=inside, other=0.0)
    taps = tl.arange(0, 16)
    inside_2 = inside[:, None] & (taps[None, :] < 9)
    weights = tl.load(conv2_weight + channels[:, None] * 9 + taps[None, :], mask=inside_2, other=0.0).to(acc)
    weights = weights * scale[:, None]
    share_0 = tl.zeros((1,), dtype=acc)
    share_1 = tl.zeros((1,), dtype=acc)
    share_2 = tl.zeros((1,), dtype=acc)
    share_3 = tl.zeros((1,), dtype=acc)
    for one in range(3):
        kind = zero + one
        given = coefficients(table, kind, x0, y0, x1, y1, channels, CHANNELS)
        low, high = rows_of_kind(kind, begin, end, HEIGHT)
        total = tl.zeros((BLOCK,), dtype=acc)
        first = tl.zeros((BLOCK,), dtype=acc)
        last = tl.zeros((BLOCK,), dtype=acc)
        by_x = tl.zeros((BLOCK,), dtype=acc)
        total_y = tl.zeros((BLOCK,), dtype=acc)
        first_y = tl.zeros((BLOCK,), dtype=acc)
        last_y = tl.zeros((BLOCK,), dtype=acc)
        for column in range(0, WIDTH, COLUMNS):
            columns = column + tl.arange(0, COLUMNS)
            x = grid_point(columns, WIDTH, acc)
            added = tl.zeros((BLOCK, COLUMNS), dtype=acc)
            added_y = tl.zeros((BLOCK, COLUMNS), dtype=acc)
            for row in range(low, high):
                y = grid_point(zero + row, HEIGHT, acc)
                grad = _logit_gradients(grad_masks, masks, symbol, row, columns, HEIGHT, WIDTH, acc)
                z = hidden_row(given, y, x, columns, WIDTH)
                # Without batch statistics nothing is taken off; a channel at rest gets no gradient.
                by_z = tl.dot(weights, grad, input_precision=PRECISION, out_dtype=acc)
                by_z -= constant[:, None] + by_hidden[:, None] * z
                by_z = tl.where((z <= 0.0) | (columns[None, :] >= WIDTH), 0.0, by_z)
                added += by_z
                added_y += by_z * y
            total += tl.sum(added, axis=1)
            first += tl.sum(tl.where(columns[None, :] == 0, added, 0.0), axis=1)
            last += tl.sum(tl.where(columns[None, :] == WIDTH - 1, added, 0.0), axis=1)
            by_x += tl.sum(added * x[None, :], axis=1)
            total_y += tl.sum(added_y, axis=1)
            first_y += tl.sum(tl.where(columns[None, :] == 0, added_y, 0.0), axis=1)
            last_y += tl.sum(tl.where(columns[None, :] == WIDTH - 1, added_y, 0.0), axis=1)
        out = moments + (item * 3 + kind) * MOMENTS * CHANNELS + channels
        tl.store(out, total, mask=inside)
        tl.store(out + CHANNELS, first, mask=inside)
        tl.store(out + 2 * CHANNELS, last, mask=inside)
        tl.store(out + 3 * CHANNELS, by_x, mask=inside)
        tl.store(out + 4 * CHANNELS, total_y, mask=inside)
        tl.store(out + 5 * CHANNELS, first_y, mask=inside)
        tl.store(out + 6 * CHANNELS, last_y, mask=inside)
        here = table + kind * TABLE * CHANNELS
        share_0 += _share_of_box(here, 0, total, first, last, channels, CHANNELS)
        share_1 += _share_of_box(here, 1, total, first, last, channels, CHANNELS)
        share_2 += _share_of_box(here, 2, total, first, last, channels, CHANNELS)
        share_3 += _share_of_box(here, 3, total, first, last, channels, CHANNELS)
    only = tl.arange(0, 1)
    tl.store(shares + item * 4 + only, share_0)
    tl.store(shares + item * 4 + 1 + only, share_1)
    tl.store(shares + item * 4 + 2 + only, share_2)
    tl.store(shares + item * 4 + 3 + only, share_3)


@triton.jit(do_not_specialize=["count", "bands"])
def add_moments_kernel(
    moments,
    boxes,
    sums,
    count,
    bands,
    CHANNELS: tl.constexpr,
    WIDE: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """sums (3 * MOMENTS, 5, CHANNELS): moments added up, then times x0, y0, x1, y1 of their symbol."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    blocks: tl.constexpr = (CHANNELS + BLOCK - 1) // BLOCK
    moment = tl.program_id(0) // blocks
    channels = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    plain = tl.zeros((PARTS, BLOCK), dtype=acc)
    by_x0 = tl.zeros((PARTS, BLOCK), dtype=acc)
    by_y0 = tl.zeros((PARTS, BLOCK), dtype=acc)
    by_x1 = tl.zeros((PARTS, BLOCK), dtype=acc)
    by_y1 = tl.zeros((PARTS, BLOCK), dtype=acc)
    for first in range(0, count, PARTS):
        items = first + tl.arange(0, PARTS)
        inside = (items[:, None] < count) & (channels[None, :] < CHANNELS)
        here = moments + (items.to(tl.int64)[:, None] * 3 * MOMENTS + moment) * CHANNELS + channels[None, :]
        value = tl.load(here, mask=inside, other=0.0)
        box = boxes + (items // bands).to(tl.int64)[:, None] * 4
        there = items[:, None] < count
        plain += value
        by_x0 += value * tl.load(box, mask=there, other=0.0).to(acc)
        by_y0 += value * tl.load(box + 1, mask=there, other=0.0).to(acc)
        by_x1 += value * tl.load(box + 2, mask=there, other=0.0).to(acc)
        by_y1 += value * tl.load(box + 3, mask=there, other=0.0).to(acc)
    out = sums + moment * 5 * CHANNELS + channels
    tl.store(out, tl.sum(plain, axis=0), mask=channels < CHANNELS)
    tl.store(out + CHANNELS, tl.sum(by_x0, axis=0), mask=channels < CHANNELS)
    tl.store(out + 2 * CHANNELS, tl.sum(by_y0, axis=0), mask=channels < CHANNELS)
    tl.store(out + 3 * CHANNELS, tl.sum(by_x1, axis=0), mask=channels < CHANNELS)
    tl.store(out + 4 * CHANNELS, tl.sum(by_y1, axis=0), mask=channels < CHANNELS)


@triton.jit
def refine_first_gradients_kernel(
    sums,
    grad_conv1_weight,
    grad_conv1_bias,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients of one of conv1's nine taps, and with the middle one of its bias."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    tap = tl.program_id(0)
    channels = tl.arange(0, BLOCK)
    inside = channels < CHANNELS
    step_x = (tap % 3 - 1).to(acc) / tl.maximum(tap * 0 + WIDTH - 1, 1).to(acc)
    step_y = (tap // 3 - 1).to(acc) / tl.maximum(tap * 0 + HEIGHT - 1, 1).to(acc)
    last_x = grid_point(tap * 0 + WIDTH - 1, WIDTH, acc)
    # A tap to the left finds nothing in the first column, one to the right in the last.
    without_first = tl.where(tap % 3 == 0, 1.0, 0.0).to(acc)
    without_last = tl.where(tap % 3 == 2, 1.0, 0.0).to(acc)
    of_x0 = tl.zeros((BLOCK,), dtype=acc)
    of_y0 = tl.zeros((BLOCK,), dtype=acc)
    of_x1 = tl.zeros((BLOCK,), dtype=acc)
    of_y1 = tl.zeros((BLOCK,), dtype=acc)
    bias = tl.zeros((BLOCK,), dtype=acc)
    for kind in tl.static_range(3):
        there = tl.where(tap // 3 == 1, 1.0, 0.0).to(acc)
        if kind > 0:  # there is a row above
            there = tl.where(tap // 3 == 0, 1.0, there)
        if kind == 1 or (kind == 0 and HEIGHT > 1):  # there is one below
            there = tl.where(tap // 3 == 2, 1.0, there)
        here = sums + kind * MOMENTS * 5 * CHANNELS + channels
        last = tl.load(here + 10 * CHANNELS, mask=inside, other=0.0)
        by_x = tl.load(here + 15 * CHANNELS, mask=inside, other=0.0) - without_last * last_x * last
        by_y = tl.load(here + 20 * CHANNELS, mask=inside, other=0.0)
        by_y -= without_first * tl.load(here + 25 * CHANNELS, mask=inside, other=0.0)
        by_y -= without_last * tl.load(here + 30 * CHANNELS, mask=inside, other=0.0)
        all_columns = tl.load(here, mask=inside, other=0.0)
        bias += all_columns
        plain = all_columns - without_first * tl.load(here + 5 * CHANNELS, mask=inside, other=0.0) - without_last * last
        along_x = 2.0 * by_x + (2.0 * step_x - 1.0) * plain
        along_y = 2.0 * by_y + (2.0 * step_y - 1.0) * plain
        for side in tl.static_range(4):
            here += CHANNELS
            weighted = tl.load(here, mask=inside, other=0.0)
            weighted -= without_first * tl.load(here + 5 * CHANNELS, mask=inside, other=0.0)
            weighted -= without_last * tl.load(here + 10 * CHANNELS, mask=inside, other=0.0)
            if side == 0:
                of_x0 += there * (along_x - 2.0 * weighted)
            if side == 1:
                of_y0 += there * (along_y - 2.0 * weighted)
            if side == 2:
                of_x1 += there * (along_x - 2.0 * weighted)
            if side == 3:
                of_y1 += there * (along_y - 2.0 * weighted)
    out = grad_conv1_weight + channels * 36 + tap
    kind_of_number: tl.constexpr = grad_conv1_weight.dtype.element_ty
    tl.store(out, of_x0.to(kind_of_number), mask=inside)
    tl.store(out + 9, of_y0.to(kind_of_number), mask=inside)
    tl.store(out + 18, of_x1.to(kind_of_number), mask=inside)
    tl.store(out + 27, of_y1.to(kind_of_number), mask=inside)
    if tap == 4:
        tl.store(grad_conv1_bias + channels, bias.to(kind_of_number), mask=inside)


def refine_masks_backward(
    grad_masks: Tensor, masks: Tensor, inputs: tuple[Tensor, ...], statistics: tuple[Tensor, Tensor],
    grads: tuple[Tensor, ...], training: bool, eps: float,
) -> None:  # fmt: skip
    """Fills grads, shaped as inputs: boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias.

    masks (V, 1, H, W) are the forward pass's, statistics the mean and variance it normalised with; all contiguous.
    """
    boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, _conv2_bias = inputs
    symbols, _, height, width = masks.shape
    if not symbols:
        for grad in grads:
            grad.zero_()
        return
    channels, wide = len(conv1_weight), boxes.element_size() == 8
    table = hidden_table(conv1_weight, conv1_bias, (height, width))
    bands, rows = bands_of(symbols, height)
    items = symbols * bands
    sizes = {"CHANNELS": channels, "HEIGHT": height, "WIDTH": width, "WIDE": wide, "BLOCK": block_of(channels)}
    walk = {"COLUMNS": columns_of(width), "PRECISION": precision(boxes.dtype)}
    products, readings = table.new_empty((items, channels, 16)), table.new_empty((items, 16))
    refine_products_kernel[(items,)](grad_masks, masks, boxes, table, products, readings, rows, **sizes, **walk)
    taken = table.new_empty((2, channels))
    refine_second_gradients_kernel[(channels,)](
        products, readings, bn_weight, bn_bias, *statistics, conv2_weight, *grads[3:], taken, items,
        symbols * height * width, CHANNELS=channels, TRAINING=training, EPS=eps, WIDE=wide, PARTS=128,
    )  # fmt: skip
    moments, shares = table.new_empty((items, 3, MOMENTS.value, channels)), table.new_empty((symbols, bands, 4))
    refine_moments_kernel[(items,)](
        grad_masks, masks, boxes, table, bn_weight, bn_bias, *statistics, conv2_weight, taken, moments, shares, rows,
        EPS=eps, **sizes, **walk,
    )  # fmt: skip
    add_parts(shares, grads[0], dim=1)
    sums = table.new_empty((3 * MOMENTS.value, 5, channels))
    add_moments_kernel[(3 * MOMENTS.value * triton.cdiv(channels, 16),)](
        moments, boxes, sums, items, bands, CHANNELS=channels, WIDE=wide, PARTS=128, BLOCK=16
    )
    refine_first_gradients_kernel[(9,)](sums, grads[1], grads[2], **sizes)
