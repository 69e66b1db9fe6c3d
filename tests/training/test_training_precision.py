"""What makes steps cheaper on the machines that can: bfloat16, channels_last, cheaper products, merged upsampling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.published_operators import conv_beside as concatenated
from hmeg.model.decoder import ImageDecoder
from hmeg.model.upsampling import conv_beside
from hmeg.training.image_trainer import ImageTrainer
from hmeg.training.layout_trainer import LayoutTrainer
from tests.support.training_data import IMAGE, LAYOUT, prepared


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("prepared"))


def test_bfloat16_learns_nearly_the_same(data: Path, tmp_path: Path) -> None:
    exact, coarse = (
        ImageTrainer(data, tmp_path / precision, replace(IMAGE, precision=precision)) for precision in ("fp32", "bf16")
    )
    kinds = set()
    coarse.model.decoder.stages[0].register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    expected, found = (trainer.step(0, trainer.prepare(0)) for trainer in (exact, coarse))
    assert kinds == {torch.bfloat16}, "the decoder follows autocast"
    assert all(weight.dtype == torch.float32 for weight in coarse.model.parameters()), "master weights"
    for name in ("pixel", "box", "mask", "class", "d_class_real"):
        assert float(found[name].detach()) == pytest.approx(float(expected[name].detach()), rel=0.05), name


def test_a_run_begun_with_former_words_goes_on(data: Path, tmp_path: Path) -> None:
    ImageTrainer(data, tmp_path / "run", replace(IMAGE, steps=1, precision="bf16")).train()
    settings = tmp_path / "run" / "config.yaml"
    text = settings.read_text()
    assert "precision: bfloat16\n" in text
    settings.write_text(text.replace("precision: bfloat16\n", "precision: bf16\n"))
    resumed = ImageTrainer(data, tmp_path / "run", replace(IMAGE, steps=2, precision="bfloat16"), resume=True)
    assert resumed.run.step == 1
    settings.write_text(text.replace("precision: bfloat16\n", "precision: fp32\n"))
    with pytest.raises(ValueError, match="precision was 'fp32', now 'bfloat16'"):
        ImageTrainer(data, tmp_path / "run", replace(IMAGE, steps=2, precision="bfloat16"), resume=True)


def test_convolutions_are_channels_last(data: Path, tmp_path: Path) -> None:
    trainer = ImageTrainer(data, tmp_path / "run", IMAGE)
    stage = trainer.model.decoder.stages[1]
    formats = []
    stage.conv2.register_forward_hook(lambda module, inputs, output: formats.extend([*inputs, output]))
    trainer.step(0, trainer.prepare(0))
    assert formats and all(x.is_contiguous(memory_format=torch.channels_last) for x in formats)


def test_products_are_cheaper_while_a_run_goes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = LayoutTrainer(data, tmp_path / "run", replace(LAYOUT, steps=1, matmul_precision="medium"))
    seen, step = [], trainer.step

    def observed(index: int, batch: object) -> dict[str, torch.Tensor]:
        seen.append(torch.get_float32_matmul_precision())
        return step(index, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "step", observed)
    before = torch.get_float32_matmul_precision()
    trainer.train()
    assert seen == ["medium"] and torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(("height", "width"), [(4, 4), (1, 3)])
def test_features_are_convolved_before_they_are_upsampled(height: int, width: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 7, 3, padding=1).double()
    x = torch.randn(2, 3, 2 * height, 2 * width, dtype=torch.float64, requires_grad=True)
    features = torch.randn(2, 2, height, width, dtype=torch.float64, requires_grad=True)
    wanted, got = (function(conv, x, features) for function in (concatenated, conv_beside))
    assert torch.allclose(got, wanted, rtol=1e-12, atol=1e-12)
    leaves, weight = (x, features, *conv.parameters()), torch.randn_like(wanted)
    for a, b in zip(*(torch.autograd.grad(made, leaves, weight) for made in (wanted, got)), strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-11)


def test_gradients_of_the_decoder_are_those_of_the_published_formulation(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    decoder = ImageDecoder(6, (8, 8, 8, 4, 4), 1, 32).double()
    layout = torch.randn(3, 6, 32, 32, dtype=torch.float64)

    def gradients() -> list[torch.Tensor]:
        images = decoder(layout)
        return list(torch.autograd.grad(sum(image.sin().sum() for image in images.values()), decoder.parameters()))

    ours = gradients()
    monkeypatch.setattr("hmeg.model.upsampling.conv_beside", concatenated)
    for a, b in zip(ours, gradients(), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)
