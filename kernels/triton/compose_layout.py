"""compose_layout in Triton: masks (V, H, W), features (V, C), batch (V,) -> layout (N, C, H, W), and both gradients.

Forward, a program owns a tile of channels x pixels of one expression: a product over its symbols, sixteen at a time.
Backward, an expression's programs lie side by side: some own its masks' gradients in a tile of pixels (a product over
channels), some its features' gradients in a block of channels (a product over pixels), so that the second reading of
the layout's gradient finds it in the cache. Nothing is added atomically.
"""

from __future__ import annotations

import torch
from torch import Tensor

import triton
import triton.language as tl

from .expressions import first_symbol
from .runtime import kernel, precision, programs_wanted
from .sums import add_parts

_FORWARD_CONFIGS = [
    triton.Config({"CHANNEL_BLOCK": 64, "PIXEL_BLOCK": 128}, num_warps=4, num_stages=1),
    triton.Config({"CHANNEL_BLOCK": 128, "PIXEL_BLOCK": 64}, num_warps=4, num_stages=1),
    triton.Config({"CHANNEL_BLOCK": 64, "PIXEL_BLOCK": 64}, num_warps=4, num_stages=2),
]
_BACKWARD_CONFIGS = [
    triton.Config({"STEP": 32, "PIXEL_BLOCK": 128}, num_warps=4, num_stages=3),
    triton.Config({"STEP": 64, "PIXEL_BLOCK": 64}, num_warps=4, num_stages=2),
]
# Symbols taken at once: the least length of a side that tl.dot takes.
_SYMBOLS = tl.constexpr(16)
# Channels of a program that makes gradients of features; programs enough for every multiprocessor of a large GPU.
_FEATURES_BLOCK = 64
_ENOUGH_PROGRAMS = programs_wanted(264)
# Pixels shared out are counted in spans of this many: a multiple of every STEP.
_SPAN = tl.constexpr(64)


