"""compose_layout on every backend."""

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
    check_gradients,
    check_registration,
    check_repeatable,
)
from tests.support.targets import Target, targets

EVERYWHERE = pytest.mark.parametrize("backend", targets("compose_layout"), indirect=True)


def problem(symbols: int, graphs: int, channels: int, size: tuple[int, int]) -> Problem:
    generator = torch.Generator().manual_seed(symbols)
    return Problem(
        "compose_layout",
        run=lambda t, backend: (ops.compose_layout(t["masks"], t["features"], t["batch"], graphs, backend=backend),),
        oracle=lambda t: (reference.compose_layout(t["masks"], t["features"], t["batch"], graphs),),
        tensors={
            "masks": torch.rand(symbols, 1, *size, generator=generator, dtype=torch.float64),
            "features": torch.randn(symbols, channels, generator=generator, dtype=torch.float64),
            "batch": some.batch_of(symbols, graphs) if graphs else torch.zeros(0, dtype=torch.int64),
        },
    )


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("symbols", "graphs", "channels", "size"),
    [
        (11, 4, 24, (16, 20)),
        (1, 1, 3, (9, 7)),
        (0, 2, 5, (8, 8)),
        (0, 0, 5, (8, 8)),
        (37, 2, 70, (6, 20)),
        (7, 2, 9, (8, 260)),
        (7, 2, 9, (130, 8)),
    ],
    ids=["usual", "one symbol", "no symbols", "no graphs", "crowded", "a long line", "a column"],
)
def test_agrees_with_the_reference(
    backend: Target, dtype: torch.dtype, symbols: int, graphs: int, channels: int, size: tuple[int, int]
) -> None:
    check_agreement(problem(symbols, graphs, channels, size), backend, dtype)


@EVERYWHERE
def test_large(backend: Target) -> None:
    check_agreement(problem(60, 7, 128, (32, 32)), backend, torch.float32)


@EVERYWHERE
def test_many_expressions(backend: Target) -> None:
    """Kernels whose tiles depend on the amount of work meet both kinds."""
    check_agreement(problem(150, 270, 20, (2, 12)), backend, torch.float32)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype) -> None:
    if dtype not in backend.dtypes:
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            problem(1, 1, 1, (1, 1)).run(cast(problem(1, 1, 1, (1, 1)).tensors, dtype, "cpu"), backend.name)
        return
    for size in ((8, 16), (7, 9)):
        check_agreement(problem(21, 2, 12, size), backend, dtype)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_agreement(problem(9, 3, 8, (12, 16)), backend, torch.float64, strided=True)


@EVERYWHERE
def test_gradcheck_and_repeatable(backend: Target) -> None:
    check_gradients(problem(5, 3, 4, (6, 5)), backend)
    check_repeatable(problem(40, 5, 16, (16, 16)), backend, torch.float32)


def test_equals_a_plain_loop() -> None:
    tensors = problem(7, 4, 3, (5, 6)).tensors
    layout = torch.zeros(4, 3, 5, 6, dtype=torch.float64)
    for v, graph in enumerate(tensors["batch"].tolist()):
        for c in range(3):
            layout[graph, c] += tensors["masks"][v, 0] * tensors["features"][v, c]
    assert torch.allclose(ops.compose_layout(*tensors.values(), 4), layout, atol=1e-13)


@pytest.mark.parametrize("backend", ["cpu-portable"], indirect=True)
@pytest.mark.parametrize(
    ("batch", "place"),
    [([0, 1, 0], r"batch\[2\] = 0 after 1"), ([0, 0, 2], r"batch\[2\] = 2"), ([-1, 0, 0], r"batch\[0\] = -1")],
    ids=str,
)
def test_batch_that_is_not_as_promised(backend: Target, batch: list[int], place: str) -> None:
    message = rf"compose_layout: batch must be non-decreasing and in \[0, 2\), got {place}$"
    with pytest.raises(ValueError, match=message):
        ops.compose_layout(torch.zeros(3, 1, 4, 4), torch.zeros(3, 2), torch.tensor(batch), 2, backend=backend.name)


@pytest.mark.parametrize("backend", ["reference", "cpu-portable"], indirect=True)
def test_registered_and_compiled(backend: Target) -> None:
    given = problem(4, 3, 5, (6, 7))
    masks, features, batch = given.tensors.values()
    leaves = (masks.float().requires_grad_(), features.float().requires_grad_())
    check_registration("compose_layout", (*leaves, batch, 3, backend.name))
    grad = torch.randn(3, 5, 6, 7)
    check_registration("compose_layout_backward", (grad, *(t.detach() for t in leaves), batch, backend.name))
    check_compiled(given, backend)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"masks": torch.zeros(3, 8, 8)}, ValueError, r"compose_layout: masks must have shape \(V, 1, H, W\)"),
        ({"features": torch.zeros(4, 5)}, ValueError, r"features must have shape \(V = 3, C\), got \(4, 5\)"),
        ({"features": torch.zeros(3, 5).double()}, TypeError, "features must have the type of masks, torch.float32"),
        ({"batch": torch.zeros(3).int()}, TypeError, "batch must be int64, got torch.int32"),
        ({"batch": torch.zeros(2).long()}, ValueError, r"batch must have shape \(V = 3\), got \(2,\)"),
        ({"num_graphs": -1}, ValueError, "num_graphs must be at least 0, got -1"),
        ({"num_graphs": 1.5}, TypeError, "num_graphs must be an integer, got float"),
        ({"features": torch.zeros(3, 5, device="meta")}, ValueError, "must be on the device of masks, cpu, got meta"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"masks": torch.zeros(3, 1, 8, 8), "features": torch.zeros(3, 5), "batch": torch.zeros(3).long()}
    with pytest.raises(error, match=message):
        ops.compose_layout(**{**arguments, "num_graphs": 2, **changed})  # type: ignore[arg-type]
