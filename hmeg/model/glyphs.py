"""A learned picture of every symbol, stretched into its box (our own extension of the published model).

The published fixed soft mask is an 8 x 8 image of ones stretched over the box, bilinearly, with zeros around it. Here
that image is a learned one, with several channels, and every symbol class has several of them (modes: the ways in
which people write a symbol). The narrow decoder starts from a glyph instead of having to draw one from a class
embedding, and writers differ by the modes they use. ``config.glyph.channels`` turns it on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg.graph import vocabulary

from .box_coordinates import SMALLEST_SIDE
from .triple_conv import symbol_rows
from .windows import Windows

_AT_ONCE = 1 << 24  # pixels of stretched glyphs
SIDE_SPREAD = 0.3  # of the logarithm of sides that count as about the same
ROOT = vocabulary.symbol_id("\\sqrt")
# Width of a root's hook, up to where nothing but the bar goes on, over the root's height. In 1,787 roots of CROHME's
# training set ink below the upper two fifths ends at 0.33 of the height (median; 0.66 at the 90th percentile), whatever
# the root's width; the bar sets in at 0.25 (0.47).
HOOK = 0.6


def hook_shares(symbols: Tensor, boxes: Tensor) -> Tensor:
    """What share of a box's width the first half of its glyph's columns spans: 1/2, but less for long roots.

    symbols (V,), boxes (V, 4) -> (V,) in (0, 1/2]: a root's hook is ``HOOK`` times its height wide, at most half the
    box. Differentiable in boxes.
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).clamp(min=SMALLEST_SIDE).unbind(1)
    return torch.where(symbols == ROOT, (HOOK * height / width).clamp(max=0.5), 0.5)


def hat_weights(positions: Tensor, low: Tensor, high: Tensor, cells: int, share: Tensor | None = None) -> Tensor:
    """Bilinear weights of ``cells`` cells that divide [low, high], at positions: zero-padded, half-pixel convention.

    positions (P, L), low and high (P,) -> (P, L, cells). A side under 1/64 counts as 1/64 about its middle.
    share (P,) in (0, 1): the first half of the cells divides that share of the side evenly, the second half the rest;
    None: all are of one size. Differentiable in low, high and share.
    """
    side = (high - low).clamp(min=SMALLEST_SIDE)
    start = (low + high - side) / 2
    part = (positions - start[:, None]) / side[:, None]
    if share is not None:
        first = share[:, None]
        part = torch.where(part < first, part / first, 1 + (part - first) / (1 - first)) / 2
    cell = part * cells - 0.5
    centres = torch.arange(cells, dtype=cell.dtype, device=cell.device)
    return (1 - (cell[:, :, None] - centres).abs()).clamp(min=0)


