"""box_soft_mask on every backend."""

from __future__ import annotations

import numpy as np
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
    cotangents,
    differentiated,
)
from tests.support.published_numbers import numbers
from tests.support.targets import Target, targets

EVERYWHERE = pytest.mark.parametrize("backend", targets("box_soft_mask"), indirect=True)
SIZES = {
    "square": (64, 64),
    "oblong": (48, 80),
    "odd": (37, 53),  # rows that no pack of 16 bytes fits
    "tall": (150, 8),  # several tiles
    "wide": (3, 300),  # several column blocks
    "point": (1, 1),
    "row": (1, 9),
}


def problem(boxes: torch.Tensor, size: tuple[int, int]) -> Problem:
    return Problem(
        "box_soft_mask",
        run=lambda t, backend: (ops.box_soft_mask(t["boxes"], size, backend=backend),),
        oracle=lambda t: (reference.box_soft_mask(t["boxes"], size),),
        tensors={"boxes": boxes},
    )


@EVERYWHERE
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_agrees_with_the_reference(backend: Target, dtype: torch.dtype, size: tuple[int, int]) -> None:
    check_agreement(problem(some.ordinary(12), size), backend, dtype)


@EVERYWHERE
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)], ids=str)
def test_a_single_row_or_column_lies_at_zero(backend: Target, size: tuple[int, int]) -> None:
    """As linspace(0, 1, 1) has it; boxes inside the image hardly reach there, so these lie across its corners."""
    boxes = torch.tensor([[-0.21, -0.32, 0.43, 0.54], [0.61, 0.52, 1.43, 1.34]], dtype=torch.float64)
    masks = reference.box_soft_mask(boxes, size)
    assert masks[0].max() == 1 and masks[1].max() == 0
    check_agreement(problem(boxes, size), backend, torch.float64)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype) -> None:
    if dtype not in backend.dtypes:
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            ops.box_soft_mask(torch.zeros(1, 4, dtype=dtype), (8, 8), backend=backend.name)
        return
    for size in ((64, 64), (37, 53)):
        check_agreement(problem(some.ordinary(12), size), backend, dtype)


@EVERYWHERE
@pytest.mark.parametrize("count", [0, 1])
def test_few_symbols(backend: Target, count: int) -> None:
    check_agreement(problem(some.ordinary(count), (16, 24)), backend, torch.float32)


@EVERYWHERE
def test_many_symbols(backend: Target) -> None:
    check_agreement(problem(some.ordinary(120, seed=2), (16, 16)), backend, torch.float64)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_agreement(problem(some.ordinary(9), (20, 32)), backend, torch.float64, strided=True)


@EVERYWHERE
def test_degenerate_boxes(backend: Target) -> None:
    given = problem(some.degenerate(), (36, 44))
    check_agreement(given, backend, torch.float64)
    check_finite(given, backend, torch.float32)


@EVERYWHERE
def test_nothing_to_enclose(backend: Target) -> None:
    (masks,), grads = differentiated(
        lambda t: (ops.box_soft_mask(t["boxes"], (33, 33), backend=backend.name),),
        cast({"boxes": some.degenerate()[:5]}, torch.float64, backend.device),
        ["boxes"],
    )
    assert not masks.any()
    assert not grads["boxes"].any()


@EVERYWHERE
@pytest.mark.parametrize("coordinate", range(4))
def test_nan_stays_with_its_symbol(backend: Target, coordinate: int) -> None:
    clean = some.ordinary(5)
    spoilt = clean.clone()
    spoilt[2, coordinate] = torch.nan
    (masks,), grads = differentiated(
        lambda t: (ops.box_soft_mask(t["boxes"], (20, 20), backend=backend.name),),
        cast({"boxes": spoilt}, torch.float64, backend.device),
        ["boxes"],
    )
    (clean_masks,), clean_grads = differentiated(
        lambda t: (ops.box_soft_mask(t["boxes"], (20, 20), backend=backend.name),),
        cast({"boxes": clean}, torch.float64, backend.device),
        ["boxes"],
    )
    others = [0, 1, 3, 4]
    assert masks[2].isnan().all()
    assert grads["boxes"][2].isnan().any()
    assert torch.equal(masks[others], clean_masks[others])
    assert torch.equal(grads["boxes"][others], clean_grads["boxes"][others])


@EVERYWHERE
@pytest.mark.parametrize("size", [(64, 64), (48, 80)], ids=str)
def test_published_numbers(backend: Target, size: tuple[int, int]) -> None:
    published = numbers("reference")
    boxes = published["box_mask.boxes"].double().to(backend.device).requires_grad_()
    want_masks = published[f"box_mask.{size[0]}x{size[1]}.mask"].double()
    want_grads = published[f"box_mask.{size[0]}x{size[1]}.grad_boxes"].double()
    masks = ops.box_soft_mask(boxes, size, backend=backend.name)
    noise = np.random.RandomState(77).standard_normal(tuple(masks.shape)).astype(np.float32)
    (grads,) = torch.autograd.grad(masks, boxes, torch.from_numpy(noise).to(masks))
    # The file holds the boxes rounded to float32, and the steepest slope is 8 / 0.003.
    assert (masks.detach().cpu() - want_masks.reshape(masks.shape)).abs().max() < 2e-5
    assert (grads.cpu() - want_grads).abs().max() < 5e-6 * want_grads.abs().max()


