"""attention_readout in Triton: x (V, C), weight (C, C), batch (V,) -> (N, C), and its backward pass.

A program owns an expression: it finds the expression's symbols by a binary search in the sorted batch, and everything
after that is sums of its own, in one order. The gradient of ``weight`` is a plain product of what the backward kernel
leaves, made by the caller.
"""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

from .runtime import kernel

_CONFIGS = [triton.Config({"ROWS": 16}, num_warps=4), triton.Config({"ROWS": 16}, num_warps=8)]
_WEIGHTS_AT_ONCE = 8192  # numbers of `weight` held by a program: 64 registers a thread in 4 warps


@triton.jit
def _first_not_below(batch, symbols, value, SEARCH_STEPS: tl.constexpr):
    """The first position in the sorted batch that is not below ``value``; 2 ** SEARCH_STEPS exceeds ``symbols``."""
    low = tl.zeros((), dtype=tl.int64)
    high = low + symbols
    for _ in range(SEARCH_STEPS):
        middle = (low + high) // 2
        searching = low < high
        below = searching & (tl.load(batch + middle, mask=searching, other=0) < value)
        high = tl.where(searching & (below == 0), middle, high)
        low = tl.where(below, middle + 1, low)
    return low


@triton.jit
def _sigmoid(value):
    shrunk = tl.exp(-tl.abs(value))  # at most 1: it cannot overflow
    return tl.where(value < 0.0, shrunk, 1.0) / (1.0 + shrunk)


@triton.jit
def _context(x, weight, first, count, CHANNELS: tl.constexpr, PADDED: tl.constexpr, PART: tl.constexpr,
             ROWS: tl.constexpr, means, graph, acc: tl.constexpr):  # fmt: skip
    """tanh(mean of the rows W), (PADDED,); stores the mean unless ``means`` is None. PART rows of W at a time."""
    columns = tl.arange(0, PADDED)
    product = tl.zeros((PADDED,), dtype=acc)
    for begin in range(0, CHANNELS, PART):
        part = begin + tl.arange(0, PART)
        total = tl.zeros((PART,), dtype=acc)
        for row in range(0, count, ROWS):
            rows = row + tl.arange(0, ROWS)
            inside = (rows[:, None] < count) & (part[None, :] < CHANNELS)
            total += tl.sum(
                tl.load(x + (first + rows[:, None]) * CHANNELS + part[None, :], mask=inside, other=0.0).to(acc), axis=0
            )
        mean = total / tl.maximum(count, 1).to(acc)
        if means is not None:
            tl.store(means + graph * CHANNELS + part, mean, mask=part < CHANNELS)
        inside = (part[:, None] < CHANNELS) & (columns[None, :] < CHANNELS)
        w = tl.load(weight + part[:, None] * CHANNELS + columns[None, :], mask=inside, other=0.0).to(acc)
        product += tl.sum(mean[:, None] * w, axis=0)
    # tanh from the exponential, of what is not positive: it cannot overflow.
    shrunk = tl.exp(-2.0 * tl.abs(product))
    size = (1.0 - shrunk) / (1.0 + shrunk)
    return tl.where(product < 0.0, -size, size)


