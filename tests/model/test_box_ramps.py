"""Ingredients of masks in plain PyTorch: the reference's values, and its gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hmeg.model.box_ramps import edge_distances, soft_sides
from hmeg.reference.box_soft_mask import MIN_SIDE, box_soft_mask
from hmeg.reference.refine_masks import coordinate_ramps

# Ordinary, inverted, beyond the image, without width, all but without height.
BOXES = [
    [0.2, 0.3, 0.7, 0.5],
    [0.7, 0.5, 0.2, 0.3],
    [-0.4, 0.9, 1.6, 1.2],
    [0.4, 0.1, 0.4, 0.8],
    [0.1, 0.5, 0.6, 0.5 + MIN_SIDE / 2],
]


def fixed_masks(boxes: Tensor) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    return (soft_sides(y0, y1, 19)[:, :, None] * soft_sides(x0, x1, 19)[:, None, :])[:, None]


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (fixed_masks, lambda boxes: box_soft_mask(boxes, (19, 19))),
        (lambda boxes: edge_distances(boxes, 19), lambda boxes: coordinate_ramps(boxes, (19, 19))),
    ],
    ids=["fixed masks", "distances from edges"],
)
def test_values_and_gradients_are_the_references(
    ours: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor]
) -> None:
    results = []
    for function in (ours, reference):
        boxes = torch.tensor(BOXES, dtype=torch.float64, requires_grad=True)
        values = function(boxes)
        weight = torch.randn(values.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad((values * weight).sum(), boxes)
        results.append((values, gradient))
    (values, gradient), (wanted, wanted_gradient) = results
    assert wanted.abs().max() > 0.5 and wanted_gradient.abs().max() > 0.5
    torch.testing.assert_close(values, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=0, atol=1e-9)


def test_no_box_gives_no_mask() -> None:
    none = torch.zeros(0, 4)
    assert fixed_masks(none).shape == (0, 1, 19, 19) and edge_distances(none, 19).shape == (0, 4, 19, 19)
