"""refine_layout on every backend."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmeg import backends, ops, reference
from hmeg.backends.base import Backend
from hmeg.ops import MaskWeights
from tests.support import boxes as some
from tests.support.mask_weights import STATISTICS, bundle_of, weights
from tests.support.operator_checks import (
    Problem,
    cast,
    check_agreement,
    check_compiled,
    check_gradients,
    check_outputs,
    check_registration,
)
from tests.support.targets import Target, targets

EVERYWHERE = pytest.mark.parametrize("backend", targets("refine_layout"), indirect=True)
BY_COMPOSITION = [
    name for name in targets("refine_layout") if name in targets("refine_masks") and name in targets("compose_layout")
]


def problem(boxes: Tensor, graphs: int, channels: int, size: tuple[int, int], hidden: int = 8) -> Problem:
    generator = torch.Generator().manual_seed(channels)
    symbols = len(boxes)
    return Problem(
        "refine_layout",
        run=lambda t, backend: (
            ops.refine_layout(t["boxes"], bundle_of(t), t["features"], t["batch"], size, graphs, backend=backend),
        ),
        oracle=lambda t: (reference.refine_layout(t["boxes"], bundle_of(t), t["features"], t["batch"], size, graphs),),
        tensors={
            "boxes": boxes,
            **weights(hidden),
            "features": torch.randn(symbols, channels, generator=generator, dtype=torch.float64),
            "batch": some.batch_of(symbols, graphs) if graphs else torch.zeros(0, dtype=torch.int64),
        },
        fixed=STATISTICS,
    )


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("symbols", "graphs", "channels", "size", "hidden"),
    [(11, 4, 24, (16, 20), 16), (1, 1, 3, (9, 7), 8), (0, 2, 5, (8, 8), 4), (0, 0, 5, (8, 8), 4),
     (4, 2, 0, (8, 8), 4), (3, 1, 6, (1, 1), 4), (3, 2, 6, (1, 9), 4), (5, 3, 17, (3, 2), 5),
     (13, 3, 33, (32, 32), 32), (7, 2, 8, (8, 120), 8), (7, 2, 8, (90, 8), 8)],
    ids=["usual", "one symbol", "no symbols", "no graphs", "no channels", "one point", "one row", "tiny", "large",
         "a long line", "a column"],
)  # fmt: skip
def test_agrees_with_the_reference(
    backend: Target, dtype: torch.dtype, symbols: int, graphs: int, channels: int, size: tuple[int, int], hidden: int
) -> None:
    check_outputs(problem(some.ordinary(symbols), graphs, channels, size, hidden), backend, dtype)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype) -> None:
    given = problem(some.ordinary(7), 3, 12, (12, 17))
    if dtype not in backend.dtypes:
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            given.run(cast(given.tensors, dtype, "cpu"), backend.name)
        return
    check_outputs(given, backend, dtype)


@EVERYWHERE
def test_degenerate_boxes(backend: Target) -> None:
    check_outputs(problem(some.degenerate(), 4, 6, (20, 24)), backend, torch.float64)


@EVERYWHERE
def test_non_contiguous(backend: Target) -> None:
    check_outputs(problem(some.ordinary(7), 3, 8, (12, 16)), backend, torch.float64, strided=True)


@EVERYWHERE
def test_repeatable(backend: Target) -> None:
    given = problem(some.ordinary(9), 3, 20, (16, 16))
    first, second = (given.run(cast(given.tensors, torch.float32, backend.device), backend.name) for _ in range(2))
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    "backend", [name for name in targets("refine_layout") if name.startswith("cpu-")], indirect=True
)
@pytest.mark.parametrize(
    ("symbols", "graphs", "channels", "size", "hidden"),
    [(11, 1, 9, (70, 33), 8), (3, 2, 5, (9, 300), 5), (40, 2, 130, (64, 64), 64)],
    ids=["several tiles", "wide", "large"],
)
def test_tiles_and_thread_counts(
    backend: Target, symbols: int, graphs: int, channels: int, size: tuple[int, int], hidden: int
) -> None:
    given = problem(some.ordinary(symbols), graphs, channels, size, hidden)
    check_outputs(given, backend, torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(given.run(cast(given.tensors, torch.float32, "cpu"), backend.name)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.parametrize("backend", ["cpu-portable"], indirect=True)
def test_batch_that_is_not_as_promised(backend: Target) -> None:
    given = problem(some.ordinary(3), 2, 3, (4, 4))
    given.tensors["batch"] = torch.tensor([0, 1, 0])
    with pytest.raises(ValueError, match=r"refine_layout: batch must be non-decreasing"):
        given.run(given.tensors, backend.name)


@EVERYWHERE
def test_nan_stays_with_its_expression(backend: Target) -> None:
    given = problem(some.ordinary(6), 3, 5, (9, 9))
    tensors = cast(given.tensors, torch.float32, backend.device)
    (clean,) = given.run(tensors, backend.name)
    owner = int(tensors["batch"][1])
    tensors["boxes"][1, 3] = torch.nan
    (layout,) = given.run(tensors, backend.name)
    assert layout[owner].isnan().all()
    others = [n for n in range(3) if n != owner]
    assert torch.equal(layout[others], clean[others])


@pytest.mark.parametrize("backend", BY_COMPOSITION, indirect=True)
def test_composes_where_a_gradient_is_wanted(backend: Target) -> None:
    check_agreement(problem(some.ordinary(5), 3, 6, (9, 11), hidden=5), backend, torch.float32)
    check_gradients(problem(some.ordinary(3), 2, 3, (6, 5), hidden=3), backend)


@pytest.mark.parametrize("leaf", ["boxes", "features", "conv2_bias"])
def test_one_leaf_is_enough_for_a_gradient(leaf: str) -> None:
    given = problem(some.ordinary(3), 2, 3, (6, 5))
    given.tensors[leaf].requires_grad_()
    (layout,) = given.run(given.tensors, None)
    (grad,) = torch.autograd.grad(layout.sum(), given.tensors[leaf])
    assert grad.abs().max() > 0
    with torch.no_grad():
        assert not given.run(given.tensors, None)[0].requires_grad


def test_fused_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded gradients decide which operators run, not the asking backend."""
    from hmeg.backends.reference import ReferenceBackend

    called: list[str] = []
    for name in ("refine_layout", "refine_masks", "compose_layout"):
        original = ReferenceBackend.operators[name]

        def recorded(self: Backend, *values: object, name: str = name, original: object = original) -> object:
            called.append(name)
            return original(self, *values)  # type: ignore[operator]

        monkeypatch.setitem(ReferenceBackend.operators, name, recorded)
    given = problem(some.ordinary(3), 2, 3, (6, 5))
    given.run(given.tensors, "reference")
    assert called == ["refine_layout"]
    called.clear()
    given.tensors["boxes"].requires_grad_()
    given.run(given.tensors, "reference")
    assert called == ["refine_masks", "compose_layout"]


