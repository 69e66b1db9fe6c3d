"""Learned glyphs: where they are put, how a mode is chosen, and how modes are found in handwriting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hmeg.data.crohme import CrohmeDataset, prepare
from hmeg.data.glyphs import glyph_modes
from hmeg.data.symbol_cuts import cut_symbols, stands_alone
from hmeg.graph import vocabulary
from hmeg.model.glyphs import HOOK, ROOT, GlyphAtlas, hat_weights, hook_shares
from hmeg.model.windows import Windows
from tests.support.ink_samples import inkml, write_samples


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
    glyphs.fill(torch.zeros(102, 3, 6, 6), frequency, torch.zeros(102, 3, 2))
    count = 4000
    symbols, batch = torch.full((count,), 7), torch.arange(count)  # an expression each: writers of their own
    style = torch.randn(count, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(count, 4)
    shares = torch.bincount(glyphs.choose(symbols, boxes, batch, style), minlength=3) / count
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_the_rarest_style_gets_a_mode_that_exists() -> None:
    glyphs = atlas()
    frequency = torch.tensor([[0.9, 0.1, 0.0]]).expand(102, 3)
    glyphs.fill(torch.zeros(102, 3, 6, 6), frequency, torch.zeros(102, 3, 2))
    style = torch.tensor([-40.0, 40.0])  # their normal distribution function is 0 and 1 to the last bit
    chosen = glyphs.choose(torch.tensor([7, 7]), torch.rand(2, 4).cumsum(1), torch.tensor([0, 1]), style)
    assert chosen.tolist() == [0, 1]
    glyphs.glyphs.data += 0.5
    before = glyphs.glyphs.detach().clone().unflatten(0, (-1, 3))
    glyphs.forget_unused()
    after = glyphs.glyphs.detach().unflatten(0, (-1, 3))
    assert torch.equal(after[:102, :2], before[:102, :2]) and not after[:102, 2].any()


def test_one_writer_writes_equal_symbols_in_one_way() -> None:
    glyphs = atlas()
    symbols = torch.tensor([7, 8, 7, 7, 7])
    batch = torch.tensor([0, 0, 0, 1, 1])
    style = torch.tensor([-3.0, 0.0, 3.0, 3.0, -3.0])
    chosen = glyphs.choose(symbols, torch.rand(5, 4).cumsum(1), batch, style)
    assert chosen[0] == chosen[2] == 0 and chosen[3] == chosen[4] == 2


def test_the_size_of_the_box_decides_among_modes() -> None:
    glyphs = atlas(modes=2)
    glyphs.fill(
        torch.zeros(102, 2, 6, 6), torch.full((102, 2), 0.5), torch.tensor([[[-3.0], [-1.0]]]).expand(102, 2, 2)
    )
    boxes = torch.tensor([[0.0, 0.0, 0.05, 0.05], [0.0, 0.0, 0.4, 0.35]])
    for style in (-2.0, 0.0, 2.0):
        chosen = glyphs.choose(torch.tensor([7, 9]), boxes, torch.tensor([0, 0]), torch.full((2,), style))
        assert chosen.tolist() == [0, 1]
    tiny = glyphs.choose(torch.tensor([7]), torch.tensor([[0.5, 0.5, 0.5, 0.5]]), torch.tensor([0]), torch.zeros(1))
    assert tiny.tolist() == [0], "no area: still a mode"


def test_symbols_are_cut_at_their_boxes(dataset: CrohmeDataset) -> None:
    assert stands_alone(dataset).all()
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
    assert np.array_equal(np.concatenate(found.examples), ink)
    row = vocabulary.symbol_id("a")
    assert found.parts[row].tolist() == [1, 0, 0, 0], "three copies are one example"
    assert found.ink[row, 0].sum().item() == pytest.approx(ink[ids == row].mean(axis=0).sum() / 255, rel=1e-4)
    boxes = np.concatenate([g.boxes for g in dataset.graphs])[ids == row]
    assert found.log_sides[row, 0].tolist() == pytest.approx(np.log(boxes[:, 2:] - boxes[:, :2]).mean(axis=0), abs=1e-4)


def test_a_typical_picture_is_of_examples_that_agree_and_as_sharp() -> None:
    from hmeg.data.glyphs import _agreement, _typical

    generator = torch.Generator().manual_seed(0)
    drawn = torch.zeros(10, 12, 12)
    for example in range(5):  # a broad stroke, each with a gap elsewhere; the last is a copy
        drawn[example, 4:8, 1:11] = 1
        drawn[example, 4, 2 + min(example, 3)] = 0
    drawn[5:] = (torch.rand(5, 12, 12, generator=generator) > 0.8).float()
    picture, parts = _typical(drawn)
    assert parts == 4
    assert set(picture.unique().tolist()) == {0.0, 1.0}, "no greys that the examples do not have"
    assert picture.sum() == 39 and picture[5:8, 1:11].eq(1).all()
    _, alone = _typical(drawn[5:])
    assert alone == 1, "those have nothing in common"
    assert _typical(drawn[:1])[1] == 1
    assert _agreement(drawn[:1]) == 1
    apart = torch.zeros(2, 12, 12)
    apart[0, 2, :], apart[1, 4, :] = 1, 1
    assert _agreement(apart).item() == pytest.approx(0.5, abs=0.01)
    apart[:, 8, :] = 1
    assert _agreement(apart).item() == pytest.approx(0.5, abs=0.01), "the lower half agrees, the upper does not"


def test_pictures_that_show_nothing_are_left_out() -> None:
    from hmeg.data.glyphs import _useful

    ink = torch.tensor([0.3, 0.9, 0.9, 0.3, 0.3])[:, None, None].expand(5, 8, 8)
    members, parts = torch.tensor([100, 80, 80, 80, 5]), torch.tensor([4, 4, 4, 1, 3])
    sides = torch.tensor([[20.0, 20.0], [8.0, 9.0], [3.0, 30.0], [20.0, 20.0], [20.0, 20.0]])
    log_sides = (sides / 256).log()
    clear = torch.ones(5, dtype=torch.bool)
    assert _useful(ink, members, parts, log_sides, clear).tolist() == [True, False, True, False, False]
    assert not _useful(ink, members, parts, log_sides, torch.tensor([False, True, True, True, True]))[0]
    assert _useful(ink, members, parts, log_sides + 2, clear)[3], "thin pens of large symbols hardly ever meet"
    alone = [x[1:2] for x in (ink, members, parts, log_sides, clear)]
    assert _useful(*alone).tolist() == [True], "there is no other"


def test_a_picture_among_more_frequent_ones_of_another_class() -> None:
    """Two of ten of one class beside five of a hundred of another: the former's, for its whole class writes so."""
    from hmeg.data.glyphs import _recognisable

    generator = torch.Generator().manual_seed(0)
    points = 5 + torch.rand(610, 3, generator=generator)
    points[:100] = 0.01 * torch.rand(100, 3, generator=generator)  # most of class 1 is here, a little of class 2
    points[110:114] = 0.005
    ids = torch.cat([torch.full((110,), 1), torch.full((500,), 2)])
    pictures, classes = torch.zeros(2, 3) + 0.005, torch.tensor([1, 2])
    assert _recognisable(pictures, classes, points, ids).tolist() == [True, False]


