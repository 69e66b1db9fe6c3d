"""crop_boxes in Triton: images (N, C, H, W), boxes (V, 4), batch (V,) -> crops (V, C, h, w), and both gradients.

Forward, a program owns a block of one crop's samples: places and weights are found once for all channels. The boxes'
gradient has a program a symbol. The images' gradient has one owner a tile of pixels, which goes through the boxes of
its image (sorted by image first) and skips those that do not reach it; what a box adds is Wy^T G Wx, with bilinear
weights max(0, 1 - |sample - pixel|) made on the fly: two small products. Nothing is added atomically.
"""

from __future__ import annotations

import torch
from torch import Tensor

import triton
import triton.language as tl

from .expressions import first_symbol
from .grid_points import grid_point
from .runtime import kernel, precision
from .soft_ramp import load_box

_FORWARD_CONFIGS = [
    triton.Config({"SAMPLES": 1024}, num_warps=4),
    triton.Config({"SAMPLES": 512}, num_warps=4),
    triton.Config({"SAMPLES": 256}, num_warps=4),
]
_BOXES_CONFIGS = [
    triton.Config({"SAMPLES": 1024}, num_warps=8),
    triton.Config({"SAMPLES": 512}, num_warps=4),
]
_IMAGES_CONFIGS = [
    triton.Config({"ROWS": 32, "COLUMNS": 32}, num_warps=4),
    triton.Config({"ROWS": 32, "COLUMNS": 64}, num_warps=4),
    triton.Config({"ROWS": 16, "COLUMNS": 64}, num_warps=4),
]


@triton.jit
def _places(low, high, index, count, length, acc: tl.constexpr):
    """Where samples ``index`` of ``count`` lie, in pixels of ``length``, and how far they are from low to high."""
    share = grid_point(index, count, acc)
    at = (2.0 * low - 1.0) * (1.0 - share) + (2.0 * high - 1.0) * share
    # NaN, not 0, for an end that is infinite.
    return ((at + 1.0) * length - 1.0) * 0.5 + ((low - low) + (high - high)), share


@triton.jit
def _neighbour(place, length):
    """The pixel before a place, and the weight of the one after; both outside where the place is. NaN: outside, NaN."""
    place = tl.where(place < -2.0, -2.0, place)
    place = tl.where(place > length + 1.0, length + 1.0, place)
    before = tl.floor(tl.where(place == place, place, -2.0))
    return before.to(tl.int32), place - before


@triton.jit
def _corners(image, rows, columns, inside, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, acc: tl.constexpr):
    """The four pixels around samples, 0 outside the image."""
    upper = inside & (rows >= 0) & (rows < HEIGHT)
    lower = inside & (rows >= -1) & (rows < HEIGHT - 1)
    left = (columns >= 0) & (columns < WIDTH)
    right = (columns >= -1) & (columns < WIDTH - 1)
    here = image + rows.to(tl.int64) * WIDTH + columns
    upper_left = tl.load(here, mask=upper & left, other=0.0).to(acc)
    upper_right = tl.load(here + 1, mask=upper & right, other=0.0).to(acc)
    lower_left = tl.load(here + WIDTH, mask=lower & left, other=0.0).to(acc)
    lower_right = tl.load(here + WIDTH + 1, mask=lower & right, other=0.0).to(acc)
    return upper_left, upper_right, lower_left, lower_right