@EVERYWHERE
def test_gradcheck(backend: Target) -> None:
    inverted, off_canvas = some.ordinary(2, seed=1)[:, [2, 1, 0, 3]], some.ordinary(2, seed=2) - 0.2
    check_gradients(problem(torch.cat([some.ordinary(2), inverted, off_canvas]), (13, 16)), backend)


@EVERYWHERE
def test_repeatable(backend: Target) -> None:
    check_repeatable(problem(some.ordinary(15), (70, 64)), backend, torch.float32)


@pytest.mark.parametrize("backend", ["cpu-avx2"], indirect=True)
def test_thread_count_does_not_matter(backend: Target) -> None:
    given = problem(some.ordinary(50), (64, 64))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(
                differentiated(
                    lambda t: given.run(t, backend.name), cast(given.tensors, torch.float32, "cpu"), given.leaves()
                )
            )
    finally:
        torch.set_num_threads(before)
    for (masks,), grads in results[1:]:
        assert torch.equal(masks, results[0][0][0])
        assert torch.equal(grads["boxes"], results[0][1]["boxes"])


@pytest.mark.compiler
def test_order_of_the_emulator_does_not_matter() -> None:
    from tests.support.targets import target

    given = problem(some.ordinary(6), (70, 24))
    results = []
    for order in ("ascending", "descending", "random"):
        name = target(f"emulated-{order}").name
        tensors = cast(given.tensors, torch.float32, "cpu")
        results.append(differentiated(lambda t, name=name: given.run(t, name), tensors, given.leaves()))
    for (masks,), grads in results[1:]:
        assert torch.equal(masks, results[0][0][0])
        assert torch.equal(grads["boxes"], results[0][1]["boxes"])


def test_inverted_boxes_count_as_sorted() -> None:
    boxes = some.ordinary(4)
    assert torch.allclose(
        reference.box_soft_mask(boxes, (20, 30)), reference.box_soft_mask(boxes[:, [2, 1, 0, 3]], (20, 30)), atol=1e-12
    )


def test_reference_is_sampling_of_an_image_of_ones() -> None:
    boxes, (height, width) = torch.cat([some.ordinary(6), some.degenerate()[8:10]]), (31, 40)
    x, y = torch.linspace(0, 1, width, dtype=torch.float64), torch.linspace(0, 1, height, dtype=torch.float64)
    t = (x - boxes[:, 0:1]) / (boxes[:, 2:3] - boxes[:, 0:1])
    u = (y - boxes[:, 1:2]) / (boxes[:, 3:4] - boxes[:, 1:2])
    grid = torch.stack(torch.broadcast_tensors(t[:, None, :], u[:, :, None]), dim=-1) * 2 - 1
    ones = torch.ones(len(boxes), 1, 8, 8, dtype=torch.float64)
    sampled = torch.nn.functional.grid_sample(ones, grid, padding_mode="zeros", align_corners=False)
    assert torch.allclose(reference.box_soft_mask(boxes, (height, width)), sampled, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "cpu-portable", "triton"], indirect=True)
def test_registered(backend: Target) -> None:
    boxes = some.ordinary(3).float().to(backend.device)
    check_registration("box_soft_mask", (boxes.requires_grad_(), 6, 8, backend.name))
    grad = cotangents((torch.empty(3, 1, 6, 8),))[0].to(boxes)
    check_registration("box_soft_mask_backward", (grad, boxes.detach(), backend.name))


@pytest.mark.compiler
@pytest.mark.parametrize(("backend", "compiler"), [("reference", "aot_eager"), ("cpu-portable", "inductor")],
                         indirect=["backend"])  # fmt: skip
def test_compiled(backend: Target, compiler: str) -> None:
    check_compiled(problem(some.ordinary(5), (16, 24)), backend, compiler)


def test_differentiable_once_only() -> None:
    boxes = some.ordinary(2).requires_grad_()
    (grad,) = torch.autograd.grad(ops.box_soft_mask(boxes, (8, 8)).sum(), boxes, create_graph=True)
    with pytest.raises(NotImplementedError, match="box_soft_mask is differentiable once only"):
        grad.sum().backward()


def test_no_graph_without_need() -> None:
    assert not ops.box_soft_mask(some.ordinary(2), (8, 8)).requires_grad
    with torch.no_grad():
        assert not ops.box_soft_mask(some.ordinary(2).requires_grad_(), (8, 8)).requires_grad


@pytest.mark.parametrize(
    ("boxes", "size", "error", "message"),
    [
        (torch.zeros(3, 5), (8, 8), ValueError, r"box_soft_mask: boxes must have shape \(V, 4\), got \(3, 5\)"),
        (torch.zeros(4), (8, 8), ValueError, r"boxes must have shape \(V, 4\), got \(4,\)"),
        (torch.zeros(3, 4).long(), (8, 8), TypeError, "boxes must be a floating-point tensor, got torch.int64"),
        ([[0.0, 0, 1, 1]], (8, 8), TypeError, "boxes must be a tensor, got list"),
        (torch.zeros(3, 4), (0, 8), ValueError, r"size must be two integers from 1 to 16777216, got \(0, 8\)"),
        (torch.zeros(3, 4), (8,), ValueError, r"size must be \(height, width\), got \(8,\)"),
        (torch.zeros(3, 4), (8.0, 8), TypeError, "size must be two integers"),
    ],
)
def test_bad_arguments(boxes: object, size: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ops.box_soft_mask(boxes, size)  # type: ignore[arg-type]
