"""The decoder and the upsampler made for inference: the same images as the networks they are made from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hmeg.graph.latex import parse_latex
from hmeg.model import ModelConfig
from hmeg.model.decoder import ImageDecoder
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.image_model import ImageModel
from hmeg.model.inference_decoder import InferenceDecoder, InferenceUpsampler
from hmeg.model.mask import LayoutUpsampler
from hmeg.model.upsampling import merged_upsampling
from tests.support.tiny_model import TINY

TOLERANCE = 1e-4  # of images, whose range is about [0, 1]


def with_statistics(module):
    """Batch norms with statistics and weights of any sign, so that folding them wrongly shows."""
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        with torch.no_grad():
            norm.running_mean.normal_(0, 0.5)
            norm.running_var.uniform_(0.3, 2)
            norm.weight.normal_(0.5, 0.7)
            norm.bias.normal_(0, 0.5)
    return module.eval()


def decoder_of(layout_channels, dims, image_channels, size):
    torch.manual_seed(1)
    return with_statistics(ImageDecoder(layout_channels, dims, image_channels, size))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (7, 4)])
def test_merged_upsampling_is_upsampling_then_convolution(height, width):
    torch.manual_seed(0)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    wanted = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    got = F.conv_transpose2d(x, merged_upsampling(weight), stride=2, padding=1)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("layout_channels", "dims", "image_channels", "size"),
    [(20, (64, 32, 16, 8, 4), 3, 64), (31, (32, 16, 8, 8), 1, 64), (5, (6, 7, 3), 2, 32)],
    ids=["base-like", "small-like", "odd"],
)
def test_same_images(layout_channels, dims, image_channels, size, batch):
    decoder = decoder_of(layout_channels, dims, image_channels, size)
    layout = torch.randn(batch, layout_channels, size, size)
    made = InferenceDecoder(decoder)
    assert isinstance(made, InferenceDecoder)
    with torch.inference_mode():
        wanted = decoder(layout)
        for given in (layout, layout.contiguous(memory_format=torch.channels_last)):
            got = made(given)
            assert list(got) == list(decoder.resolutions)
            for resolution, image in got.items():
                scale = wanted[resolution].abs().max().clamp(min=1)
                assert image.shape == wanted[resolution].shape
                assert (image - wanted[resolution]).abs().max() <= TOLERANCE * scale


def test_float64_differs_by_rounding_only():
    decoder = decoder_of(9, (16, 8, 8, 4), 3, 32).double()
    layout = torch.randn(2, 9, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(InferenceDecoder(decoder)(layout), decoder(layout), rtol=0, atol=1e-12)


def test_layouts_of_any_size_that_halves():
    """Windows of an image: the decoder is convolutional, sides need not be the image's, nor equal, nor powers of 2."""
    decoder = decoder_of(6, (8, 8, 8, 8), 1, 64).double()
    layout = torch.randn(1, 6, 24, 40, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(InferenceDecoder(decoder)(layout), decoder(layout), rtol=0, atol=1e-12)


def test_only_the_resolutions_asked_for_are_computed():
    decoder = decoder_of(4, (8, 8, 8, 8), 1, 64)
    made = InferenceDecoder(decoder)
    calls = []
    for i, stage in enumerate(made.stages):
        stage.register_forward_hook(lambda *_, i=i: calls.append(i))
    layout = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        wanted = decoder(layout)
        assert set(made(layout, (16,))) == {16}
        assert calls == [0, 1]
        got = made(layout, [64, 16])
    assert set(got) == {16, 64}
    torch.testing.assert_close(got[64], wanted[64], rtol=0, atol=TOLERANCE)
    for refused in ((), (100,), (16, 17)):
        with pytest.raises(ValueError, match=r"resolutions must be some of \(16, 32, 64\)"):
            made(layout, refused)


@pytest.mark.parametrize("batch", [1, 4])
def test_same_layout(batch):
    torch.manual_seed(2)
    upsampler = with_statistics(LayoutUpsampler(12))
    assert (upsampler.norm.weight < 0).any()
    assert (upsampler.norm.weight > 0).any()
    x = torch.randn(batch, 12, 9, 16)
    made = InferenceUpsampler(upsampler)
    assert isinstance(made, InferenceUpsampler)
    with torch.inference_mode():
        torch.testing.assert_close(made(x), upsampler(x), rtol=0, atol=TOLERANCE)
        exact = upsampler.double()
        torch.testing.assert_close(InferenceUpsampler(exact)(x.double()), exact(x.double()), rtol=0, atol=1e-12)


def test_bfloat16_by_weights_and_by_autocast():
    decoder = decoder_of(8, (16, 16, 8), 1, 32)
    layout = torch.randn(2, 8, 32, 32)
    made = InferenceDecoder(decoder)
    with torch.inference_mode():
        wanted = decoder(layout)[32]
        with torch.autocast("cpu", torch.bfloat16):
            by_autocast = made(layout)[32]
        by_weights = made.to(torch.bfloat16)(layout)[32]
    for image in (by_autocast, by_weights):
        assert image.dtype == torch.bfloat16
        # seven rounded layers, 2**-9 each, on values of the size of the largest
        assert (image.float() - wanted).abs().max() < 7 * 2**-8 * wanted.abs().max()


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        TINY.changed(image={"channels": 3, "refinement_dims": (16, 12, 8, 8)}),
        ModelConfig.named("small").changed(image={"size": 64, "mask_size": 16, "refinement_dims": (32, 16, 16, 8)}),
    ],
    ids=["tiny", "colour", "small-like"],
)
def test_image_model_for_inference(config):
    torch.manual_seed(3)
    model = with_statistics(ImageModel(config))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = GraphBatch.from_graphs([parse_latex(text) for text in (r"\frac{a}{b}", "x^2 + 1", "y")])
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (len(batch.symbols), 2, 2)).astype(np.float32)
    boxes = torch.from_numpy(np.concatenate([corners.min(1), corners.max(1)], axis=1))
    noise = torch.randn(3, config.image.noise_dim, 64, 64)
    made = model.for_inference()
    with torch.inference_mode():
        wanted, got = model(batch, noise, boxes), made(batch, noise, boxes)
        for resolution in config.resolutions:
            scale = wanted.images[resolution].abs().max().clamp(min=1)
            assert (got.images[resolution] - wanted.images[resolution]).abs().max() <= TOLERANCE * scale
        torch.testing.assert_close(got.layout, wanted.layout, rtol=0, atol=TOLERANCE)
    assert isinstance(model.decoder, ImageDecoder), "the model it was made from is what it was"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
