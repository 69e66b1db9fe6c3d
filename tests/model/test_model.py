"""What must hold for the networks whatever their weights; the numbers themselves are test_parity's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmeg import ops
from hmeg.graph import Relation, SymbolGraph
from hmeg.model import (
    BASE,
    HMEG,
    SMALL,
    ImageConfig,
    ImageModel,
    LayoutConfig,
    LayoutDiscriminator,
    LayoutGenerator,
    ModelConfig,
    ObjectDiscriminator,
    PatchDiscriminator,
)
from hmeg.model.box_coordinates import SMALLEST_SIDE, box_features, compose_in_boxes, coordinate_channels
from hmeg.model.cost import multiply_adds
from hmeg.model.decoder import ImageDecoder
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.layout import AttentionReadout
from hmeg.model.triple_conv import GraphTripleConv
from hmeg.model.windows import Windows

# A model that costs next to nothing: images of 64, masks of 16.
TINY = ModelConfig(
    name="tiny",
    layout=LayoutConfig(embedding_dim=14, hidden_dim=24, num_layers=3, noise_dim=6),
    image=ImageConfig(
        size=64,
        channels=2,
        embedding_dim=12,
        gconv_dim=10,
        gconv_hidden_dim=24,
        gconv_num_layers=3,
        refinement_dims=(16, 12, 10, 8, 6),
        noise_dim=3,
        mask_hidden_dim=5,
        mask_size=16,
    ),
)
PLAIN_AND_COORDINATES = [TINY, TINY.changed(image={"box_coordinates": True, "symbol_channels": 3})]

GRAPHS = [
    SymbolGraph(("x", "2", "+", "y"), (Relation(0, 1, "Sup"), Relation(0, 2, "Right"), Relation(2, 3, "Right"))),
    SymbolGraph(("a",)),
    SymbolGraph(("-", "b", r"\alpha"), (Relation(0, 1, "Above"), Relation(0, 2, "Below"))),
]


def some_boxes(count: int, seed: int = 0) -> Tensor:
    low = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) * 0.6
    return torch.cat([low, low + 0.15 + low.flip(0) / 3], dim=1)


def noise_for(config: ModelConfig, graph: GraphBatch, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image_shape = (graph.num_graphs, config.image.noise_dim, config.image.size, config.image.size)
    return (
        torch.randn(len(graph.symbols), config.layout.noise_dim, generator=generator),
        torch.randn(image_shape, generator=generator),
    )


def build(config: ModelConfig) -> HMEG:
    """A model whose BatchNorm statistics are not the trivial ones."""
    torch.manual_seed(3)
    model = HMEG(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("config", PLAIN_AND_COORDINATES, ids=["plain", "coordinates"])
@torch.no_grad()
def test_shapes(config: ModelConfig) -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    boxes, out = build(config)(graph, *noise_for(config, graph))
    assert boxes.shape == out.predicted_boxes.shape == (8, 4)
    assert out.masks is None
    assert out.layout.shape == (3, config.layout_channels, 64, 64)
    assert {r: tuple(image.shape) for r, image in out.images.items()} == {r: (3, 2, r, r) for r in (16, 32, 64)}
    assert out.relation_scores is None
    assert all(torch.isfinite(image).all() for image in out.images.values())


@torch.no_grad()
def test_masks_are_made_when_asked_for() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    model, (_, noise) = build(TINY).image_model, noise_for(TINY, graph)
    fused, stored = model(graph, noise), model(graph, noise, masks=True)
    assert fused.masks is None
    assert stored.masks.shape == (8, 1, 16, 16)
    assert torch.equal(stored.masks, model.mask_refiner(stored.predicted_boxes))
    assert torch.allclose(fused.layout, stored.layout, atol=1e-5)
    for resolution, image in fused.images.items():
        assert torch.allclose(image, stored.images[resolution], atol=1e-5)
    assert model.train()(graph, noise).masks is not None


@torch.no_grad()
def test_no_randomness_inside() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    model, noise = build(TINY), noise_for(TINY, graph)
    state = torch.random.get_rng_state()
    first, second = model(graph, *noise), model(graph, *noise)
    assert torch.equal(first[1].images[64], second[1].images[64])
    assert torch.equal(state, torch.random.get_rng_state())
    other = model(graph, *noise_for(TINY, graph, seed=2))
    assert not torch.allclose(first[0], other[0])
    assert not torch.allclose(first[1].images[64], other[1].images[64])


@pytest.mark.parametrize("config", PLAIN_AND_COORDINATES, ids=["plain", "coordinates"])
@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch(config: ModelConfig) -> None:
    model, whole = build(config), GraphBatch.from_graphs(GRAPHS)
    box_noise, image_noise = noise_for(config, whole)
    boxes, together = model(whole, box_noise, image_noise)
    for i, graph in enumerate(GRAPHS):
        rows = whole.batch == i
        alone_boxes, alone = model(GraphBatch.from_graphs([graph]), box_noise[rows], image_noise[i : i + 1])
        assert (alone_boxes - boxes[rows]).abs().max() < 1e-5
        for resolution, image in alone.images.items():
            assert (image[0] - together.images[resolution][i]).abs().max() < 1e-5


@pytest.mark.parametrize("config", PLAIN_AND_COORDINATES, ids=["plain", "coordinates"])
@torch.no_grad()
def test_the_order_of_symbols_does_not_matter(config: ModelConfig) -> None:
    model, graph = build(config), GRAPHS[0]
    order = [2, 0, 3, 1]
    relations = tuple(Relation(order.index(r.subject), order.index(r.object), r.name) for r in graph.relations)
    permuted = SymbolGraph(tuple(graph.symbols[i] for i in order), relations)
    batch = GraphBatch.from_graphs([graph])
    box_noise, image_noise = noise_for(config, batch)
    boxes, out = model(batch, box_noise, image_noise)
    permuted_boxes, permuted_out = model(GraphBatch.from_graphs([permuted]), box_noise[order], image_noise)
    assert (permuted_boxes - boxes[order]).abs().max() < 1e-5
    assert (permuted_out.images[64] - out.images[64]).abs().max() < 1e-5
    assert (boxes[0] - boxes[1]).abs().max() > 1e-3, "boxes that are all the same would prove nothing"


@pytest.mark.parametrize("prior", [False, True])
@torch.no_grad()
def test_noise_of_another_size(prior: bool) -> None:
    layout = build(TINY.changed(layout={"prior": prior})).layout_generator
    if prior:
        layout.correction[-1].weight.normal_()  # zero before training
    graph = GraphBatch.from_graphs(GRAPHS, typeset=prior)
    noise = torch.randn(len(graph.symbols), TINY.layout.noise_dim, generator=torch.Generator().manual_seed(0))
    wanted, as_it_is = layout(graph, 0.5 * noise), layout(graph, noise)
    layout.scale_noise(0.5)
    torch.testing.assert_close(layout(graph, noise), wanted)
    assert not torch.allclose(wanted, as_it_is, atol=1e-3)


@pytest.mark.parametrize("prior", [False, True])
def test_shared_noise_is_that_of_each_expressions_first_symbol(prior: bool) -> None:
    shared, dim = 2, TINY.layout.noise_dim
    layout = build(TINY.changed(layout={"shared_noise": shared, "prior": prior})).layout_generator
    if prior:
        torch.nn.init.normal_(layout.correction[-1].weight)  # zero before training
    graph = GraphBatch.from_graphs([GRAPHS[2], SymbolGraph(("a", "2"), (Relation(0, 1, "Sup"),))], typeset=prior)
    noise = torch.randn(5, dim, generator=torch.Generator().manual_seed(0))
    boxes = layout(graph, noise)

    def moved(symbol: int, column: int) -> list[int]:
        other = noise.clone()
        other[symbol, column] += 1
        return (layout(graph, other) != boxes).any(dim=1).nonzero().flatten().tolist()

    assert moved(0, dim - 1) == [0, 1, 2] and moved(3, dim - shared) == [3, 4]
    assert moved(1, dim - 1) == moved(4, dim - shared) == []
    assert moved(0, dim - shared - 1) == [0] and moved(4, 0) == [4]


@torch.no_grad()
def test_relations_matter() -> None:
    """The same symbols and noise in another relation give other boxes and another image."""
    model = build(TINY.changed(layout={"kaiming_init": True}))
    sup = SymbolGraph(("x", "2"), (Relation(0, 1, "Sup"),))
    sub = SymbolGraph(("x", "2"), (Relation(0, 1, "Sub"),))
    batch = GraphBatch.from_graphs([sup, sub])
    box_noise, image_noise = noise_for(TINY, batch)
    box_noise[2:], image_noise[1] = box_noise[:2], image_noise[0]
    boxes = model.layout_generator(batch, box_noise)
    assert (boxes[:2] - boxes[2:]).abs().max() > 1e-4
    out = model.image_model(batch, image_noise, some_boxes(2).repeat(2, 1))
    assert (out.images[64][0] - out.images[64][1]).abs().max() > 1e-5


@torch.no_grad()
def test_fewer_resolutions_are_the_same_images() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    model, (_, noise) = build(TINY).image_model, noise_for(TINY, graph)
    everything = model(graph, noise, some_boxes(8)).images
    ran: list[int] = []
    for i, stage in enumerate(model.decoder.stages):
        stage.register_forward_hook(lambda *_, i=i: ran.append(i))
    for wanted, stages in (((16,), 3), ((32,), 4), ((16, 32), 4), ((64,), 5), ([64, 16], 5)):
        ran.clear()
        images = model(graph, noise, some_boxes(8), wanted).images
        assert set(images) == set(wanted)
        assert ran == list(range(stages))
        for resolution, image in images.items():
            assert (image - everything[resolution]).abs().max() < 1e-6
    for wrong in ((48,), (), (256, 16)):
        with pytest.raises(ValueError, match="resolutions must be some of"):
            model(graph, noise, some_boxes(8), wrong)


@pytest.mark.parametrize("config", PLAIN_AND_COORDINATES, ids=["plain", "coordinates"])
def test_gradients_reach_every_weight(config: ModelConfig) -> None:
    graph = GraphBatch.from_graphs(GRAPHS * 3)
    model, (box_noise, image_noise) = build(config).train(), noise_for(config, graph)
    out = model.image_model(graph, image_noise, some_boxes(24), relation_scores=True)
    assert out.relation_scores is not None
    assert out.relation_scores.shape == (graph.edge_index.shape[1], 13)
    loss = sum(image.square().mean() for image in out.images.values())
    loss = loss + out.predicted_boxes.square().sum() + out.relation_scores.square().sum()
    loss = loss + model.layout_generator(graph, box_noise).square().sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_images_are_differentiable_in_boxes_and_noise() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    for config in PLAIN_AND_COORDINATES:
        _, noise = noise_for(config, graph)
        boxes, noise = some_boxes(8).requires_grad_(), noise.requires_grad_()
        build(config).image_model(graph, noise, boxes).images[64].square().sum().backward()
        assert boxes.grad is not None
        assert noise.grad is not None
        assert torch.isfinite(boxes.grad).all()
        assert (boxes.grad.abs().amax(dim=1) > 0).all()
        assert (noise.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_training_updates_the_mask_statistics() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    model, (_, noise) = build(TINY).image_model, noise_for(TINY, graph)
    norm = model.mask_refiner.norm
    before = norm.running_mean.clone()
    model(graph, noise, some_boxes(8))
    assert torch.equal(norm.running_mean, before)
    assert norm.num_batches_tracked == 0
    model.train()(graph, noise, some_boxes(8))
    assert not torch.allclose(norm.running_mean, before)
    assert norm.num_batches_tracked == 1


@torch.no_grad()
def test_bfloat16_channels_last() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    config = PLAIN_AND_COORDINATES[1]
    model, noise = build(config), noise_for(config, graph)
    boxes, exact = model(graph, *noise)
    exact_masks = model.image_model(graph, noise[1], boxes, masks=True).masks
    model.to(memory_format=torch.channels_last)
    formats = []
    for stage in model.image_model.decoder.stages:
        stage.register_forward_pre_hook(
            lambda _, args: formats.append(args[0].is_contiguous(memory_format=torch.channels_last))
        )
    with torch.autocast("cpu", torch.bfloat16):
        boxes_again, out = model(graph, *noise)
        assert formats == [True] * 5
        masks = model.image_model(graph, noise[1], boxes, masks=True).masks
    assert torch.equal(boxes, boxes_again), "layouts and masks stay in full precision"
    assert torch.equal(exact_masks, masks)
    for resolution, image in out.images.items():
        assert image.dtype == torch.bfloat16
        error = (image.float() - exact.images[resolution]).abs().max() / exact.images[resolution].abs().max()
        assert error < 0.05


@torch.no_grad()
def test_double_precision() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    model, noise = build(TINY), noise_for(TINY, graph)
    single = model(graph, *noise)[1].images[64]
    double = model.double()(graph, *(n.double() for n in noise))[1].images[64]
    assert double.dtype == torch.float64
    assert (double - single).abs().max() < 1e-4


@torch.no_grad()
def test_wrong_inputs_are_named() -> None:
    graph = GraphBatch.from_graphs(GRAPHS)
    model, (box_noise, image_noise) = build(TINY), noise_for(TINY, graph)
    with pytest.raises(ValueError, match=r"noise must be \(8, 6\): one row per symbol; got \(7, 6\)"):
        model.layout_generator(graph, box_noise[1:])
    with pytest.raises(ValueError, match=r"noise must be \(3, 3, 64, 64\), got \(3, 3, 32, 64\)"):
        model.image_model(graph, image_noise[:, :, ::2])
    with pytest.raises(ValueError, match=r"boxes must be \(8, 4\), got \(4, 4\)"):
        model.image_model(graph, image_noise, some_boxes(4))


# --- parts of the graph networks -------------------------------------------------------------------------------------


@torch.no_grad()
def test_readout_against_its_formula() -> None:
    torch.manual_seed(0)
    readout, x, sizes = AttentionReadout(5), torch.randn(7, 5), (4, 0, 1, 2)
    result = readout(x, torch.repeat_interleave(torch.arange(4), torch.tensor(sizes)), 4)
    for whole, rows in zip(result, x.split(sizes), strict=True):
        expected = torch.zeros(5)
        if len(rows):
            context = torch.tanh(sum(row @ readout.weight for row in rows) / len(rows))
            expected = sum((torch.sigmoid(row @ context) * row for row in rows), expected)
        assert (whole - expected).abs().max() < 1e-5


@torch.no_grad()
def test_triple_convolution_takes_averages() -> None:
    """Every edge twice is as good as once."""
    torch.manual_seed(0)
    conv, x, e = GraphTripleConv(4, 6, 5), torch.randn(3, 4), torch.randn(4, 4)
    edges = torch.tensor([[0, 0, 1, 2], [1, 2, 2, 2]])
    once, _ = conv(x, e, edges)
    twice, _ = conv(x, torch.cat([e, e]), torch.cat([edges, edges], dim=1))
    assert once.abs().max() > 0
    assert (once - twice).abs().max() < 1e-6


# --- the decoder -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_decoder_against_its_description() -> None:
    """Stage by stage, with the all-zero first feature map written out and the layout pooled from full size."""
    torch.manual_seed(0)
    decoder = ImageDecoder(4, (7, 6, 5, 4, 3), 2, 64).eval()
    layout = torch.randn(2, 4, 64, 64)
    features = torch.zeros(2, 0, 2, 2)
    expected = {}
    for i, stage in enumerate(decoder.stages):
        side = 4 * 2**i
        features = nn.functional.interpolate(features, size=(side, side)) if i else torch.zeros(2, 0, side, side)
        features = stage(torch.cat([nn.functional.adaptive_avg_pool2d(layout, side), features], dim=1))
        if i >= 2:
            expected[side] = decoder.heads[i - 2](features)
            features = torch.cat([features, expected[side]], dim=1)
    for resolution, image in decoder(layout).items():
        assert (image - expected[resolution]).abs().max() < 1e-5


def test_small_is_a_sixteenth_of_base() -> None:
    base, small = multiply_adds(BASE), multiply_adds(SMALL)
    # by hand: the last stage of base, 3x3 convolutions 291 -> 64 and 64 -> 64, and its head, at 256 x 256
    last_stage = 256**2 * (9 * 291 * 64 + 9 * 64 * 64 + 9 * 64 * 64 + 64 * 3)
    assert last_stage < base["decoder"] < 5 * last_stage
    assert base["upsampler"] == 4 * 128 * 128 * (128**2 + 256**2)
    assert 15 < base["decoder"] / small["decoder"] < 18


# --- box coordinates -------------------------------------------------------------------------------------------------


def test_box_coordinates_against_a_direct_computation() -> None:
    boxes = torch.tensor(
        [[0.1, 0.2, 0.6, 0.9], [0.5, 0.5, 0.5001, 0.75], [0.8, 0.6, 0.7, 0.4], [-0.2, 0.3, 1.4, 0.35]]
    ).double()
    batch = torch.tensor([0, 0, 1, 1])
    masks = torch.rand(4, 1, 6, 9, generator=torch.Generator().manual_seed(0)).double()
    result = coordinate_channels(ops.compose_layout(masks, box_features(boxes), batch, 2))
    expected = np.zeros((2, 5, 6, 9))
    for v in range(4):
        x0, y0, x1, y1 = boxes[v].tolist()
        w, h = max(x1 - x0, SMALLEST_SIDE), max(y1 - y0, SMALLEST_SIDE)
        left, top = (x0 + x1) / 2 - w / 2, (y0 + y1) / 2 - h / 2
        for i in range(6):
            for j in range(9):
                across, down = 2 * (j / 8 - left) / w - 1, 2 * (i / 5 - top) / h - 1
                expected[batch[v], :, i, j] += masks[v, 0, i, j].item() * np.array(
                    [1, across, down, np.log(w), np.log(h)]
                )
    assert np.abs(result.numpy() - expected).max() < 1e-12


def test_box_coordinates_run_from_minus_one_to_one_and_stay_in_the_box() -> None:
    box = torch.tensor([[0.25, 0.25, 0.75, 0.75]]).double()
    cover, across, down, *_ = compose_in_boxes(None, box, torch.zeros(1, dtype=torch.int64), 64, 1)[0]
    assert cover[32, 32] == 1 and cover[:, :13].abs().max() == 0
    centres = (torch.arange(18, 46).double() + 0.5) / 64  # pixel centres inside the box
    assert torch.allclose(across[32, 18:46], (centres - 0.5) / 0.25, atol=1e-12)
    assert torch.allclose(down, across.T)
    assert across.abs().max() <= 1.25


def test_a_symbol_looks_the_same_wherever_it_stands() -> None:
    batch = torch.zeros(1, dtype=torch.int64)
    here = compose_in_boxes(None, torch.tensor([[0.125, 0.25, 0.25, 0.5]]).double(), batch, 64, 1)
    there = compose_in_boxes(None, torch.tensor([[0.625, 0.375, 0.75, 0.625]]).double(), batch, 64, 1)
    assert torch.allclose(here.roll((8, 32), (2, 3)), there, atol=1e-12)


def test_box_coordinates_gradients() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.6, 0.9], [0.5, 0.5, 0.53, 0.75]]).double().requires_grad_()
    vectors = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    batch = torch.zeros(2, dtype=torch.int64)
    weight = torch.rand(1, 8, 7, 7, generator=torch.Generator().manual_seed(1)).double()

    def channels(b: Tensor, v: Tensor) -> Tensor:
        return compose_in_boxes(v, b, batch, 7, 1) * weight

    assert torch.autograd.gradcheck(channels, (boxes, vectors))
    degenerate = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.9, 0.9, 0.1, 0.1]]).double().requires_grad_()
    (gradient,) = torch.autograd.grad(channels(degenerate, vectors).sum(), degenerate)
    assert torch.isfinite(gradient).all()


@torch.no_grad()
def test_channels_in_boxes_come_after_the_upsampled_node_vectors() -> None:
    """Coordinates, then symbol vectors; both are part of the layout that the model reports."""
    config = TINY.changed(image={"box_coordinates": True, "symbol_channels": 3})
    graph, boxes = GraphBatch.from_graphs(GRAPHS), some_boxes(8)
    model = build(config).image_model
    layout = model(graph, noise_for(config, graph)[1], boxes).layout
    assert layout.shape == (3, config.image.gconv_dim + 5 + 3, config.image.size, config.image.size)
    assert model.symbol_vectors is not None
    in_boxes = compose_in_boxes(model.symbol_vectors(graph.symbols), boxes, graph.batch, config.image.mask_size, 3)
    expected = F.interpolate(in_boxes, scale_factor=4.0, mode="bilinear")
    assert torch.allclose(layout[:, config.image.gconv_dim :], expected)


@pytest.mark.parametrize("config", PLAIN_AND_COORDINATES, ids=["plain", "coordinates"])
@torch.no_grad()
def test_windows_are_parts_of_the_whole_image(config: ModelConfig) -> None:
    """Away from a window's border, which the convolutions cannot look beyond, it is what the whole image shows."""
    # Three stages: a receptive field that fits into a window.
    config = config.changed(image={"refinement_dims": (6, 5, 4)})
    graph, boxes = GraphBatch.from_graphs(GRAPHS), some_boxes(8)
    model = build(config).image_model
    noise = noise_for(config, graph)[1]
    windows = Windows(torch.tensor([0, 2]), torch.tensor([0, 4]), torch.tensor([4, 0]), side=12)
    whole = model(graph, noise, boxes)
    part = model(graph, windows.cut(noise, 4), boxes, windows=windows)
    middle = slice(22, 26)
    for i, (expression, top, left) in enumerate([(0, 0, 16), (2, 16, 0)]):
        expected = whole.images[64][expression, :, top : top + 48, left : left + 48]
        assert torch.allclose(part.images[64][i, :, middle, middle], expected[:, middle, middle], atol=1e-5)
    assert part.images[16].shape == (2, 2, 12, 12)


