"""attention_readout on every backend."""

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
    differentiated,
)
from tests.support.targets import Target, targets

EVERYWHERE = pytest.mark.parametrize("backend", targets("attention_readout"), indirect=True)


def problem(symbols: int, graphs: int, channels: int, scale: float = 1.0) -> Problem:
    generator = torch.Generator().manual_seed(symbols)
    return Problem(
        "attention_readout",
        run=lambda t, backend: (ops.attention_readout(t["x"], t["weight"], t["batch"], graphs, backend=backend),),
        oracle=lambda t: (reference.attention_readout(t["x"], t["weight"], t["batch"], graphs),),
        tensors={
            "x": scale * torch.randn(symbols, channels, generator=generator, dtype=torch.float64),
            "weight": torch.randn(channels, channels, generator=generator, dtype=torch.float64) / channels**0.5,
            "batch": some.batch_of(symbols, graphs) if graphs else torch.zeros(0, dtype=torch.int64),
        },
    )


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("symbols", "graphs", "channels"),
    [(11, 4, 24), (3, 3, 7), (1, 1, 1), (2, 6, 8), (0, 2, 5), (0, 0, 5), (200, 7, 128)],
    ids=["usual", "one symbol each", "one channel", "empty expressions", "no symbols", "no graphs", "large"],
)
def test_agrees_with_the_reference(
    backend: Target, dtype: torch.dtype, symbols: int, graphs: int, channels: int
) -> None:
    check_agreement(problem(symbols, graphs, channels), backend, dtype)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype) -> None:
    given = problem(11, 4, 24)
    if dtype not in backend.dtypes:
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            given.run(cast(given.tensors, dtype, backend.device), backend.name)
        return
    check_agreement(given, backend, dtype)


@EVERYWHERE
def test_nan_stays_in_its_expression(backend: Target) -> None:
    given = problem(11, 4, 24)
    tensors = cast(given.tensors, torch.float64, backend.device)
    (clean,), clean_grads = differentiated(lambda t: given.run(t, backend.name), tensors, given.leaves())
    last = int(tensors["batch"][-1])
    tensors["x"][-1, 3] = torch.nan
    (spoilt,), grads = differentiated(lambda t: given.run(t, backend.name), tensors, given.leaves())
    others = (tensors["batch"] != last).nonzero()[:, 0]
    assert spoilt[last].isnan().all()
    assert torch.equal(spoilt[:last], clean[:last])
    assert torch.equal(grads["x"][others], clean_grads["x"][others])


@EVERYWHERE
def test_saturated(backend: Target) -> None:
    """Scores of exactly 0 and 1, where a sigmoid written carelessly overflows."""
    check_agreement(problem(11, 4, 24, scale=300.0), backend, torch.float32)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_agreement(problem(9, 3, 8), backend, torch.float64, strided=True)


@EVERYWHERE
def test_gradcheck_and_repeatable(backend: Target) -> None:
    check_gradients(problem(7, 3, 5), backend)
    check_repeatable(problem(40, 5, 16), backend, torch.float32)


@pytest.mark.parametrize("backend", ["cpu-portable"], indirect=True)
@pytest.mark.parametrize("batch", [[0, 2], [-1, 0], [1, 0]], ids=str)
def test_batch_out_of_range_or_order(backend: Target, batch: list[int]) -> None:
    given = problem(2, 2, 4)
    given.tensors["batch"] = torch.tensor(batch)
    with pytest.raises(ValueError, match="attention_readout: batch must be non-decreasing and in"):
        differentiated(lambda t: given.run(t, backend.name), given.tensors, given.leaves())


@pytest.mark.parametrize("backend", ["reference", "cpu-portable"], indirect=True)
def test_registered_and_compiled(backend: Target) -> None:
    given = problem(5, 2, 4)
    x, weight = (given.tensors[n].float().requires_grad_() for n in ("x", "weight"))
    batch = given.tensors["batch"]
    check_registration("attention_readout", (x, weight, batch, 2, backend.name))
    grad = torch.randn(2, 4)
    check_registration("attention_readout_backward", (grad, x.detach(), weight.detach(), batch, backend.name))
    check_compiled(given, backend)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x": torch.zeros(2)}, ValueError, r"attention_readout: x must have shape \(V, C\), got \(2,\)"),
        ({"weight": torch.zeros(4, 3)}, ValueError, r"weight must have shape \(C = 4, C = 4\), got \(4, 3\)"),
        ({"batch": torch.zeros(3).long()}, ValueError, r"batch must have shape \(V = 2\), got \(3,\)"),
        ({"batch": torch.zeros(2).int()}, TypeError, "batch must be int64, got torch.int32"),
        ({"num_graphs": -1}, ValueError, "num_graphs must be at least 0, got -1"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    values = {"x": torch.zeros(2, 4), "weight": torch.zeros(4, 4), "batch": torch.zeros(2).long(), "num_graphs": 1}
    with pytest.raises(error, match=message):
        ops.attention_readout(**{**values, **changed})  # type: ignore[arg-type]
