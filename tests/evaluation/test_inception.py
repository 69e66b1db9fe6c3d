"""Our Inception computes what torch-fidelity's and torchvision's compute, and loads nothing else.

The numbers were recorded from FeatureExtractorInceptionV3 of torch-fidelity 0.4.0 and Inception3 of torchvision 0.28.0
(transform_input off, images normalised with its means and deviations), with the weights of inception_weights.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hmeg.evaluation.inception import INCEPTION_2015, INCEPTION_TORCHVISION, load_inception
from tests.support.inception_weights import picture, saved


def test_the_network_of_fid(tmp_path: Path) -> None:
    model = load_inception(saved(tmp_path / "inception.pth", of_2015=True))
    assert model.name == INCEPTION_2015
    features, logits = model(picture(96))
    wanted = torch.tensor([0.0147, 3.8256, 1.9102, 5.7868, 0.0, 0.088])
    torch.testing.assert_close(features[0, ::400], wanted, rtol=1e-4, atol=1e-4)
    wanted = torch.tensor([7.8262, 33.8552, -4.3947, -28.114, -31.2111])
    torch.testing.assert_close(logits[0, ::250], wanted, rtol=1e-4, atol=1e-3)
    assert float(features.mean()) == pytest.approx(8.826571, rel=1e-5)
    assert float(logits.std()) == pytest.approx(20.497887, rel=1e-5)
    grey = picture(64)[:, :1]
    torch.testing.assert_close(model(grey)[0], model(grey.expand(-1, 3, -1, -1))[0])


def test_the_network_of_torchvision(tmp_path: Path) -> None:
    path = saved(tmp_path / "inception.pth", of_2015=False)
    state = torch.load(path, weights_only=True)
    torch.save({**state, "AuxLogits.fc.weight": torch.zeros(1)}, path)  # is in the published file, not needed
    model = load_inception(path)
    assert model.name == INCEPTION_TORCHVISION
    _, logits = model(picture(299))
    torch.testing.assert_close(
        logits[0, ::250], torch.tensor([21.5377, 135.5778, -30.644, -90.243]), rtol=1e-4, atol=1e-3
    )
    assert float(logits.std()) == pytest.approx(77.441872, rel=1e-5)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="not a readable"):
        load_inception(path)
    torch.save({"fc.weight": torch.zeros(10, 5)}, path)
    with pytest.raises(ValueError, match=r"no weights of Inception v3.*pytorch-fid"):
        load_inception(path)
    torch.save({"fc.weight": torch.zeros(1008, 2048)}, path)
    with pytest.raises(ValueError, match=r"weights of another Inception: .*Conv2d"):
        load_inception(path)
    torch.save({"fc.weight": torch.zeros(1008, 5)}, path)
    with pytest.raises(ValueError, match=r"weights of another Inception .*size mismatch"):
        load_inception(path)