class GlyphAtlas(nn.Module):
    """Every symbol's learned glyph in its box, summed per expression.

    forward(symbols (V,), modes (V,), boxes (V, 4), batch (V,), windows, num_graphs, mask_size, ink=None)
    -> (M, channels, 4 side, 4 columns) at the resolution of the largest image (pixel centres). Differentiable in boxes
    and glyphs. The first channel is meant for the typical ink of a mode, in [0, 1]: see :meth:`fill`; ink (V, size,
    size), for training, stands in for it.

    hooks    whether roots keep the proportions of their hooks, see :func:`hook_shares`
    fit      whether modes are chosen by both sides of a box, or by its size alone
    symbols  how many there are
    """

    frequency: Tensor  # (rows, modes): how often a class is written in each mode
    # (rows, modes, 2): mean logarithms of width and height of boxes, or (rows, modes): their means; the image's are 1
    log_side: Tensor

    def __init__(
        self, channels: int, size: int, modes: int, hooks: bool = False, fit: bool = False, symbols: int = 101
    ) -> None:
        super().__init__()
        self.modes, self.hooks = modes, hooks
        rows = symbol_rows(symbols)
        # Row: symbol * modes + mode. Four dimensions, for nn.Module.to(memory_format=...) takes no more.
        self.glyphs = nn.Parameter(0.1 * torch.randn(rows * modes, channels, size, size))
        self.register_buffer("frequency", torch.full((rows, modes), 1 / modes))
        self.register_buffer("log_side", torch.zeros(rows, modes, *([2] if fit else [])))

    @torch.no_grad()
    def fill(self, ink: Tensor, frequency: Tensor, log_sides: Tensor) -> None:
        """Sets the first channel, ink (rows, modes, size, size), and what is known of the modes.

        frequency (rows, modes), log_sides (rows, modes, 2): mean logarithms of width and height
        """
        self.glyphs[: len(ink) * self.modes, 0] = ink.flatten(0, 1).to(self.glyphs)
        self.frequency[: len(frequency)] = frequency.to(self.frequency)
        log_side = log_sides if self.log_side.dim() == 3 else log_sides.mean(dim=2)
        self.log_side[: len(log_side)] = log_side.to(self.log_side)

    @torch.no_grad()
    def forget_unused(self) -> None:
        """Empties the glyphs of modes that are never chosen, their frequency being 0."""
        self.glyphs[self.frequency.flatten() == 0] = 0

    def choose(self, symbols: Tensor, boxes: Tensor, batch: Tensor, style: Tensor) -> Tensor:
        """Modes (V,) int64: by frequency, among those seen in boxes of about this size (a pen has one width, so small
        symbols are bold and large ones thin), or width and height (a stroke that fills a narrow box would lean in a
        wide one). boxes (V, 4), batch (V,), style (V,) standard normal.

        Equal symbols of one expression get one mode, as one writer would do, by the style of the first of them.
        """
        _, group = torch.unique(batch * len(self.frequency) + symbols, return_inverse=True)
        rows = torch.arange(len(symbols), device=symbols.device)
        first = torch.full_like(rows, len(rows)).scatter_reduce(0, group, rows, "amin")
        # Below 1 by more than a rounding: all of it would lie beyond the last mode that has a share.
        uniform = torch.special.ndtr(style.float()).clamp(max=1 - 2**-20)[first[group]]
        side = (boxes[:, 2:] - boxes[:, :2]).float().clamp(min=SMALLEST_SIDE)
        limits = torch.cumsum(self.likelihood(symbols, side.log()[first[group]]), dim=1)
        return (uniform[:, None] * limits[:, -1:] >= limits[:, :-1]).sum(dim=1)

    def likelihood(self, symbols: Tensor, log_sides: Tensor) -> Tensor:
        """How likely each mode is in a box, up to a factor: symbols (...), log_sides (..., 2) -> (..., modes)."""
        known = F.embedding(symbols, self.log_side.flatten(1)).unflatten(-1, (self.modes, -1))
        here = log_sides if known.shape[-1] == 2 else log_sides.mean(dim=-1, keepdim=True)
        distance = (((known - here[..., None, :]) / SIDE_SPREAD) ** 2).mean(dim=-1)
        # At least a trace of every mode's frequency: a box of a size never seen must have modes to choose from.
        return F.embedding(symbols, self.frequency) * (torch.exp(-0.5 * distance) + 1e-6)

    def forward(
        self,
        symbols: Tensor,
        modes: Tensor,
        boxes: Tensor,
        batch: Tensor,
        windows: Windows,
        num_graphs: int,
        mask_size: int,
        ink: Tensor | None = None,
    ) -> Tensor:
        device, size = boxes.device, self.glyphs.shape[-1]
        window, symbol = _pairs(batch, windows, num_graphs)
        along, downwards = (
            torch.arange(4 * cells, device=device, dtype=boxes.dtype) + 0.5 for cells in (windows.columns, windows.side)
        )
        across = (4 * windows.left[window].to(boxes.dtype)[:, None] + along) / (4 * mask_size)
        down = (4 * windows.top[window].to(boxes.dtype)[:, None] + downwards) / (4 * mask_size)
        x0, y0, x1, y1 = boxes[symbol].unbind(1)
        shares = self.shares(symbols[symbol], boxes[symbol])
        columns = hat_weights(across, x0, x1, size, shares)[:, None]
        rows = hat_weights(down, y0, y1, size)[:, None]
        glyphs = self.glyphs[(symbols * self.modes + modes)[symbol]]
        if ink is not None:
            glyphs = torch.cat([ink.to(glyphs)[symbol, None], glyphs[:, 1:]], dim=1)
        placed = rows.new_zeros((len(windows.expression), glyphs.shape[1], rows.shape[2], columns.shape[2]))
        if torch.is_grad_enabled() or rows.shape[2] * columns.shape[2] * len(symbol) <= _AT_ONCE:
            return placed.index_add(0, window, rows @ glyphs @ columns.transpose(2, 3))
        # On large canvases of long expressions a picture of every symbol's whole canvas would be gigabytes.
        some = max(1, _AT_ONCE // (rows.shape[2] * columns.shape[2]))
        for part in torch.arange(len(symbol), device=device).split(some):
            placed.index_add_(0, window[part], rows[part] @ glyphs[part] @ columns[part].transpose(2, 3))
        return placed

    def shares(self, symbols: Tensor, boxes: Tensor) -> Tensor | None:
        """How columns are divided, as :func:`hat_weights` wants it; None if all glyphs are evenly stretched."""
        return hook_shares(symbols, boxes) if self.hooks else None


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
