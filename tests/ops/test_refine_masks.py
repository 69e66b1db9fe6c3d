"""refine_masks on every backend."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmeg import backends, ops, reference
from hmeg.ops import MaskWeights
from hmeg.reference.refine_masks import coordinate_ramps
from tests.support import boxes as some
from tests.support.mask_weights import STATISTICS, bundle_of, weights
from tests.support.operator_checks import (
    Problem,
    cast,
    check_agreement,
    check_compiled,
    check_finite,
    check_gradients,
    check_registration,
    check_repeatable,
    differentiated,
)
from tests.support.targets import Target, targets

EVERYWHERE = pytest.mark.parametrize("backend", targets("refine_masks"), indirect=True)
# Large or many cases: only where they are quick.
COMPILED = pytest.mark.parametrize(
    "backend", [name for name in targets("refine_masks") if name.startswith("cpu-")], indirect=True
)
MODES = pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])


def problem(boxes: Tensor, size: tuple[int, int], training: bool, hidden: int = 16) -> Problem:
    return Problem(
        "refine_masks",
        run=lambda t, backend: (ops.refine_masks(t["boxes"], bundle_of(t), size, training, backend=backend),),
        oracle=lambda t: (reference.refine_masks(t["boxes"], bundle_of(t), size, training),),
        tensors={"boxes": boxes, **weights(hidden)},
        fixed=STATISTICS,
    )


@EVERYWHERE
@MODES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("symbols", "size", "hidden"),
    [
        (6, (20, 28), 16),
        (1, (9, 7), 8),
        (0, (8, 8), 8),
        (3, (1, 1), 4),
        (4, (1, 9), 4),
        (2, (5, 6), 70),
        (1, (3, 270), 4),
        (24, (64, 64), 64),
    ],
    ids=["usual", "one symbol", "no symbols", "one point", "one row", "many channels", "wide", "large"],
)
def test_agrees_with_the_reference(
    backend: Target, dtype: torch.dtype, training: bool, symbols: int, size: tuple[int, int], hidden: int
) -> None:
    if backend.interpreted and symbols > 20:
        symbols = 2  # as many programs as the rows of one image allow
    if backend.name.startswith("emulated"):
        symbols = min(symbols, 6)  # more of the same only takes time
    check_agreement(problem(some.ordinary(symbols), size, training, hidden), backend, dtype)


@EVERYWHERE
@MODES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype, training: bool) -> None:
    given = problem(some.ordinary(4), (12, 19), training)
    if dtype not in backend.dtypes:
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            given.run(cast(given.tensors, dtype, "cpu"), backend.name)
        return
    check_agreement(given, backend, dtype)


@EVERYWHERE
@MODES
@pytest.mark.parametrize("size", [(2, 2), (3, 3), (9, 1), (2, 5), (5, 2)], ids=str)
def test_small_images(backend: Target, training: bool, size: tuple[int, int]) -> None:
    """Where every pixel, or nearly every one, has neighbours outside the image."""
    check_agreement(problem(some.ordinary(3), size, training, hidden=5), backend, torch.float64)


@COMPILED
@MODES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("symbols", "size", "hidden"),
    [(3, (4, 700), 3), (3, (700, 4), 3), (2, (9, 11), 301), (200, (8, 9), 5)],
    ids=["wide", "tall", "many channels", "many symbols"],
)
def test_unusual_sizes(
    backend: Target, dtype: torch.dtype, training: bool, symbols: int, size: tuple[int, int], hidden: int
) -> None:
    check_agreement(problem(some.ordinary(symbols), size, training, hidden), backend, dtype)


@EVERYWHERE
@MODES
def test_flat_channels(backend: Target, training: bool) -> None:
    """Channels that are the same everywhere, or along a row: positive, negative, and exactly zero."""
    given = problem(some.ordinary(3), (6, 7), training, hidden=9)
    given.tensors["conv1_weight"][:3] = 0
    given.tensors["conv1_bias"][:3] = torch.tensor([0.5, -0.5, 0.0], dtype=torch.float64)
    given.tensors["conv1_weight"][3:5, [0, 2]] = 0
    given.tensors["conv1_weight"][5:7, [1, 3]] = 0
    given.tensors["conv2_weight"][0, 8] = 0
    check_agreement(given, backend, torch.float64)


@COMPILED
@MODES
def test_huge_boxes(backend: Target, training: bool) -> None:
    check_finite(problem(1e4 * (some.ordinary(4) - 0.3), (9, 11), training), backend, torch.float32)


@COMPILED
@MODES
def test_batch_variance_keeps_its_digits(backend: Target, training: bool) -> None:
    """Hidden values far above zero, their spread small beside them."""
    given = problem(some.ordinary(4), (16, 16), training, hidden=4)
    given.tensors["conv1_weight"] *= 1e-2
    given.tensors["conv1_bias"] += 10
    given.tensors["running_mean"] += 10
    rounded = cast(given.tensors, torch.float32, "cpu")
    (got,), (want,) = given.run(rounded, backend.name), given.oracle(cast(rounded, torch.float64, "cpu"))
    # z is rounded at 2^-24 of 10, a few thousandths of its spread of 0.02.
    assert (got.double() - want).abs().max() < 1e-3


@COMPILED
@MODES
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_not_a_number(backend: Target, training: bool, bad: float) -> None:
    """As the reference: in training through the batch's statistics everywhere."""
    given = problem(some.ordinary(4), (6, 7), training, hidden=5)
    given.tensors["boxes"][1, 2] = bad
    check_agreement(given, backend, torch.float64)