@kernel(_CONFIGS, key=["CHANNELS"])
@triton.jit
def forward_kernel(
    x,
    weight,
    batch,
    out,
    symbols,
    CHANNELS: tl.constexpr,
    PADDED: tl.constexpr,
    PART: tl.constexpr,
    SEARCH_STEPS: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    graph = tl.program_id(0).to(tl.int64)
    first = _first_not_below(batch, symbols, graph, SEARCH_STEPS)
    count = _first_not_below(batch, symbols, graph + 1, SEARCH_STEPS) - first
    context = _context(x, weight, first, count, CHANNELS, PADDED, PART, ROWS, None, graph, acc)
    columns = tl.arange(0, PADDED)
    result = tl.zeros((PADDED,), dtype=acc)
    for row in range(0, count, ROWS):
        rows = row + tl.arange(0, ROWS)
        inside = (rows[:, None] < count) & (columns[None, :] < CHANNELS)
        values = tl.load(x + (first + rows[:, None]) * CHANNELS + columns[None, :], mask=inside, other=0.0).to(acc)
        score = _sigmoid(tl.sum(values * context[None, :], axis=1))
        result += tl.sum(score[:, None] * values, axis=0)
    tl.store(out + graph * CHANNELS + columns, result.to(out.dtype.element_ty), mask=columns < CHANNELS)


@kernel(_CONFIGS, key=["CHANNELS"])
@triton.jit
def backward_kernel(
    grad,
    x,
    weight,
    batch,
    grad_x,
    means,
    grad_products,
    symbols,
    CHANNELS: tl.constexpr,
    PADDED: tl.constexpr,
    PART: tl.constexpr,
    SEARCH_STEPS: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    graph = tl.program_id(0).to(tl.int64)
    first = _first_not_below(batch, symbols, graph, SEARCH_STEPS)
    count = _first_not_below(batch, symbols, graph + 1, SEARCH_STEPS) - first
    context = _context(x, weight, first, count, CHANNELS, PADDED, PART, ROWS, means, graph, acc)
    columns = tl.arange(0, PADDED)
    direct = tl.load(grad + graph * CHANNELS + columns, mask=columns < CHANNELS, other=0.0).to(acc)
    grad_context = tl.zeros((PADDED,), dtype=acc)
    for row in range(0, count, ROWS):
        rows = row + tl.arange(0, ROWS)
        inside = (rows[:, None] < count) & (columns[None, :] < CHANNELS)
        values = tl.load(x + (first + rows[:, None]) * CHANNELS + columns[None, :], mask=inside, other=0.0).to(acc)
        score = _sigmoid(tl.sum(values * context[None, :], axis=1))
        pull = tl.sum(values * direct[None, :], axis=1) * score * (1.0 - score)
        grad_context += tl.sum(pull[:, None] * values, axis=0)
    grad_product = grad_context * (1.0 - context * context)
    tl.store(grad_products + graph * CHANNELS + columns, grad_product, mask=columns < CHANNELS)
    grad_mean = tl.zeros((PADDED,), dtype=acc)
    for begin in range(0, CHANNELS, PART):
        part = begin + tl.arange(0, PART)
        # Columns of W, so that what comes out is a vector like the others; their factors are picked by comparison.
        factor = tl.sum(tl.where(part[:, None] == columns[None, :], grad_product[None, :], 0.0), axis=1)
        inside = (part[:, None] < CHANNELS) & (columns[None, :] < CHANNELS)
        w = tl.load(weight + columns[None, :] * CHANNELS + part[:, None], mask=inside, other=0.0).to(acc)
        grad_mean += tl.sum(factor[:, None] * w, axis=0)
    share = grad_mean / tl.maximum(count, 1).to(acc)
    for row in range(0, count, ROWS):
        rows = row + tl.arange(0, ROWS)
        inside = (rows[:, None] < count) & (columns[None, :] < CHANNELS)
        offsets = (first + rows[:, None]) * CHANNELS + columns[None, :]
        values = tl.load(x + offsets, mask=inside, other=0.0).to(acc)
        score = _sigmoid(tl.sum(values * context[None, :], axis=1))
        pull = tl.sum(values * direct[None, :], axis=1) * score * (1.0 - score)
        result = score[:, None] * direct[None, :] + pull[:, None] * context[None, :] + share[None, :]
        tl.store(grad_x + offsets, result.to(grad_x.dtype.element_ty), mask=inside)


def _sizes(x: Tensor) -> dict[str, int]:
    symbols, channels = x.shape
    padded = max(triton.next_power_of_2(channels), 16)
    return {
        "CHANNELS": channels,
        "PADDED": padded,
        "PART": min(padded, max(_WEIGHTS_AT_ONCE // padded, 1)),
        # Rounded up to a multiple of 4, so that few batches need a kernel of their own.
        "SEARCH_STEPS": -(-symbols.bit_length() // 4) * 4,
        "WIDE": x.element_size() == 8,
    }


def attention_readout_forward(x: Tensor, weight: Tensor, batch: Tensor, out: Tensor) -> None:
    """Fills out (N, C) from x (V, C), weight (C, C) and batch (V,); all contiguous, floating ones of one type."""
    if out.numel():
        forward_kernel[(len(out),)](x, weight, batch, out, len(x), **_sizes(x))


def attention_readout_backward(
    grad: Tensor, x: Tensor, weight: Tensor, batch: Tensor, grad_x: Tensor, means: Tensor, grad_products: Tensor
) -> None:
    """Fills grad_x (V, C), and for the gradient of weight, means^T @ grad_products, both (N, C) in float32 (float64
    for float64): the means of the expressions' rows and the gradients of the products that tanh is taken of."""
    if grad.numel():
        backward_kernel[(len(grad),)](grad, x, weight, batch, grad_x, means, grad_products, len(x), **_sizes(x))