def test_a_glyph_with_hooks_is_two_images_side_by_side() -> None:
    """Of a root the left half of the cells is as wide as the hook, the right half is the rest; others are stretched."""
    plain, hooked = atlas(), GlyphAtlas(2, 6, 3, hooks=True)
    hooked.load_state_dict(plain.state_dict())
    zero, box = torch.zeros(1, dtype=torch.int64), torch.tensor([[0.1, 0.3, 0.9, 0.5]])
    whole = Windows.whole(1, 64, box.device)
    root, other = torch.tensor([ROOT]), torch.tensor([7])
    assert torch.equal(hooked(other, zero, box, zero, whole, 1, 64), plain(other, zero, box, zero, whole, 1, 64))
    share = HOOK * 0.2 / 0.8
    assert hook_shares(root, box).item() == pytest.approx(share)
    drawn = hooked(root, zero, box, zero, whole, 1, 64)
    for start, end, half in ((0.1, 0.1 + 0.8 * share, 0), (0.1 + 0.8 * share, 0.9, 1)):
        # The box in which plainly stretched cells lie as this half of them does.
        stretched = torch.tensor([[start - half * (end - start), 0.3, end + (1 - half) * (end - start), 0.5]])
        expected = plain(root, zero, stretched, zero, whole, 1, 64)
        inside = slice(int(np.ceil(256 * start)), int(256 * end))
        assert torch.allclose(drawn[..., inside], expected[..., inside], atol=1e-5)
    short = torch.tensor([[0.1, 0.3, 0.2, 0.5]])
    assert hook_shares(root, short).item() == 0.5
    assert torch.allclose(
        hooked(root, zero, short, zero, whole, 1, 64), plain(root, zero, short, zero, whole, 1, 64), atol=1e-5
    )