@COMPILED
@MODES
def test_thread_count_does_not_matter(backend: Target, training: bool) -> None:
    given = problem(some.ordinary(37), (16, 20), training, hidden=12)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            tensors = cast(given.tensors, torch.float32, "cpu")
            results.append(differentiated(lambda t: given.run(t, backend.name), tensors, given.leaves()))
    finally:
        torch.set_num_threads(before)
    for (masks,), grads in results[1:]:
        assert torch.equal(masks, results[0][0][0])
        for name, grad in grads.items():
            assert torch.equal(grad, results[0][1][name]), name


@EVERYWHERE
@MODES
def test_degenerate_boxes(backend: Target, training: bool) -> None:
    given = problem(some.degenerate(), (20, 24), training)
    check_agreement(given, backend, torch.float64)
    check_finite(given, backend, torch.float32)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_agreement(problem(some.ordinary(5), (12, 16), True), backend, torch.float64, strided=True)


@EVERYWHERE
@MODES
def test_gradcheck_and_repeatable(backend: Target, training: bool) -> None:
    check_gradients(problem(some.ordinary(3), (7, 6), training, hidden=5), backend)
    check_repeatable(problem(some.ordinary(8), (16, 16), training), backend, torch.float32)


@EVERYWHERE
def test_running_statistics_change_as_batchnorm_changes_them(backend: Target) -> None:
    boxes, size = some.ordinary(5), (11, 13)
    tensors = cast({"boxes": boxes, **weights(6)}, torch.float64, backend.device)
    bundle = MaskWeights(*(tensors[n] for n in MaskWeights._fields))
    batch_norm = torch.nn.BatchNorm2d(6, momentum=0.3, dtype=torch.float64)
    batch_norm.running_mean.copy_(bundle.running_mean)
    batch_norm.running_var.copy_(bundle.running_var)
    for offset in (0.0, 0.1):
        ramps = coordinate_ramps(boxes + offset, size)
        conv1 = (weights(6)["conv1_weight"], weights(6)["conv1_bias"])
        batch_norm(torch.relu(torch.nn.functional.conv2d(ramps, *conv1, padding=1)))
        ops.refine_masks(tensors["boxes"] + offset, bundle, size, True, momentum=0.3, backend=backend.name)
    assert torch.allclose(bundle.running_mean.cpu(), batch_norm.running_mean, atol=1e-12)
    assert torch.allclose(bundle.running_var.cpu(), batch_norm.running_var, atol=1e-12)


@EVERYWHERE
def test_running_statistics_stay_in_evaluation_and_without_symbols(backend: Target) -> None:
    tensors = cast({"boxes": some.ordinary(3), **weights(4)}, torch.float32, backend.device)
    bundle = MaskWeights(*(tensors[n] for n in MaskWeights._fields))
    before = bundle.running_mean.clone(), bundle.running_var.clone()
    ops.refine_masks(tensors["boxes"], bundle, (8, 8), False, backend=backend.name)
    ops.refine_masks(tensors["boxes"][:0], bundle, (8, 8), True, backend=backend.name)
    assert torch.equal(bundle.running_mean, before[0])
    assert torch.equal(bundle.running_var, before[1])


@EVERYWHERE
def test_nan_stays_with_its_symbol(backend: Target) -> None:
    tensors = cast({"boxes": some.ordinary(4), **weights(4)}, torch.float32, backend.device)
    clean = ops.refine_masks(tensors["boxes"], bundle_of(tensors), (9, 9), backend=backend.name)
    tensors["boxes"][1, 3] = torch.nan
    masks = ops.refine_masks(tensors["boxes"], bundle_of(tensors), (9, 9), backend=backend.name)
    assert masks[1].isnan().all()
    assert torch.equal(masks[[0, 2, 3]], clean[[0, 2, 3]])


@pytest.mark.parametrize("backend", ["reference"], indirect=True)
@MODES
def test_registered_and_compiled(backend: Target, training: bool) -> None:
    given = problem(some.ordinary(4), (6, 7), training, hidden=5)
    tensors = cast(given.tensors, torch.float32, "cpu")
    boxes, *rest = (t.requires_grad_(n not in STATISTICS) for n, t in tensors.items())
    check_registration("refine_masks", (boxes, *rest, 6, 7, training, 1e-5, backend.name))
    inputs = [t.detach() for t in (boxes, *rest)]
    grad_and_masks = torch.randn(4, 1, 6, 7), torch.rand(4, 1, 6, 7)
    check_registration("refine_masks_backward", (*grad_and_masks, *inputs, training, 1e-5, backend.name))
    check_compiled(given, backend)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"boxes": torch.zeros(3, 2)}, ValueError, r"refine_masks: boxes must have shape \(V, 4\), got \(3, 2\)"),
        ({"conv1_weight": torch.zeros(6, 3, 3, 3)}, ValueError, r"weights.conv1_weight must have shape \(K, 4, 3, 3\)"),
        ({"bn_bias": torch.zeros(5)}, ValueError, r"weights.bn_bias must have shape \(K = 6\), got \(5,\)"),
        ({"conv2_weight": torch.zeros(2, 6, 3, 3)}, ValueError, r"weights.conv2_weight must have shape \(1, K = 6"),
        ({"running_var": torch.zeros(6).double()}, TypeError, "weights.running_var must have the type of boxes"),
        ({"boxes": torch.zeros(1, 4), "size": (1, 1)}, ValueError, "training needs more than one value per channel"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    values: dict[str, object] = {"boxes": torch.zeros(3, 4), "size": (8, 8)}
    values |= {n: t.float() for n, t in weights(6).items()}
    values |= changed
    bundle = MaskWeights(*(values[n] for n in MaskWeights._fields))  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        ops.refine_masks(values["boxes"], bundle, values["size"], True)  # type: ignore[arg-type]
