"""Layouts of any shape out of squares like those that networks were trained on.

The learned soft masks (:mod:`hmeg.model.mask`) are functions of where in a square of ``mask_size`` cells a cell lies,
and were never trained beyond it: there they are anything. So a canvas is covered by such squares, each half over the
next; every square composes the symbols that reach into it as if nothing else were there, and squares that overlap are
faded into each other. A canvas within one square is cut out of its middle, where training's short expressions stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Boxes, features, batch, number of squares -> layouts (squares, C, side, side); boxes in [0, 1] of a square.
Compose = Callable[[Tensor, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Covering:
    """Squares over a grid.

    shape  rows and columns of the grid, in cells
    side   of the squares, in cells
    """

    shape: tuple[int, int]
    side: int

    @property
    def tops(self) -> list[int]:
        """First rows of the squares; negative where the grid is smaller than a square."""
        return _starts(self.shape[0], self.side)

    @property
    def lefts(self) -> list[int]:
        """First columns of the squares."""
        return _starts(self.shape[1], self.side)

    def compose(self, compose: Compose, boxes: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """Features (V, C) of N expressions under masks that ``compose`` makes: (N, C, rows, columns).

        boxes  (V, 4) in units of a square, from the grid's upper left corner
        batch  (V,) int64, non-decreasing
        """
        tops, lefts = self.tops, self.lefts
        corners = torch.tensor([[left, top] for top in tops for left in lefts], dtype=boxes.dtype, device=boxes.device)
        squares = len(corners)
        inside = (boxes[None] - corners.repeat(1, 2)[:, None] / self.side).clamp(0, 1)  # (squares, V, 4)
        sides = inside[..., 2:] - inside[..., :2]
        reaching = (sides > 0).all(dim=2) | _lies_in(boxes, corners, self.side)
        owner = batch[None] * squares + torch.arange(squares, device=boxes.device)[:, None]
        square, symbol = reaching.nonzero(as_tuple=True)
        order = torch.argsort(owner[square, symbol], stable=True)
        square, symbol = square[order], symbol[order]
        made = compose(inside[square, symbol], features[symbol], owner[square, symbol], num_graphs * squares)
        return self._joined(made.unflatten(0, (num_graphs, squares)), tops, lefts)

    def _joined(self, made: Tensor, tops: list[int], lefts: list[int]) -> Tensor:
        """(N, squares, C, side, side) faded into each other: (N, C, rows, columns)."""
        (rows, columns), side = self.shape, self.side
        joined = made.new_zeros((len(made), made.shape[2], rows, columns))
        down, across = (_shares(starts, n, side, made) for starts, n in ((tops, rows), (lefts, columns)))
        for i, top in enumerate(tops):
            for j, left in enumerate(lefts):
                y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + side, rows), min(left + side, columns)
                part = made[:, i * len(lefts) + j, :, y0 - top : y1 - top, x0 - left : x1 - left]
                joined[:, :, y0:y1, x0:x1] += part * (down[i, y0:y1, None] * across[j, x0:x1])
        return joined


def _lies_in(boxes: Tensor, corners: Tensor, side: int) -> Tensor:
    """(squares, V): whether the middle of a box lies in a square; boxes without area reach nowhere otherwise."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 * side
    from_corner = middle[None] - corners[:, None]
    return ((from_corner >= 0) & (from_corner <= side)).all(dim=2)


def _starts(cells: int, side: int) -> list[int]:
    if cells <= side:
        return [-((side - cells) // 2)]
    steps = -(-(cells - side) // (side // 2))
    return [round(i * (cells - side) / steps) for i in range(steps + 1)]


def _shares(starts: list[int], cells: int, side: int, like: Tensor) -> Tensor:
    """(squares, cells): what part of a cell each square gives; they sum to 1, and fall towards a square's edges."""
    places = (
        torch.arange(cells, dtype=like.dtype, device=like.device)[None]
        - torch.tensor(starts, dtype=like.dtype, device=like.device)[:, None]
    )
    heights = torch.minimum(places + 0.5, side - 0.5 - places).clamp(min=0)
    return heights / heights.sum(dim=0)