def test_symbol_channels_need_box_coordinates() -> None:
    with pytest.raises(ValueError, match="box_coordinates"):
        TINY.changed(image={"symbol_channels": 3})


# --- discriminators --------------------------------------------------------------------------------------------------


def _assert_trained(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("channels", [1, 3])
def test_image_discriminators(channels: int) -> None:
    torch.manual_seed(0)
    graph = GraphBatch.from_graphs(GRAPHS)
    images = torch.rand(3, channels, 64, 64, requires_grad=True)
    patches, objects = PatchDiscriminator(channels), ObjectDiscriminator(channels)
    patch_scores = patches(images)
    scores, logits = objects(images, some_boxes(8), graph.symbols, graph.batch)
    assert patch_scores.shape == (3, 256, 6, 6)
    assert scores.shape == (8, 1)
    assert logits.shape == (8, 102)
    loss = patch_scores.square().mean() + scores.square().mean() + nn.functional.cross_entropy(logits, graph.symbols)
    loss.backward()
    _assert_trained(patches)
    _assert_trained(objects)
    assert images.grad is not None
    assert images.grad.abs().amax(dim=(1, 2, 3)).min() > 0


@torch.no_grad()
def test_object_discriminator_looks_at_its_own_image() -> None:
    torch.manual_seed(0)
    model = ObjectDiscriminator(1).eval()
    images, boxes = torch.rand(2, 1, 64, 64), some_boxes(3)
    scores, _ = model(images, boxes, None, torch.tensor([0, 1, 1]))
    changed = images.clone()
    changed[0] = 0
    again, _ = model(changed, boxes, None, torch.tensor([0, 1, 1]))
    assert not torch.allclose(scores[0], again[0])
    assert torch.equal(scores[1:], again[1:])
    with torch.autocast("cpu", torch.bfloat16):
        low, _ = model(images.bfloat16(), boxes, None, torch.tensor([0, 1, 1]))
    assert (low.float() - scores).abs().max() < 0.05


def test_layout_discriminator() -> None:
    torch.manual_seed(0)
    graph = GraphBatch.from_graphs(GRAPHS * 2)
    model = LayoutDiscriminator()
    boxes = some_boxes(16).requires_grad_()

    def validity(b: Tensor) -> Tensor:
        return model(graph.symbols, b, graph.edge_index, graph.edge_type, graph.batch, graph.num_graphs)

    result = validity(boxes)
    assert result.shape == (6, 1)
    assert ((result > 0) & (result < 1)).all()
    result.sum().backward()
    _assert_trained(model)
    assert boxes.grad is not None
    assert boxes.grad.abs().max() > 0
    # standardised: shifting and stretching all boxes changes nothing
    model.eval()
    moved = validity(boxes.detach() * 0.5 + 0.1)
    assert (moved - validity(boxes.detach())).abs().max() < 1e-4


def test_layout_discriminator_statistics_carry_no_gradient() -> None:
    """With gradient through mean and deviation, moving all boxes alike would have no effect to first order."""
    torch.manual_seed(1)
    graph = GraphBatch.from_graphs(GRAPHS)
    model, boxes = LayoutDiscriminator().eval(), some_boxes(8).requires_grad_()
    arguments = (graph.edge_index, graph.edge_type, graph.batch, graph.num_graphs)
    model(graph.symbols, boxes, *arguments).sum().backward()
    assert boxes.grad is not None
    assert boxes.grad.sum(dim=0).abs().max() > 1e-4
    # one symbol has no deviation: finite all the same
    alone = torch.zeros(1, dtype=torch.int64)
    score = model(torch.tensor([5]), torch.rand(1, 4), torch.zeros(2, 1, dtype=torch.int64), alone, alone, 1)
    assert torch.isfinite(score).all()


# --- how networks start ----------------------------------------------------------------------------------------------


def test_initialisation() -> None:
    torch.manual_seed(0)
    for network in (LayoutGenerator(BASE), LayoutDiscriminator()):
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear):
                fan_out, fan_in = module.weight.shape
                assert module.bias.abs().max() == 0
                if module.weight.numel() > 5000:
                    wanted = (2 / (fan_in + fan_out)) ** 0.5
                    assert module.weight.std().item() == pytest.approx(wanted, rel=0.05), name


@pytest.mark.parametrize("config", [BASE, SMALL], ids=lambda c: c.name)
@torch.no_grad()
def test_signals_survive_the_graph_convolutions(config: ModelConfig) -> None:
    """At the start already, different symbols have different vectors, of a size that a decoder can use."""
    torch.manual_seed(0)
    graph = GraphBatch.from_graphs([GRAPHS[0], GRAPHS[2]])
    networks: list[ImageModel | LayoutGenerator] = [ImageModel(config)]
    if config.layout.kaiming_init:
        networks.append(LayoutGenerator(config))
    for network in networks:
        nodes, _ = network.encoder(graph.symbols, graph.edge_index, graph.edge_type)
        assert nodes.abs().mean() > 0.05
        assert nodes.std(dim=0).mean() > 0.005


def test_embeddings_keep_the_published_rows() -> None:
    model = LayoutGenerator(SMALL)
    assert model.encoder.symbol_embedding.weight.shape == (103, 64)
    assert model.encoder.relation_embedding.weight.shape == (13, 64)