@pytest.mark.parametrize("backend", ["reference"], indirect=True)
def test_registered_and_compiled(backend: Target) -> None:
    given = problem(some.ordinary(4), 2, 3, (6, 7), hidden=5)
    inputs = tuple(cast(given.tensors, torch.float32, "cpu").values())
    check_registration("refine_layout", (*inputs, 6, 7, 2, 1e-5, backend.name))
    check_compiled(given, backend)
    compiled = torch.compile(lambda t: given.run(t, backend.name), fullgraph=True, backend="aot_eager")
    tensors = cast(given.tensors, torch.float32, "cpu")
    assert torch.allclose(compiled(tensors)[0], given.run(tensors, backend.name)[0], atol=1e-6)


def test_the_fused_operator_refuses_gradients() -> None:
    tensors = problem(some.ordinary(3), 2, 3, (6, 5)).tensors
    tensors["boxes"].requires_grad_()
    layout = torch.ops.hmeg.refine_layout(*tensors.values(), 6, 5, 2, 1e-5, "reference")
    with pytest.raises(NotImplementedError, match=r"refine_layout has no gradient: use hmeg\.ops\.refine_layout"):
        layout.sum().backward()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"boxes": torch.zeros(3, 5)}, ValueError, r"refine_layout: boxes must have shape \(V, 4\), got \(3, 5\)"),
        ({"features": torch.zeros(4, 5)}, ValueError, r"features must have shape \(V = 3, C\), got \(4, 5\)"),
        ({"features": torch.zeros(3, 5).double()}, TypeError, "features must have the type of boxes, torch.float32"),
        ({"batch": torch.zeros(3).int()}, TypeError, "batch must be int64, got torch.int32"),
        ({"bn_bias": torch.zeros(5)}, ValueError, r"weights.bn_bias must have shape \(K = 6\), got \(5,\)"),
        ({"num_graphs": -1}, ValueError, "num_graphs must be at least 0, got -1"),
        ({"size": (0, 8)}, ValueError, "size must be two integers from 1"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    values: dict[str, object] = {"boxes": torch.zeros(3, 4), "features": torch.zeros(3, 5), "size": (8, 8)}
    values |= {"batch": torch.zeros(3).long(), "num_graphs": 2, **{n: t.float() for n, t in weights(6).items()}}
    values |= changed
    bundle = MaskWeights(*(values.pop(n) for n in MaskWeights._fields))  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        ops.refine_layout(weights=bundle, **values)  # type: ignore[arg-type]
