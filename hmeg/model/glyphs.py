"""A learned picture of every symbol, stretched into its box (our own extension of the published model).

The published fixed soft mask is an 8 x 8 image of ones stretched over the box, bilinearly, with zeros around it. Here
that image is a learned one, with several channels, and every symbol class has several of them (modes: the ways in
which people write a symbol). The narrow decoder starts from a glyph instead of having to draw one from a class
embedding, and writers differ by the modes they use. ``ModelConfig.glyph_channels`` turns it on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .box_coordinates import SMALLEST_SIDE
from .triple_conv import NUM_SYMBOL_ROWS
from .windows import Windows

SIDE_SPREAD = 0.3  # of the logarithm of sides that count as about the same


def hat_weights(positions: Tensor, low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Bilinear weights of ``cells`` cells that divide [low, high], at positions: zero-padded, half-pixel convention.

    positions (P, L), low and high (P,) -> (P, L, cells). A side under 1/64 counts as 1/64 about its middle.
    Differentiable in low and high.
    """
    side = (high - low).clamp(min=SMALLEST_SIDE)
    start = (low + high - side) / 2
    cell = (positions - start[:, None]) / side[:, None] * cells - 0.5
    centres = torch.arange(cells, dtype=cell.dtype, device=cell.device)
    return (1 - (cell[:, :, None] - centres).abs()).clamp(min=0)


class GlyphAtlas(nn.Module):
    """Every symbol's learned glyph in its box, summed per expression.

    forward(symbols (V,), modes (V,), boxes (V, 4), batch (V,), windows, num_graphs, mask_size)
    -> (M, channels, 4 side, 4 side) at the resolution of the largest image (pixel centres). Differentiable in boxes
    and glyphs. The first channel is meant for the mean ink of a mode, in [0, 1]: see :meth:`fill`.
    """

    frequency: Tensor  # (rows, modes): how often a class is written in each mode
    log_side: Tensor  # (rows, modes): mean logarithm of the box's side, the root of its area; the image's is 1

    def __init__(self, channels: int, size: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        # Row: symbol * modes + mode. Four dimensions, for nn.Module.to(memory_format=...) takes no more.
        self.glyphs = nn.Parameter(0.1 * torch.randn(NUM_SYMBOL_ROWS * modes, channels, size, size))
        self.register_buffer("frequency", torch.full((NUM_SYMBOL_ROWS, modes), 1 / modes))
        self.register_buffer("log_side", torch.zeros(NUM_SYMBOL_ROWS, modes))

    @torch.no_grad()
    def fill(self, ink: Tensor, frequency: Tensor, log_side: Tensor) -> None:
        """Sets the first channel, ink (rows, modes, size, size), and what is known of the modes (rows, modes)."""
        self.glyphs[: len(ink) * self.modes, 0] = ink.flatten(0, 1).to(self.glyphs)
        self.frequency[: len(frequency)] = frequency.to(self.frequency)
        self.log_side[: len(log_side)] = log_side.to(self.log_side)

    def choose(self, symbols: Tensor, boxes: Tensor, batch: Tensor, style: Tensor) -> Tensor:
        """Modes (V,) int64: by frequency, among those seen in boxes of about this size (a pen has one width, so small
        symbols are bold and large ones thin). boxes (V, 4), batch (V,), style (V,) standard normal.

        Equal symbols of one expression get one mode, as one writer would do, by the style of the first of them.
        """
        _, group = torch.unique(batch * NUM_SYMBOL_ROWS + symbols, return_inverse=True)
        rows = torch.arange(len(symbols), device=symbols.device)
        first = torch.full_like(rows, len(rows)).scatter_reduce(0, group, rows, "amin")
        # Below 1 by more than a rounding: all of it would lie beyond the last mode that has a share.
        uniform = torch.special.ndtr(style.float()).clamp(max=1 - 2**-20)[first[group]]
        side = (boxes[:, 2:] - boxes[:, :2]).float().clamp(min=SMALLEST_SIDE)
        distance = self.log_side[symbols] - side.log().mean(dim=1)[first[group]][:, None]
        # At least a trace of every mode's frequency: a box of a size never seen must have modes to choose from.
        likelihood = self.frequency[symbols] * (torch.exp(-0.5 * (distance / SIDE_SPREAD) ** 2) + 1e-6)
        limits = torch.cumsum(likelihood, dim=1)
        return (uniform[:, None] * limits[:, -1:] >= limits[:, :-1]).sum(dim=1)

    def forward(
        self,
        symbols: Tensor,
        modes: Tensor,
        boxes: Tensor,
        batch: Tensor,
        windows: Windows,
        num_graphs: int,
        mask_size: int,
    ) -> Tensor:
        device, size = boxes.device, self.glyphs.shape[-1]
        window, symbol = _pairs(batch, windows, num_graphs)
        steps = torch.arange(4 * windows.side, device=device, dtype=boxes.dtype) + 0.5
        across = (4 * windows.left[window].to(boxes.dtype)[:, None] + steps) / (4 * mask_size)
        down = (4 * windows.top[window].to(boxes.dtype)[:, None] + steps) / (4 * mask_size)
        x0, y0, x1, y1 = boxes[symbol].unbind(1)
        columns = hat_weights(across, x0, x1, size)[:, None]
        rows = hat_weights(down, y0, y1, size)[:, None]
        stretched = rows @ self.glyphs[(symbols * self.modes + modes)[symbol]] @ columns.transpose(2, 3)
        return stretched.new_zeros((len(windows.expression), *stretched.shape[1:])).index_add(0, window, stretched)


def _pairs(batch: Tensor, windows: Windows, num_graphs: int) -> tuple[Tensor, Tensor]:
    """A pair (window, symbol) for every window and symbol of its expression.

    How many there are depends on the windows, so on a GPU this waits for them, unless they are whole images.
    """
    rows = torch.arange(len(batch), device=batch.device)
    if windows.is_whole:
        return batch, rows
    count = torch.bincount(batch, minlength=num_graphs)
    first = torch.cumsum(count, 0) - count
    pairs = count[windows.expression]
    window = torch.repeat_interleave(torch.arange(len(pairs), device=batch.device), pairs)
    start_of_window = torch.cumsum(pairs, 0) - pairs
    local = torch.arange(len(window), device=batch.device) - start_of_window[window]
    return window, first[windows.expression[window]] + local