@kernel(_FORWARD_CONFIGS, key=["CHANNELS", "HEIGHT", "WIDTH", "CROP_HEIGHT", "CROP_WIDTH"])
@triton.jit
def crop_boxes_forward_kernel(
    images,
    boxes,
    batch,
    crops,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CROP_HEIGHT: tl.constexpr,
    CROP_WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    SAMPLES: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    count: tl.constexpr = CROP_HEIGHT * CROP_WIDTH
    blocks: tl.constexpr = (count + SAMPLES - 1) // SAMPLES
    symbol = (tl.program_id(0) // blocks).to(tl.int64)
    samples = tl.program_id(0) % blocks * SAMPLES + tl.arange(0, SAMPLES)
    inside = samples < count
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    x, _across = _places(x0, x1, samples % CROP_WIDTH, CROP_WIDTH, WIDTH, acc)
    y, _down = _places(y0, y1, samples // CROP_WIDTH, CROP_HEIGHT, HEIGHT, acc)
    columns, right = _neighbour(x, WIDTH)
    rows, lower = _neighbour(y, HEIGHT)
    image = images + tl.load(batch + symbol) * CHANNELS * HEIGHT * WIDTH
    out = crops + symbol * CHANNELS * count + samples
    for channel in range(CHANNELS):
        a, b, c, d = _corners(image + channel * HEIGHT * WIDTH, rows, columns, inside, HEIGHT, WIDTH, acc)
        value = (1.0 - lower) * ((1.0 - right) * a + right * b) + lower * ((1.0 - right) * c + right * d)
        tl.store(out + channel * count, value.to(crops.dtype.element_ty), mask=inside)


@kernel(_BOXES_CONFIGS, key=["CHANNELS", "HEIGHT", "WIDTH", "CROP_HEIGHT", "CROP_WIDTH"])
@triton.jit
def crop_boxes_gradient_kernel(
    grad_crops,
    images,
    boxes,
    batch,
    grad_boxes,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CROP_HEIGHT: tl.constexpr,
    CROP_WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    SAMPLES: tl.constexpr,
):
    """Of one symbol's box: the image's slope at each sample, times the incoming gradient, shared out to the ends."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    count: tl.constexpr = CROP_HEIGHT * CROP_WIDTH
    symbol = tl.program_id(0).to(tl.int64)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    image = images + tl.load(batch + symbol) * CHANNELS * HEIGHT * WIDTH
    grads = grad_crops + symbol * CHANNELS * count
    by_x0 = tl.zeros((SAMPLES,), dtype=acc)
    by_y0 = tl.zeros((SAMPLES,), dtype=acc)
    by_x1 = tl.zeros((SAMPLES,), dtype=acc)
    by_y1 = tl.zeros((SAMPLES,), dtype=acc)
    for first in range(0, count, SAMPLES):
        samples = first + tl.arange(0, SAMPLES)
        inside = samples < count
        x, across = _places(x0, x1, samples % CROP_WIDTH, CROP_WIDTH, WIDTH, acc)
        y, down = _places(y0, y1, samples // CROP_WIDTH, CROP_HEIGHT, HEIGHT, acc)
        columns, right = _neighbour(x, WIDTH)
        rows, lower = _neighbour(y, HEIGHT)
        by_x = tl.zeros((SAMPLES,), dtype=acc)
        by_y = tl.zeros((SAMPLES,), dtype=acc)
        for channel in range(CHANNELS):
            a, b, c, d = _corners(image + channel * HEIGHT * WIDTH, rows, columns, inside, HEIGHT, WIDTH, acc)
            grad = tl.load(grads + channel * count + samples, mask=inside, other=0.0).to(acc)
            by_x += grad * ((1.0 - lower) * (b - a) + lower * (d - c))
            by_y += grad * ((1.0 - right) * (c - a) + right * (d - b))
        by_x0 += by_x * (1.0 - across)
        by_x1 += by_x * across
        by_y0 += by_y * (1.0 - down)
        by_y1 += by_y * down
    out = grad_boxes + 4 * symbol
    tl.store(out, (tl.sum(by_x0, axis=0) * WIDTH).to(grad_boxes.dtype.element_ty))
    tl.store(out + 1, (tl.sum(by_y0, axis=0) * HEIGHT).to(grad_boxes.dtype.element_ty))
    tl.store(out + 2, (tl.sum(by_x1, axis=0) * WIDTH).to(grad_boxes.dtype.element_ty))
    tl.store(out + 3, (tl.sum(by_y1, axis=0) * HEIGHT).to(grad_boxes.dtype.element_ty))


@triton.jit
def _reach(low, high, count: tl.constexpr, length: tl.constexpr, acc: tl.constexpr, zero):
    """The least and the greatest place of a side's samples."""
    first, _share = _places(low, high, zero, count, length, acc)
    last, _share = _places(low, high, zero + count - 1, count, length, acc)
    return tl.where(first < last, first, last), tl.where(first < last, last, first)


@triton.jit
def _hat(distance):
    weight = 1.0 - tl.abs(distance)
    return tl.where(weight < 0.0, 0.0, weight)


@kernel(_IMAGES_CONFIGS, key=["HEIGHT", "WIDTH", "CROP_HEIGHT", "CROP_WIDTH"])
@triton.jit(do_not_specialize=["symbols"])
def crop_images_gradient_kernel(
    grad_crops,
    boxes,
    owners,
    order,
    grad_images,
    symbols,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CROP_HEIGHT: tl.constexpr,
    CROP_WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    SAMPLE_ROWS: tl.constexpr,
    SAMPLE_COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """A tile of one channel of one image; owners (symbols,) is batch in order, order (symbols,) its symbols."""
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    tiles_down: tl.constexpr = (HEIGHT + ROWS - 1) // ROWS
    tiles_across: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    zero = tl.program_id(0) * 0
    plane = tl.program_id(0) // (tiles_down * tiles_across)
    image = plane // CHANNELS
    channel = plane % CHANNELS
    top = tl.program_id(0) // tiles_across % tiles_down * ROWS
    left = tl.program_id(0) % tiles_across * COLUMNS
    rows = top + tl.arange(0, ROWS)
    columns = left + tl.arange(0, COLUMNS)
    begin = first_symbol(owners, symbols, image)
    end = first_symbol(owners, symbols, image + 1)
    found = tl.zeros((ROWS, COLUMNS), dtype=acc)
    for place in range(0, end - begin):
        symbol = tl.load(order + begin + place)
        x0, y0, x1, y1 = load_box(boxes, symbol, acc)
        least_x, greatest_x = _reach(x0, x1, CROP_WIDTH, WIDTH, acc, zero)
        least_y, greatest_y = _reach(y0, y1, CROP_HEIGHT, HEIGHT, acc, zero)
        # A sample reaches less than a pixel far. A box with a NaN reaches nothing.
        across = (greatest_x > left - 1) & (least_x < left + COLUMNS)
        if across & (greatest_y > top - 1) & (least_y < top + ROWS):
            grads = grad_crops + (symbol * CHANNELS + channel) * CROP_HEIGHT * CROP_WIDTH
            for first_column in range(0, CROP_WIDTH, SAMPLE_COLUMNS):
                j = first_column + tl.arange(0, SAMPLE_COLUMNS)
                gathered = tl.zeros((ROWS, SAMPLE_COLUMNS), dtype=acc)
                for first_row in range(0, CROP_HEIGHT, SAMPLE_ROWS):
                    i = first_row + tl.arange(0, SAMPLE_ROWS)
                    inside = (i[:, None] < CROP_HEIGHT) & (j[None, :] < CROP_WIDTH)
                    grad = tl.load(grads + i[:, None] * CROP_WIDTH + j[None, :], mask=inside, other=0.0).to(acc)
                    y, _share = _places(y0, y1, i, CROP_HEIGHT, HEIGHT, acc)
                    down = _hat(y[None, :] - rows[:, None].to(acc))
                    gathered += tl.dot(down, grad, input_precision=PRECISION, out_dtype=acc)
                x, _share = _places(x0, x1, j, CROP_WIDTH, WIDTH, acc)
                along = _hat(x[:, None] - columns[None, :].to(acc))
                found += tl.dot(gathered, along, input_precision=PRECISION, out_dtype=acc)
    offsets = (plane.to(tl.int64) * HEIGHT + rows[:, None]) * WIDTH + columns[None, :]
    inside = (rows[:, None] < HEIGHT) & (columns[None, :] < WIDTH)
    tl.store(grad_images + offsets, found.to(grad_images.dtype.element_ty), mask=inside)


def _sizes(images: Tensor, crops: Tensor) -> dict[str, int]:
    _, channels, height, width = images.shape
    crop = {"CROP_HEIGHT": crops.shape[2], "CROP_WIDTH": crops.shape[3]}
    return {"CHANNELS": channels, "HEIGHT": height, "WIDTH": width, "WIDE": images.element_size() == 8, **crop}


def _block(samples: int) -> int:
    return min(32, max(16, triton.next_power_of_2(samples)))


def crop_boxes_forward(images: Tensor, boxes: Tensor, batch: Tensor, crops: Tensor) -> None:
    """Fills crops (V, C, h, w) from images (N, C, H, W), boxes (V, 4), of one type, and batch (V,) int64 in [0, N).

    All contiguous.
    """
    if crops.numel():
        count = crops.shape[2] * crops.shape[3]
        crop_boxes_forward_kernel[lambda meta: (len(boxes) * triton.cdiv(count, meta["SAMPLES"]),)](
            images, boxes, batch, crops, **_sizes(images, crops)
        )


def crop_boxes_backward(
    grad_crops: Tensor, images: Tensor, boxes: Tensor, batch: Tensor, grad_images: Tensor, grad_boxes: Tensor
) -> None:
    """Fills grad_images and grad_boxes, shaped as images and boxes, from grad_crops; as in the forward pass."""
    sizes = _sizes(images, grad_crops)
    if len(boxes):
        crop_boxes_gradient_kernel[(len(boxes),)](grad_crops, images, boxes, batch, grad_boxes, **sizes)
    if not images.numel():
        return
    owners, order = torch.sort(batch, stable=True)
    planes, (height, width) = images.shape[0] * images.shape[1], images.shape[2:]
    crop_images_gradient_kernel[
        lambda meta: (planes * triton.cdiv(height, meta["ROWS"]) * triton.cdiv(width, meta["COLUMNS"]),)
    ](
        grad_crops, boxes, owners, order, grad_images, len(boxes),
        # Weights are float32 even where gradients are float16.
        PRECISION=precision(torch.float64 if sizes["WIDE"] else torch.float32),
        SAMPLE_ROWS=_block(sizes["CROP_HEIGHT"]), SAMPLE_COLUMNS=_block(sizes["CROP_WIDTH"]), **sizes,
    )  # fmt: skip
