"""Learned glyphs: where they are put, how a mode is chosen, and how modes are found in handwriting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ink_samples import write_samples
from torch.nn import functional as F

from hmeg.data.crohme import CrohmeDataset, prepare
from hmeg.data.glyphs import cut_symbols, glyph_modes
from hmeg.graph import vocabulary
from hmeg.model.glyphs import GlyphAtlas, hat_weights
from hmeg.model.windows import Windows


def atlas(channels: int = 2, size: int = 6, modes: int = 3) -> GlyphAtlas:
    torch.manual_seed(0)
    return GlyphAtlas(channels, size, modes)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CrohmeDataset:
    folder = tmp_path_factory.mktemp("glyphs")
    prepare(write_samples(folder / "source", copies=3), folder / "data", workers=1)
    return CrohmeDataset(folder / "data")


def test_a_glyph_is_the_bilinear_image_stretched_over_its_box() -> None:
    """Against torch's sampler in the convention of the fixed soft mask: half-pixel, zeros outside."""
    glyphs = atlas()
    symbols, modes = torch.tensor([5, 9]), torch.tensor([1, 2])
    boxes = torch.tensor([[0.1, 0.2, 0.7, 0.6], [0.4, -0.1, 1.3, 0.9]])
    placed = glyphs(symbols, modes, boxes, torch.tensor([0, 0]), Windows.whole(1, 8, boxes.device), 1, 8)
    assert placed.shape == (1, 2, 32, 32)
    centres = (torch.arange(32) + 0.5) / 32
    expected = torch.zeros(2, 32, 32)
    for v in range(2):
        across = 2 * (centres - boxes[v, 0]) / (boxes[v, 2] - boxes[v, 0]) - 1
        down = 2 * (centres - boxes[v, 1]) / (boxes[v, 3] - boxes[v, 1]) - 1
        grid = torch.stack([across.expand(32, 32), down[:, None].expand(32, 32)], dim=-1)[None]
        image = glyphs.glyphs[symbols[v] * glyphs.modes + modes[v]][None]
        expected += F.grid_sample(image, grid, padding_mode="zeros", align_corners=False)[0]
    assert torch.allclose(placed[0], expected, atol=1e-5)


def test_windows_show_parts_of_the_whole() -> None:
    glyphs = atlas()
    symbols, batch = torch.tensor([5, 9, 7]), torch.tensor([0, 1, 1])
    modes, boxes = torch.zeros(3, dtype=torch.int64), torch.rand(3, 4).cumsum(1) / 3
    whole = glyphs(symbols, modes, boxes, batch, Windows.whole(2, 8, boxes.device), 2, 8)
    windows = Windows(torch.tensor([1, 0, 1]), torch.tensor([0, 3, 4]), torch.tensor([2, 0, 4]), 4)
    part = glyphs(symbols, modes, boxes, batch, windows, 2, 8)
    assert torch.allclose(part, windows.cut(whole, 4), atol=1e-6)