def test_gradients_reach_the_boxes_of_roots() -> None:
    glyphs = GlyphAtlas(1, 4, 1, hooks=True).double()
    boxes = torch.tensor([[0.12, 0.21, 0.93, 0.43]], dtype=torch.float64, requires_grad=True)
    root, zero = torch.tensor([ROOT]), torch.zeros(1, dtype=torch.int64)

    def draw(b: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = glyphs(root, zero, b, zero, Windows.whole(1, 2, b.device), 1, 2)
        return out

    assert torch.autograd.gradcheck(draw, (boxes,))


def test_roots_are_cut_as_they_are_drawn(tmp_path: Path) -> None:
    """A hook, then a long bar: half of the cells are the hook's, so its strokes lie in them, and are found again."""
    strokes = [[(0, 60), (10, 100), (30, 0), (400, 0)]]
    (tmp_path / "source").mkdir()
    mathml = '<msqrt><mi xml:id="s0">a</mi></msqrt>'
    ink = inkml(r"\sqrt{a}", mathml.replace("<msqrt", '<msqrt xml:id="s1"'), [
        ("a", [[(150, 40), (170, 60), (150, 60)]]), (r"\sqrt", strokes),
    ])  # fmt: skip
    (tmp_path / "source" / "root.inkml").write_bytes(ink)
    prepare(tmp_path / "source", tmp_path / "data", workers=1)
    data = CrohmeDataset(tmp_path / "data")
    row = data.graphs[0].symbols.index(r"\sqrt")
    evenly, hooked = (cut_symbols(data, 32, hooks)[0][row].astype(float) for hooks in (False, True))
    below = slice(12, 32)  # beneath the bar: the hook alone
    assert evenly[below, 4:].max() < 40, "stretched evenly the hook is lost in the first few columns"
    assert hooked[below, 4:16].max() > 120 and hooked[below, 17:].max() < 40
    assert stands_alone(data).tolist() == [row == 0, row == 1], "the root's guest is wiped, the guest's host is not"
    atlas = GlyphAtlas(1, 32, 1, hooks=True)
    atlas.glyphs.data[ROOT, 0] = torch.from_numpy(hooked / 255)
    zero, box = torch.zeros(1, dtype=torch.int64), torch.from_numpy(data.graphs[0].boxes[row : row + 1])
    drawn = atlas(torch.tensor([ROOT]), zero, box, zero, Windows.whole(1, 64, box.device), 1, 64)[0, 0].detach().numpy()
    a_box = data.graphs[0].boxes[1 - row] * 256
    real = 1 - data.image(0) / 255
    real[int(a_box[1]) - 1 : int(a_box[3]) + 2, int(a_box[0]) - 1 : int(a_box[2]) + 2] = 0
    assert np.corrcoef(drawn.ravel(), real.ravel())[0, 1] > 0.9


def test_a_mode_can_be_chosen_by_both_sides() -> None:
    glyphs = GlyphAtlas(1, 4, 2, fit=True)
    upright, flat = [np.log(0.05), np.log(0.4)], [np.log(0.4), np.log(0.05)]
    sides = torch.tensor([upright, flat]).expand(102, 2, 2)
    glyphs.fill(torch.zeros(102, 2, 4, 4), torch.full((102, 2), 0.5), sides)
    boxes = torch.tensor([[0.1, 0.1, 0.16, 0.5], [0.1, 0.1, 0.5, 0.16]])
    for style in (-1.0, 0.0, 1.0):
        chosen = glyphs.choose(torch.tensor([7, 9]), boxes, torch.tensor([0, 0]), torch.full((2,), style))
        assert chosen.tolist() == [0, 1]


def test_own_ink_stands_in_for_the_first_channel() -> None:
    glyphs = atlas()
    symbols, modes, batch = torch.tensor([5, 9]), torch.tensor([1, 2]), torch.tensor([0, 0])
    boxes, whole = torch.tensor([[0.1, 0.2, 0.7, 0.6], [0.4, 0.1, 0.8, 0.9]]), Windows.whole(1, 8, torch.device("cpu"))
    ink = torch.rand(2, 6, 6)
    drawn = glyphs(symbols, modes, boxes, batch, whole, 1, 8, ink)
    with torch.no_grad():
        glyphs.glyphs[symbols * 3 + modes, 0] = ink
    assert torch.allclose(drawn, glyphs(symbols, modes, boxes, batch, whole, 1, 8), atol=1e-6)


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
