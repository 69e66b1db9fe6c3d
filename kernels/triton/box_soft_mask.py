"""box_soft_mask in Triton: boxes (V, 4) -> masks (V, H, W), and the gradient of the boxes.

A program owns a band of rows of one symbol's mask (forward) or one whole mask (backward), so nothing is added
atomically and results are the same from run to run. Sums are made in float32, in float64 for float64. Sizes are
compile-time constants: a model has few of them, and loops of known length need no support from the interpreter.
"""

from __future__ import annotations

from torch import Tensor

import triton
import triton.language as tl

from .runtime import kernel
from .soft_ramp import load_box, soft_ramp

_FORWARD_CONFIGS = [
    triton.Config({"ROWS": 32}, num_warps=4),
    triton.Config({"ROWS": 16}, num_warps=4),
    triton.Config({"ROWS": 64}, num_warps=8),
]
_BACKWARD_CONFIGS = [
    triton.Config({"ROWS": 16}, num_warps=4),
    triton.Config({"ROWS": 32}, num_warps=4),
    triton.Config({"ROWS": 32}, num_warps=8),
]


@kernel(_FORWARD_CONFIGS, key=["HEIGHT", "WIDTH"])
@triton.jit
def forward_kernel(
    boxes,
    masks,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    bands = tl.cdiv(HEIGHT, ROWS)
    symbol = (tl.program_id(0) // bands).to(tl.int64)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    rows = tl.program_id(0) % bands * ROWS + tl.arange(0, ROWS)
    down, _y0, _y1 = soft_ramp(y0, y1, rows, HEIGHT, acc)
    for first in range(0, WIDTH, COLUMNS):
        columns = first + tl.arange(0, COLUMNS)
        across, _x0, _x1 = soft_ramp(x0, x1, columns, WIDTH, acc)
        offsets = (symbol * HEIGHT + rows[:, None]) * WIDTH + columns[None, :]
        inside = (rows[:, None] < HEIGHT) & (columns[None, :] < WIDTH)
        tl.store(masks + offsets, (down[:, None] * across[None, :]).to(masks.dtype.element_ty), mask=inside)


@kernel(_BACKWARD_CONFIGS, key=["HEIGHT", "WIDTH"])
@triton.jit
def backward_kernel(
    grad_masks,
    boxes,
    grad_boxes,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    acc: tl.constexpr = tl.float64 if WIDE else tl.float32
    symbol = tl.program_id(0).to(tl.int64)
    x0, y0, x1, y1 = load_box(boxes, symbol, acc)
    by_x0 = tl.zeros((COLUMNS,), dtype=acc)
    by_x1 = tl.zeros((COLUMNS,), dtype=acc)
    by_y0 = tl.zeros((ROWS,), dtype=acc)
    by_y1 = tl.zeros((ROWS,), dtype=acc)
    for first_column in range(0, WIDTH, COLUMNS):
        columns = first_column + tl.arange(0, COLUMNS)
        across, across_by_x0, across_by_x1 = soft_ramp(x0, x1, columns, WIDTH, acc)
        within_columns = ((across != 0.0) | (across_by_x0 != 0.0) | (across_by_x1 != 0.0)) & (columns < WIDTH)
        column_sums = tl.zeros((COLUMNS,), dtype=acc)
        for first_row in range(0, HEIGHT, ROWS):
            rows = first_row + tl.arange(0, ROWS)
            down, down_by_y0, down_by_y1 = soft_ramp(y0, y1, rows, HEIGHT, acc)
            within_rows = ((down != 0.0) | (down_by_y0 != 0.0) | (down_by_y1 != 0.0)) & (rows < HEIGHT)
            # The gradient is read inside the box's support only: elsewhere the mask is zero whatever the box does.
            inside = within_rows[:, None] & within_columns[None, :]
            offsets = (symbol * HEIGHT + rows[:, None]) * WIDTH + columns[None, :]
            grad = tl.load(grad_masks + offsets, mask=inside, other=0.0).to(acc)
            down = tl.where(within_rows, down, 0.0)
            column_sums += tl.sum(grad * down[:, None], axis=0)
            row_sums = tl.sum(grad * tl.where(within_columns, across, 0.0)[None, :], axis=1)
            by_y0 += tl.where(within_rows, row_sums * down_by_y0, 0.0)
            by_y1 += tl.where(within_rows, row_sums * down_by_y1, 0.0)
        by_x0 += tl.where(within_columns, column_sums * across_by_x0, 0.0)
        by_x1 += tl.where(within_columns, column_sums * across_by_x1, 0.0)
    out = grad_boxes + 4 * symbol
    tl.store(out, tl.sum(by_x0, axis=0).to(grad_boxes.dtype.element_ty))
    tl.store(out + 1, tl.sum(by_y0, axis=0).to(grad_boxes.dtype.element_ty))
    tl.store(out + 2, tl.sum(by_x1, axis=0).to(grad_boxes.dtype.element_ty))
    tl.store(out + 3, tl.sum(by_y1, axis=0).to(grad_boxes.dtype.element_ty))


def _columns(width: int) -> int:
    return min(triton.next_power_of_2(max(width, 16)), 128)


def box_soft_mask_forward(boxes: Tensor, masks: Tensor) -> None:
    """Fills masks (V, 1, H, W) from boxes (V, 4); both contiguous, of one type."""
    symbols, _, height, width = masks.shape
    if symbols:
        forward_kernel[lambda meta: (symbols * triton.cdiv(height, meta["ROWS"]),)](
            boxes, masks, HEIGHT=height, WIDTH=width, WIDE=boxes.element_size() == 8, COLUMNS=_columns(width)
        )


def box_soft_mask_backward(grad_masks: Tensor, boxes: Tensor, grad_boxes: Tensor) -> None:
    """Fills grad_boxes (V, 4) from grad_masks (V, 1, H, W) and boxes (V, 4); all contiguous, of one type."""
    symbols, _, height, width = grad_masks.shape
    if symbols:
        backward_kernel[(symbols,)](
            grad_masks,
            boxes,
            grad_boxes,
            HEIGHT=height,
            WIDTH=width,
            WIDE=boxes.element_size() == 8,
            COLUMNS=_columns(width),
        )