def test_gradients_reach_boxes_and_glyphs() -> None:
    glyphs = atlas(channels=1, size=3, modes=1).double()
    boxes = torch.tensor([[0.13, 0.21, 0.71, 0.63]], dtype=torch.float64, requires_grad=True)
    weight = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    zero, symbol = torch.tensor([0]), torch.tensor([4])

    def placed(b: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = glyphs(symbol, zero, b, zero, Windows.whole(1, 2, b.device), 1, 2)
        return (out * weight).sum()

    assert torch.autograd.gradcheck(placed, (boxes,))
    placed(boxes).backward()
    assert glyphs.glyphs.grad is not None and glyphs.glyphs.grad[4].abs().sum() > 0
    assert glyphs.glyphs.grad[5].abs().sum() == 0


def test_weights_are_finite_for_boxes_without_area() -> None:
    low = torch.tensor([0.5, 0.9], requires_grad=True)
    weights = hat_weights(torch.linspace(0, 1, 16).expand(2, 16), low, torch.tensor([0.5, 0.1]), 4)
    weights.sum().backward()
    assert torch.isfinite(weights).all() and low.grad is not None and torch.isfinite(low.grad).all()


def test_modes_are_chosen_by_frequency() -> None:
    glyphs = atlas()
    frequency = torch.zeros(102, 3)
    frequency[7] = torch.tensor([0.5, 0.3, 0.2])
    glyphs.fill(torch.zeros(102, 3, 6, 6), frequency, torch.zeros(102, 3))
    count = 4000
    symbols, batch = torch.full((count,), 7), torch.arange(count)  # an expression each: writers of their own
    style = torch.randn(count, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(count, 4)
    shares = torch.bincount(glyphs.choose(symbols, boxes, batch, style), minlength=3) / count
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_the_rarest_style_gets_a_mode_that_exists() -> None:
    glyphs = atlas()
    frequency = torch.tensor([[0.9, 0.1, 0.0]]).expand(102, 3)
    glyphs.fill(torch.zeros(102, 3, 6, 6), frequency, torch.zeros(102, 3))
    style = torch.tensor([-40.0, 40.0])  # their normal distribution function is 0 and 1 to the last bit
    chosen = glyphs.choose(torch.tensor([7, 7]), torch.rand(2, 4).cumsum(1), torch.tensor([0, 1]), style)
    assert chosen.tolist() == [0, 1]


def test_one_writer_writes_equal_symbols_in_one_way() -> None:
    glyphs = atlas()
    symbols = torch.tensor([7, 8, 7, 7, 7])
    batch = torch.tensor([0, 0, 0, 1, 1])
    style = torch.tensor([-3.0, 0.0, 3.0, 3.0, -3.0])
    chosen = glyphs.choose(symbols, torch.rand(5, 4).cumsum(1), batch, style)
    assert chosen[0] == chosen[2] == 0 and chosen[3] == chosen[4] == 2


def test_the_size_of_the_box_decides_among_modes() -> None:
    glyphs = atlas(modes=2)
    glyphs.fill(torch.zeros(102, 2, 6, 6), torch.full((102, 2), 0.5), torch.tensor([[-3.0, -1.0]]).expand(102, 2))
    boxes = torch.tensor([[0.0, 0.0, 0.05, 0.05], [0.0, 0.0, 0.4, 0.35]])
    for style in (-2.0, 0.0, 2.0):
        chosen = glyphs.choose(torch.tensor([7, 9]), boxes, torch.tensor([0, 0]), torch.full((2,), style))
        assert chosen.tolist() == [0, 1]
    tiny = glyphs.choose(torch.tensor([7]), torch.tensor([[0.5, 0.5, 0.5, 0.5]]), torch.tensor([0]), torch.zeros(1))
    assert tiny.tolist() == [0], "no area: still a mode"


def test_symbols_are_cut_at_their_boxes(dataset: CrohmeDataset) -> None:
    ink, ids = cut_symbols(dataset, 8)
    assert ink.shape == (15, 8, 8) and ids.shape == (15,)
    cross = ink[ids == vocabulary.symbol_id("x")].mean(axis=0) / 255
    assert np.diag(cross).min() > 3 * max(cross[0, 3:5].max(), cross[3:5, 0].max())


def test_modes_of_handwriting(dataset: CrohmeDataset) -> None:
    found = glyph_modes(dataset, 8, 4)
    again = glyph_modes(dataset, 8, 4)
    assert torch.equal(found.ink, again.ink)
    assert torch.allclose(found.frequency.sum(dim=1), torch.ones(102))
    assert [len(a) for a in found.assignment] == [len(g) for g in dataset.graphs]
    assert all((a == 0).all() for a in found.assignment), "three examples are too few for two modes"
    ink, ids = cut_symbols(dataset, 8)
    row = vocabulary.symbol_id("a")
    assert np.allclose(found.ink[row, 0].numpy(), ink[ids == row].mean(axis=0) / 255, atol=1e-5)


def test_k_means_tells_two_ways_of_writing_apart() -> None:
    from hmeg.data.glyphs import _k_means

    generator = torch.Generator().manual_seed(0)
    points = torch.cat([torch.zeros(30, 4), torch.ones(10, 4)]) + 0.01 * torch.rand(40, 4, generator=generator)
    for seed in range(5):
        centres, nearest = _k_means(points, 2, torch.Generator().manual_seed(seed))
        if len(torch.unique(nearest)) == 2:
            assert nearest[:30].eq(0).all() and nearest[30:].eq(1).all(), "the more frequent way comes first"
            assert torch.allclose(centres, torch.tensor([[0.005], [1.005]]).expand(2, 4), atol=0.005)
            break
    else:
        pytest.fail("five starts and never two clusters")
