"""Intersection over union of boxes."""

from __future__ import annotations

import pytest
import torch

from hmeg.model.box_iou import box_iou, jaccard_sum

UNIT = [0.0, 0.0, 1.0, 1.0]
CASES = [
    (UNIT, UNIT, 1.0),
    (UNIT, [0.5, 0.0, 1.5, 1.0], 1 / 3),
    (UNIT, [0.25, 0.25, 0.75, 0.75], 0.25),
    (UNIT, [1.0, 0.0, 2.0, 1.0], 0.0),  # they touch
    (UNIT, [3.0, 3.0, 4.0, 4.0], 0.0),
    (UNIT, [1.5, 1.5, 2.5, 2.5], 0.0),  # apart in both directions: two negatives make no overlap
    ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], 0.0),  # no area at all
    ([1.0, 1.0, 0.0, 0.0], UNIT, 0.0),  # inverted
]


def test_values_and_gradients() -> None:
    a = torch.tensor([c[0] for c in CASES], requires_grad=True)
    b = torch.tensor([c[1] for c in CASES])
    assert torch.allclose(box_iou(a, b), torch.tensor([c[2] for c in CASES]))
    assert torch.allclose(box_iou(b, a), box_iou(a, b))
    assert jaccard_sum(a, b).item() == pytest.approx(1 + 1 / 3 + 0.25)
    (gradient,) = torch.autograd.grad(jaccard_sum(a, b), a)
    assert torch.isfinite(gradient).all()


def test_empty_and_wrong_shapes() -> None:
    assert jaccard_sum(torch.zeros(0, 4), torch.zeros(0, 4)).item() == 0
    with pytest.raises(ValueError, match="boxes must both be"):
        box_iou(torch.zeros(2, 4), torch.zeros(3, 4))
