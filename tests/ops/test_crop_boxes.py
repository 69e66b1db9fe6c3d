"""crop_boxes on every backend."""

from __future__ import annotations

import pytest
import torch

from hmeg import backends, ops, reference
from hmeg.backends.native.crop_boxes import readable
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
    cotangents,
    differentiated,
)
from tests.support.targets import Target, targets

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
        # A place in float32 is off by some 1e-7 of a side; pixels of noise differ by as much as they are off.
        (9, (2, 1, 16, 120), (12, 12)),
        (9, (2, 1, 100, 16), (12, 12)),
    ],
    ids=["usual", "one symbol", "no symbols", "one pixel", "one sample", "large", "a long line", "a column"],
)
def test_agrees_with_the_reference(
    backend: Target, dtype: torch.dtype, symbols: int, images: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    if backend.interpreted and symbols > 20:
        symbols, images = 9, (3, 2, 64, 64)  # several tiles an image, several boxes a tile
    check_agreement(problem(some.ordinary(symbols), images, size), backend, dtype)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype) -> None:
    given = problem(some.ordinary(9), (4, 3, 24, 20), (12, 8))
    if dtype not in backend.dtypes:
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            given.run(cast(given.tensors, dtype, "cpu"), backend.name)
        return
    check_agreement(given, backend, dtype)


@EVERYWHERE
def test_many_images(backend: Target) -> None:
    """Kernels whose tiles depend on the amount of work meet both kinds."""
    check_agreement(problem(some.ordinary(280), (270, 1, 5, 8), (4, 4)), backend, torch.float32)


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


@EVERYWHERE
def test_boxes_in_any_order(backend: Target) -> None:
    given = problem(some.ordinary(9), (4, 2, 20, 16), (6, 5))
    given.tensors["batch"] = torch.tensor([3, 0, 3, 1, 0, 0, 3, 1, 0])  # image 2 has no boxes
    check_agreement(given, backend, torch.float64)


@EVERYWHERE
def test_images_without_boxes_get_no_gradient(backend: Target) -> None:
    given = problem(some.ordinary(3), (4, 2, 12, 12), (5, 5))
    given.tensors["batch"] = torch.tensor([1, 1, 3])
    _, grads = differentiated(
        lambda t: given.run(t, backend.name), cast(given.tensors, torch.float64, backend.device), ["images"]
    )
    assert not grads["images"][[0, 2]].any()
    assert grads["images"][[1, 3]].any()


@EVERYWHERE
@pytest.mark.parametrize("symbols", [0, 3])
def test_nothing_to_cut_from_or_into(backend: Target, symbols: int) -> None:
    """No images and no boxes; no channels."""
    images = (0, 2, 8, 8) if symbols == 0 else (2, 0, 8, 8)
    given = problem(some.ordinary(symbols), images, (4, 4))
    given.tensors["batch"] = torch.zeros(symbols, dtype=torch.int64)
    check_agreement(given, backend, torch.float64)


@EVERYWHERE
def test_one_pixel_and_one_sample_at_the_border(backend: Target) -> None:
    """Boxes that reach the image with one tap only, on either side."""
    boxes = torch.tensor([[-0.2, -0.3, 0.1, 0.2], [0.93, 0.91, 1.3, 1.2], [-0.4, 0.3, 1.6, 0.7]], dtype=torch.float64)
    for images, size in (((1, 1), (3, 4)), ((1, 9), (3, 4)), ((9, 1), (1, 5)), ((5, 6), (1, 1))):
        check_agreement(problem(boxes, (1, 2, *images), size), backend, torch.float64)


@EVERYWHERE
def test_channels_last_and_repeated_images(backend: Target) -> None:
    """Images are read as they lie in memory: channels last, and one image expanded to many."""
    images, boxes, batch = cast(
        problem(some.ordinary(9), (4, 3, 20, 24), (8, 8)).tensors, torch.float32, backend.device
    ).values()
    for given in (images.to(memory_format=torch.channels_last), images[:1].expand(4, -1, -1, -1)):
        crops, grads = differentiated(
            lambda t: (ops.crop_boxes(t["images"], t["boxes"], batch, (8, 8), backend=backend.name),),
            {"images": given, "boxes": boxes},
            ["images", "boxes"],
        )
        same_crops, same_grads = differentiated(
            lambda t: (ops.crop_boxes(t["images"], t["boxes"], batch, (8, 8), backend=backend.name),),
            {"images": given.contiguous(), "boxes": boxes},
            ["images", "boxes"],
        )
        assert torch.equal(crops[0], same_crops[0])
        assert all(torch.equal(grads[name], same_grads[name]) for name in grads)