@kernel(_FORWARD_CONFIGS, key=["CHANNELS", "PIXELS"])
@triton.jit(do_not_specialize=["symbols"])
def compose_layout_forward_kernel(
    masks,
    features,
    batch,
    layout,
    symbols,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    CHANNEL_BLOCK: tl.constexpr,
    PIXEL_BLOCK: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    tiles: tl.constexpr = (PIXELS + PIXEL_BLOCK - 1) // PIXEL_BLOCK
    blocks: tl.constexpr = (CHANNELS + CHANNEL_BLOCK - 1) // CHANNEL_BLOCK
    graph = tl.program_id(0) // (tiles * blocks)
    pixels = tl.program_id(0) % tiles * PIXEL_BLOCK + tl.arange(0, PIXEL_BLOCK)
    channels = tl.program_id(0) // tiles % blocks * CHANNEL_BLOCK + tl.arange(0, CHANNEL_BLOCK)
    begin = first_symbol(batch, symbols, graph)
    end = first_symbol(batch, symbols, graph + 1)
    painted = tl.zeros((CHANNEL_BLOCK, PIXEL_BLOCK), dtype=acc)
    for first in range(0, end - begin, _SYMBOLS):
        places = begin + first + tl.arange(0, _SYMBOLS)
        rows = places.to(tl.int64)[:, None]
        inside = (places[:, None] < end) & (channels[None, :] < CHANNELS)
        feature = tl.load(features + rows * CHANNELS + channels[None, :], mask=inside, other=0.0).to(acc)
        inside = (places[:, None] < end) & (pixels[None, :] < PIXELS)
        mask = tl.load(masks + rows * PIXELS + pixels[None, :], mask=inside, other=0.0).to(acc)
        painted += tl.dot(tl.trans(feature), mask, input_precision=PRECISION, out_dtype=acc)
    offsets = (graph.to(tl.int64) * CHANNELS + channels[:, None]) * PIXELS + pixels[None, :]
    inside = (channels[:, None] < CHANNELS) & (pixels[None, :] < PIXELS)
    tl.store(layout + offsets, painted.to(layout.dtype.element_ty), mask=inside)


@triton.jit
def _gradients_of_masks(
    grad_layout, features, grad_masks, graph, begin, end, tile,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr, PRECISION: tl.constexpr, acc: tl.constexpr,
    STEP: tl.constexpr, PIXEL_BLOCK: tl.constexpr,
):  # fmt: skip
    """Of an expression's symbols, in one tile of pixels: features @ gradient, over the channels."""
    pixels = tile * PIXEL_BLOCK + tl.arange(0, PIXEL_BLOCK)
    base = graph.to(tl.int64) * CHANNELS
    for first in range(0, end - begin, _SYMBOLS):
        places = begin + first + tl.arange(0, _SYMBOLS)
        symbols = places.to(tl.int64)[:, None]
        found = tl.zeros((_SYMBOLS, PIXEL_BLOCK), dtype=acc)
        for channel in range(0, CHANNELS, STEP):
            channels = channel + tl.arange(0, STEP)
            inside = (places[:, None] < end) & (channels[None, :] < CHANNELS)
            feature = tl.load(features + symbols * CHANNELS + channels[None, :], mask=inside, other=0.0).to(acc)
            inside = (channels[:, None] < CHANNELS) & (pixels[None, :] < PIXELS)
            offsets = (base + channels[:, None]) * PIXELS + pixels[None, :]
            grad = tl.load(grad_layout + offsets, mask=inside, other=0.0).to(acc)
            found += tl.dot(feature, grad, input_precision=PRECISION, out_dtype=acc)
        inside = (places[:, None] < end) & (pixels[None, :] < PIXELS)
        tl.store(grad_masks + symbols * PIXELS + pixels[None, :], found.to(grad_masks.dtype.element_ty), mask=inside)


@triton.jit
def _gradients_of_features(
    grad_layout, masks, parts, graph, begin, end, block, low, high,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr, PRECISION: tl.constexpr, acc: tl.constexpr,
    FEATURES_BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Of an expression's symbols, in one block of channels: masks @ gradient^T over the pixels from low to high."""
    channels = block * FEATURES_BLOCK + tl.arange(0, FEATURES_BLOCK)
    rows = (graph.to(tl.int64) * CHANNELS + channels[:, None]) * PIXELS
    for first in range(0, end - begin, _SYMBOLS):
        places = begin + first + tl.arange(0, _SYMBOLS)
        symbols = places.to(tl.int64)[:, None]
        found = tl.zeros((_SYMBOLS, FEATURES_BLOCK), dtype=acc)
        for pixel in range(low, high, STEP):
            pixels = pixel + tl.arange(0, STEP)
            inside = (places[:, None] < end) & (pixels[None, :] < PIXELS)
            mask = tl.load(masks + symbols * PIXELS + pixels[None, :], mask=inside, other=0.0).to(acc)
            inside = (channels[:, None] < CHANNELS) & (pixels[None, :] < PIXELS)
            grad = tl.load(grad_layout + rows + pixels[None, :], mask=inside, other=0.0).to(acc)
            found += tl.dot(mask, tl.trans(grad), input_precision=PRECISION, out_dtype=acc)
        inside = (places[:, None] < end) & (channels[None, :] < CHANNELS)
        tl.store(parts + symbols * CHANNELS + channels[None, :], found.to(parts.dtype.element_ty), mask=inside)


@kernel(_BACKWARD_CONFIGS, key=["CHANNELS", "PIXELS"])
@triton.jit(do_not_specialize=["symbols", "splits", "span"])
def compose_layout_backward_kernel(
    grad_layout,
    masks,
    features,
    batch,
    grad_masks,
    parts,
    symbols,
    splits,
    span,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    FEATURES_BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    PIXEL_BLOCK: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    tiles: tl.constexpr = (PIXELS + PIXEL_BLOCK - 1) // PIXEL_BLOCK
    programs = tiles + (CHANNELS + FEATURES_BLOCK - 1) // FEATURES_BLOCK * splits
    graph = tl.program_id(0) // programs
    task = tl.program_id(0) % programs
    begin = first_symbol(batch, symbols, graph)
    end = first_symbol(batch, symbols, graph + 1)
    if task < tiles:
        _gradients_of_masks(
            grad_layout, features, grad_masks, graph, begin, end, task,
            CHANNELS, PIXELS, PRECISION, acc, STEP, PIXEL_BLOCK,
        )  # fmt: skip
    else:
        split = (task - tiles) % splits
        low = split * span * _SPAN
        _gradients_of_features(
            grad_layout, masks, parts + split.to(tl.int64) * symbols * CHANNELS, graph, begin, end,
            (task - tiles) // splits, low, low + span * _SPAN,
            CHANNELS, PIXELS, PRECISION, acc, FEATURES_BLOCK, STEP,
        )  # fmt: skip


def compose_layout_forward(masks: Tensor, features: Tensor, batch: Tensor, layout: Tensor) -> None:
    """Fills layout (N, C, H, W) from masks (V, 1, H, W), features (V, C), of one type, and batch (V,) int64.

    All contiguous; batch non-decreasing, in [0, N).
    """
    graphs, channels, height, width = layout.shape
    pixels = height * width
    if layout.numel():
        compose_layout_forward_kernel[
            lambda meta: (
                graphs * triton.cdiv(channels, meta["CHANNEL_BLOCK"]) * triton.cdiv(pixels, meta["PIXEL_BLOCK"]),
            )
        ](
            masks, features, batch, layout, len(features),
            CHANNELS=channels, PIXELS=pixels, WIDE=masks.element_size() == 8, PRECISION=precision(masks.dtype),
        )  # fmt: skip


def compose_layout_backward(
    grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor, grad_masks: Tensor, grad_features: Tensor
) -> None:
    """Fills grad_masks and grad_features, shaped as masks and features, from grad_layout; as in the forward pass."""
    graphs, channels, height, width = grad_layout.shape
    symbols, pixels = len(features), height * width
    if not graphs or not symbols:
        return
    # Few expressions: the pixels of a gradient of features are shared out too.
    blocks = triton.cdiv(channels, _FEATURES_BLOCK)
    splits = max(1, min(16, _ENOUGH_PROGRAMS // max(1, graphs * blocks), triton.cdiv(pixels, 4 * _SPAN.value)))
    spans = triton.cdiv(pixels, _SPAN.value)
    span = triton.cdiv(spans, splits)
    splits = triton.cdiv(spans, span)
    wide = masks.element_size() == 8
    parts = grad_features
    if splits > 1:
        parts = features.new_empty((splits, *features.shape), dtype=torch.float64 if wide else torch.float32)
    compose_layout_backward_kernel[
        lambda meta: (graphs * (triton.cdiv(pixels, meta["PIXEL_BLOCK"]) + blocks * splits),)
    ](
        grad_layout, masks, features, batch, grad_masks, parts, symbols, splits, span,
        CHANNELS=channels, PIXELS=pixels, WIDE=wide, PRECISION=precision(masks.dtype), FEATURES_BLOCK=_FEATURES_BLOCK,
    )  # fmt: skip
    if splits > 1:
        add_parts(parts, grad_features)
