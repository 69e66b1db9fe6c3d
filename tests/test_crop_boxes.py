"""crop_boxes on every backend."""

from __future__ import annotations

import boxes as some
import pytest
import torch
from operator_checks import (
    Problem,
    check_agreement,
    check_compiled,
    check_finite,
    check_gradients,
    check_registration,
    check_repeatable,
)
from targets import Target, targets

from hmeg import ops, reference

EVERYWHERE = pytest.mark.parametrize("backend", targets("crop_boxes"), indirect=True)


def problem(boxes: torch.Tensor, images: tuple[int, int, int, int], size: tuple[int, int]) -> Problem:
    generator = torch.Generator().manual_seed(len(boxes))
    return Problem(
        "crop_boxes",
        run=lambda t, backend: (ops.crop_boxes(t["images"], t["boxes"], t["batch"], size, backend=backend),),
        oracle=lambda t: (reference.crop_boxes(t["images"], t["boxes"], t["batch"], size),),
        tensors={
            "images": torch.randn(images, generator=generator, dtype=torch.float64),
            "boxes": boxes,
            "batch": some.batch_of(len(boxes), images[0]),
        },
    )


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("symbols", "images", "size"),
    [
        (9, (4, 3, 40, 32), (16, 20)),
        (1, (1, 1, 17, 19), (5, 7)),
        (0, (2, 3, 16, 16), (8, 8)),
        (5, (2, 2, 1, 1), (4, 4)),
        (3, (1, 2, 16, 16), (1, 1)),
        (60, (7, 3, 64, 64), (32, 32)),
    ],
    ids=["usual", "one symbol", "no symbols", "one pixel", "one sample", "large"],
)
def test_agrees_with_the_reference(
    backend: Target, dtype: torch.dtype, symbols: int, images: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    check_agreement(problem(some.ordinary(symbols), images, size), backend, dtype)


@EVERYWHERE
def test_degenerate_boxes(backend: Target) -> None:
    given = problem(some.degenerate(), (3, 2, 33, 31), (9, 11))
    check_agreement(given, backend, torch.float64)
    check_finite(given, backend, torch.float32)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_agreement(problem(some.ordinary(9), (3, 2, 20, 24), (8, 8)), backend, torch.float64, strided=True)


@EVERYWHERE
def test_gradcheck_and_repeatable(backend: Target) -> None:
    check_gradients(problem(some.ordinary(5), (3, 2, 9, 8), (5, 6)), backend)
    check_repeatable(problem(some.ordinary(30), (5, 3, 32, 32), (16, 16)), backend, torch.float32)


def test_nan_stays_with_its_symbol() -> None:
    images, boxes, batch = problem(some.ordinary(5), (2, 2, 16, 16), (6, 6)).tensors.values()
    clean = ops.crop_boxes(images, boxes, batch, (6, 6))
    boxes[1, 2] = torch.nan
    crops = ops.crop_boxes(images, boxes, batch, (6, 6))
    assert torch.equal(crops[[0, 2, 3, 4]], clean[[0, 2, 3, 4]])


def test_whole_image_is_itself_resized() -> None:
    images = torch.randn(2, 3, 1, 8, dtype=torch.float64)
    half = 0.5 / 8
    boxes = torch.tensor([[half, 0.5, 1 - half, 0.5]] * 2, dtype=torch.float64)  # from first to last pixel centre
    assert torch.allclose(ops.crop_boxes(images, boxes, torch.arange(2), (1, 8)), images, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference"], indirect=True)
def test_registered_and_compiled(backend: Target) -> None:
    given = problem(some.ordinary(4), (3, 2, 10, 12), (6, 7))
    images, boxes, batch = given.tensors.values()
    leaves = (images.float().requires_grad_(), boxes.float().requires_grad_())
    check_registration("crop_boxes", (*leaves, batch, 6, 7, backend.name))
    grad = torch.randn(4, 2, 6, 7)
    check_registration("crop_boxes_backward", (grad, *(t.detach() for t in leaves), batch, backend.name))
    check_compiled(given, backend)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"images": torch.zeros(2, 8, 8)}, ValueError, r"crop_boxes: images must have shape \(N, C, H, W\)"),
        ({"images": torch.zeros(2, 3, 0, 8)}, ValueError, "images must have at least one row and column"),
        ({"boxes": torch.zeros(3, 3)}, ValueError, r"boxes must have shape \(V, 4\), got \(3, 3\)"),
        ({"batch": torch.zeros(4).long()}, ValueError, r"batch must have shape \(V = 3\), got \(4,\)"),
        ({"size": 8}, ValueError, r"size must be \(height, width\), got 8"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"images": torch.zeros(2, 3, 8, 8), "boxes": torch.zeros(3, 4), "batch": torch.zeros(3).long()}
    with pytest.raises(error, match=message):
        ops.crop_boxes(**{**arguments, "size": (8, 8), **changed})  # type: ignore[arg-type]