@EVERYWHERE
def test_huge_boxes_are_off_canvas_not_out_of_bounds(backend: Target) -> None:
    """Positions that no integer holds."""
    boxes = torch.tensor(
        [[-1e30, 0.1, 1e30, 0.6], [1e30, 0.1, 1e30, 0.6], [0.1, -3e9, 0.2, -3e9], [0.1, 0.1, 0.2, 1e15]],
        dtype=torch.float64,
    )
    given = problem(boxes, (2, 2, 8, 9), (4, 4))
    check_agreement(given, backend, torch.float64)
    check_finite(given, backend, torch.float32)


@EVERYWHERE
@pytest.mark.parametrize("spoilt", [(0, torch.nan), (1, torch.nan), (2, torch.inf), (3, -torch.inf)], ids=str)
def test_nan_stays_with_its_symbol(backend: Target, spoilt: tuple[int, float]) -> None:
    """A NaN or infinity in a box spoils that crop and that box's gradient, and adds nothing to the image's."""
    given = problem(some.ordinary(5), (2, 2, 16, 16), (6, 6))
    clean = cast(given.tensors, torch.float64, backend.device)
    bad = cast(given.tensors, torch.float64, backend.device)
    coordinate, value = spoilt
    bad["boxes"][1, coordinate] = value
    others = [0, 2, 3, 4]
    (crops,), grads = differentiated(lambda t: given.run(t, backend.name), bad, ["images", "boxes"])
    (clean_crops,), clean_grads = differentiated(lambda t: given.run(t, backend.name), clean, ["images", "boxes"])
    assert crops[1].isnan().all()
    assert grads["boxes"][1].isnan().any()
    assert torch.equal(crops[others], clean_crops[others])
    assert torch.equal(grads["boxes"][others], clean_grads["boxes"][others])
    without = {**clean, "boxes": clean["boxes"][others], "batch": clean["batch"][others]}
    rest = [cotangents((clean_crops,))[0][others].to(backend.device)]
    leaf = without["images"].requires_grad_()
    (remaining,) = torch.autograd.grad(given.run(without, backend.name), leaf, rest)
    assert torch.equal(grads["images"], remaining)


@EVERYWHERE
def test_pixels_outside_a_box_do_not_matter(backend: Target) -> None:
    """Whatever they hold: off-canvas is zero even beside a NaN."""
    images = torch.full((1, 1, 8, 8), torch.nan, dtype=torch.float64)
    images[..., 2:6, 2:6] = 1
    boxes = torch.tensor([[0.32, 0.32, 0.68, 0.68], [1.2, 0.3, 1.6, 0.6], [0.3, -3.0, 0.6, -2.0]], dtype=torch.float64)
    tensors = cast({"images": images, "boxes": boxes, "batch": torch.zeros(3).long()}, torch.float64, backend.device)
    (crops,), grads = differentiated(
        lambda t: (ops.crop_boxes(*t.values(), (3, 3), backend=backend.name),), tensors, ["images", "boxes"]
    )
    assert torch.allclose(crops[0], torch.ones_like(crops[0])) and not crops[1:].any()
    assert torch.isfinite(grads["images"]).all() and torch.isfinite(grads["boxes"]).all()


@pytest.mark.parametrize("backend", ["cpu-avx2"], indirect=True)
def test_thread_count_does_not_matter(backend: Target) -> None:
    given = problem(some.ordinary(50), (5, 3, 100, 64), (16, 16))
    check_threads(given, backend)


@pytest.mark.parametrize("backend", ["cpu-portable"], indirect=True)
@pytest.mark.parametrize("batch", [[0, 2, 1], [1, -1, 0]], ids=str)
def test_batch_that_is_not_as_promised(backend: Target, batch: list[int]) -> None:
    message = rf"crop_boxes: batch must be in \[0, 2\), got batch\[1\] = {batch[1]}$"
    images, boxes = torch.zeros(2, 1, 4, 4), torch.zeros(3, 4)
    with pytest.raises(ValueError, match=message):
        ops.crop_boxes(images, boxes, torch.tensor(batch), (2, 2), backend=backend.name)


def test_rows_that_spread_wider_than_32_bits_are_copied() -> None:
    """The C++ kernel addresses the columns of a row in 32 bits."""
    for stride, kept in ((2**31 - 1, True), (2**31, False)):
        images = torch.empty((1, 1, 1, 2), device="meta").as_strided((1, 1, 1, 2), (1, 1, 1, stride))
        assert (readable(images) is images) == kept
        assert kept or readable(images).is_contiguous()


def test_whole_image_is_itself_resized() -> None:
    images = torch.randn(2, 3, 1, 8, dtype=torch.float64)
    half = 0.5 / 8
    boxes = torch.tensor([[half, 0.5, 1 - half, 0.5]] * 2, dtype=torch.float64)  # from first to last pixel centre
    assert torch.allclose(ops.crop_boxes(images, boxes, torch.arange(2), (1, 8)), images, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "cpu-portable"], indirect=True)
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
