"""box_layout on every backend."""

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

EVERYWHERE = pytest.mark.parametrize("backend", targets("box_layout"), indirect=True)


def problem(boxes: torch.Tensor, graphs: int, channels: int, size: tuple[int, int]) -> Problem:
    generator = torch.Generator().manual_seed(len(boxes))
    return Problem(
        "box_layout",
        run=lambda t, backend: (
            ops.box_layout(t["features"], t["boxes"], t["batch"], size, graphs, backend=backend),
        ),
        oracle=lambda t: (reference.box_layout(t["features"], t["boxes"], t["batch"], size, graphs),),
        tensors={
            "features": torch.randn(len(boxes), channels, generator=generator, dtype=torch.float64),
            "boxes": boxes,
            "batch": some.batch_of(len(boxes), graphs),
        },
    )


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("symbols", "graphs", "channels", "size"),
    [(11, 4, 24, (16, 20)), (1, 1, 3, (9, 7)), (0, 2, 5, (8, 8)), (60, 7, 64, (32, 32))],
    ids=["usual", "one symbol", "no symbols", "large"],
)
def test_agrees_with_the_reference(
    backend: Target, dtype: torch.dtype, symbols: int, graphs: int, channels: int, size: tuple[int, int]
) -> None:
    check_agreement(problem(some.ordinary(symbols), graphs, channels, size), backend, dtype)


@EVERYWHERE
def test_degenerate_boxes(backend: Target) -> None:
    given = problem(some.degenerate(), 3, 6, (36, 44))
    check_agreement(given, backend, torch.float64)
    check_finite(given, backend, torch.float32)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_agreement(problem(some.ordinary(9), 3, 8, (12, 16)), backend, torch.float64, strided=True)


@EVERYWHERE
def test_gradcheck_and_repeatable(backend: Target) -> None:
    check_gradients(problem(some.ordinary(5), 3, 4, (7, 9)), backend)
    check_repeatable(problem(some.ordinary(40), 5, 16, (16, 16)), backend, torch.float32)


def test_is_the_composition() -> None:
    features, boxes, batch = problem(some.ordinary(8), 3, 5, (16, 24)).tensors.values()
    masks = ops.box_soft_mask(boxes, (16, 24))
    layout = ops.box_layout(features, boxes, batch, (16, 24), 3)
    assert torch.allclose(layout, ops.compose_layout(masks, features, batch, 3), atol=1e-13)


@pytest.mark.parametrize("backend", ["reference"], indirect=True)
def test_registered_and_compiled(backend: Target) -> None:
    given = problem(some.ordinary(4), 3, 5, (6, 7))
    features, boxes, batch = given.tensors.values()
    leaves = (features.float().requires_grad_(), boxes.float().requires_grad_())
    check_registration("box_layout", (*leaves, batch, 6, 7, 3, backend.name))
    grad = torch.randn(3, 5, 6, 7)
    check_registration("box_layout_backward", (grad, *(t.detach() for t in leaves), batch, backend.name))
    check_compiled(given, backend)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"features": torch.zeros(3)}, ValueError, r"box_layout: features must have shape \(V, C\), got \(3,\)"),
        ({"boxes": torch.zeros(4, 4)}, ValueError, r"boxes must have shape \(V = 3, 4\), got \(4, 4\)"),
        ({"boxes": torch.zeros(3, 4).half()}, TypeError, "boxes must have the type of features, torch.float32"),
        ({"batch": torch.zeros(3)}, TypeError, "batch must be int64, got torch.float32"),
        ({"size": (8, -1)}, ValueError, r"size must be two integers from 1 to 16777216, got \(8, -1\)"),
        ({"num_graphs": -1}, ValueError, "num_graphs must be at least 0, got -1"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"features": torch.zeros(3, 5), "boxes": torch.zeros(3, 4), "batch": torch.zeros(3).long()}
    with pytest.raises(error, match=message):
        ops.box_layout(**{**arguments, "size": (8, 8), "num_graphs": 2, **changed})  # type: ignore[arg-type]
