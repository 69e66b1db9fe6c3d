"""box_layout on every backend."""

from __future__ import annotations

import pytest
import torch

from hmeg import backends, ops, reference
from tests.support import boxes as some
from tests.support.operator_checks import (
    Problem,
    cast,
    check_agreement,
    check_compiled,
    check_finite,
    check_gradients,
    check_registration,
    check_repeatable,
    check_threads,
    differentiated,
)
from tests.support.targets import CPU_VARIANTS, Target, targets

EVERYWHERE = pytest.mark.parametrize("backend", targets("box_layout"), indirect=True)
CPU_TARGETS = [f"cpu-{variant}" for variant in CPU_VARIANTS]


def problem(boxes: torch.Tensor, graphs: int, channels: int, size: tuple[int, int]) -> Problem:
    generator = torch.Generator().manual_seed(len(boxes))
    return Problem(
        "box_layout",
        run=lambda t, backend: (ops.box_layout(t["features"], t["boxes"], t["batch"], size, graphs, backend=backend),),
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
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (37, 53), (3, 300), (150, 8)], ids=str)
def test_sizes(backend: Target, size: tuple[int, int]) -> None:
    across_corners = torch.tensor([[-0.21, -0.32, 0.43, 0.54], [0.61, 0.52, 1.43, 1.34]], dtype=torch.float64)
    check_agreement(problem(torch.cat([across_corners, some.ordinary(5)]), 2, 3, size), backend, torch.float64)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_boxes_of_every_width(backend: Target, dtype: torch.dtype) -> None:
    """From none to all of 40 columns, each in another place."""
    widths = torch.linspace(0, 1, 41, dtype=torch.float64)
    left = (1 - widths) * torch.linspace(0, 0.9, 41, dtype=torch.float64)
    boxes = torch.stack([left, 0.2 + 0 * left, left + widths, 0.7 + 0 * left], dim=1)
    check_agreement(problem(boxes, 3, 3, (10, 40)), backend, dtype)


@EVERYWHERE
def test_one_channel_and_none(backend: Target) -> None:
    for channels in (0, 1):
        check_agreement(problem(some.ordinary(5), 2, channels, (8, 12)), backend, torch.float64)


@EVERYWHERE
def test_many_expressions(backend: Target) -> None:
    """Kernels whose tiles depend on the amount of work meet both kinds."""
    check_agreement(problem(some.ordinary(150), 270, 20, (2, 12)), backend, torch.float32)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype) -> None:
    given = problem(some.ordinary(9), 3, 12, (24, 16))
    if dtype not in backend.dtypes:
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            given.run(cast(given.tensors, dtype, "cpu"), backend.name)
        return
    check_agreement(given, backend, dtype)


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


@EVERYWHERE
@pytest.mark.parametrize("coordinate", range(4))
def test_nan_stays_with_its_expression(backend: Target, coordinate: int) -> None:
    """A NaN box makes its expression's layout NaN everywhere, and of the gradients only its own and its features'."""
    given = problem(some.ordinary(6), 3, 2, (12, 20))
    given.tensors["batch"] = torch.tensor([0, 0, 1, 1, 2, 2])
    clean = cast(given.tensors, torch.float64, backend.device)
    spoilt = cast(given.tensors, torch.float64, backend.device)
    spoilt["boxes"][2] = torch.tensor([1.4, 1.4, 1.6, 1.6])  # off-canvas: zero times NaN is NaN all the same
    spoilt["boxes"][2, coordinate] = torch.nan
    (layout,), grads = differentiated(lambda t: given.run(t, backend.name), spoilt, ["features", "boxes"])
    (clean_layout,), clean_grads = differentiated(lambda t: given.run(t, backend.name), clean, ["features", "boxes"])
    assert layout[1].isnan().all()
    assert torch.equal(layout[[0, 2]], clean_layout[[0, 2]])
    others = [0, 1, 3, 4, 5]
    for name, grad in grads.items():
        assert grad[2].isnan().any()
        assert torch.equal(grad[others], clean_grads[name][others])


@pytest.mark.parametrize("backend", CPU_TARGETS, indirect=True)
def test_backward_reads_within_the_support_only(backend: Target) -> None:
    boxes = torch.tensor([[0.3, 0.3, 0.5, 0.6]], dtype=torch.float64)
    given = problem(boxes, 1, 3, (21, 21))
    tensors = cast(given.tensors, torch.float64, backend.device)
    leaves = [tensors[name].requires_grad_() for name in ("features", "boxes")]
    (layout,) = given.run(tensors, backend.name)
    grad = torch.ones_like(layout)
    clean = torch.autograd.grad(layout, leaves, grad, retain_graph=True)
    reach = 1 / 16 + 1e-9  # of a side: where 8 t + 1/2 is zero
    x = torch.linspace(0, 1, 21, dtype=torch.float64)
    grad[..., (x < 0.3 - 0.2 * reach) | (x > 0.5 + 0.2 * reach)] = torch.nan
    grad[..., (x < 0.3 - 0.3 * reach) | (x > 0.6 + 0.3 * reach), :] = torch.nan
    assert grad.isnan().any() and not grad.isnan().all()
    for got, want in zip(torch.autograd.grad(layout, leaves, grad), clean, strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("backend", ["cpu-avx2"], indirect=True)
def test_thread_count_does_not_matter(backend: Target) -> None:
    check_threads(problem(some.ordinary(50), 5, 30, (64, 64)), backend)


@pytest.mark.parametrize("backend", CPU_TARGETS, indirect=True)
def test_blocks_of_a_large_canvas(backend: Target) -> None:
    """More rows than one pass over a block of channels takes."""
    check_agreement(problem(some.ordinary(4), 2, 5, (100, 500)), backend, torch.float64)


@pytest.mark.parametrize("backend", ["cpu-portable"], indirect=True)
@pytest.mark.parametrize(
    ("batch", "place"),
    [([0, 1, 0], r"batch\[2\] = 0 after 1"), ([0, 0, 2], r"batch\[2\] = 2"), ([-1, 0, 0], r"batch\[0\] = -1")],
    ids=str,
)
def test_batch_that_is_not_as_promised(backend: Target, batch: list[int], place: str) -> None:
    message = rf"box_layout: batch must be non-decreasing and in \[0, 2\), got {place}$"
    with pytest.raises(ValueError, match=message):
        ops.box_layout(torch.zeros(3, 2), torch.zeros(3, 4), torch.tensor(batch), (4, 4), 2, backend=backend.name)


def test_is_the_composition() -> None:
    features, boxes, batch = problem(some.ordinary(8), 3, 5, (16, 24)).tensors.values()
    masks = ops.box_soft_mask(boxes, (16, 24))
    layout = ops.box_layout(features, boxes, batch, (16, 24), 3)
    assert torch.allclose(layout, ops.compose_layout(masks, features, batch, 3), atol=1e-13)


@pytest.mark.parametrize("backend", ["reference", "cpu-portable"], indirect=True)
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
