"""triple_message on a processor's matrix unit, where a float32 is multiplied as a sum of bfloat16."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.support.operator_checks import cast, differentiated
from tests.support.targets import Target, target
from tests.support.triple_messages import FORMS, complete, problem

PRECISIONS = ("highest", "high", "medium")
SIZES = [20, 1, 9, 30]  # 1,382 edges: three tiles, the last blocks of which are not full


@pytest.fixture(autouse=True)
def precision_restored() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def amx(request: pytest.FixtureRequest) -> Target:
    return target("cpu-amx")


def forward_errors(backend: str, form: str, widths: tuple[int, int, int], scale: float = 1.0) -> float:
    """Largest error of the results in float32, relative to the largest of them."""
    given = problem(sum(SIZES), complete(SIZES), *widths, **FORMS[form])
    for name in ("x", "edge_attr", "b1", "b2", "b3", "b4"):
        given.tensors[name] = given.tensors[name] * scale
    rounded = cast(given.tensors, torch.float32, "cpu")
    want = given.oracle(cast(rounded, torch.float64, "cpu"))
    got = given.run(rounded, backend)
    pairs = [(g.double(), w) for g, w in zip(got, want, strict=True) if w.numel()]
    return max(((g - w).abs().max() / w.abs().max()).item() for g, w in pairs)


@pytest.mark.parametrize("form", ["plain", "table", "no edges returned"])
@pytest.mark.parametrize("widths", [(128, 512, 128), (20, 160, 130), (5, 33, 40)], ids=str)
def test_precision_is_what_torch_was_asked_for(amx: Target, form: str, widths: tuple[int, int, int]) -> None:
    """24, 17 and 8 bits: of the last two at least what they stand for in torch, TF32's 11 and bfloat16's 8."""
    target("cpu-avx512")
    errors = {}
    for precision in PRECISIONS:
        torch.set_float32_matmul_precision(precision)
        errors[precision] = forward_errors("cpu-amx", form, widths)
    torch.set_float32_matmul_precision("highest")
    assert errors["highest"] < 2 * forward_errors("cpu-avx512", form, widths)
    assert errors["highest"] < errors["high"] < 3e-5
    assert errors["high"] < errors["medium"] < 2e-2


@pytest.mark.parametrize("scale", [1e-25, 1e15])
def test_small_and_large_numbers(amx: Target, scale: float) -> None:
    assert forward_errors("cpu-amx", "plain", (20, 160, 130), scale) < 2e-6


@pytest.mark.parametrize("form", ["plain", "table", "no edges returned"])
@pytest.mark.parametrize("widths", [(128, 512, 128), (20, 160, 130), (5, 33, 40)], ids=str)
def test_gradients_of_many_tiles(amx: Target, form: str, widths: tuple[int, int, int]) -> None:
    """Biases far from zero keep every ReLU on one side, so that no rounding can turn one over."""
    given = problem(sum(SIZES), complete(SIZES), *widths, **FORMS[form])
    generator = torch.Generator().manual_seed(0)
    for name, size in (("b1", 10.0), ("b2", 100.0), ("b3", 1000.0), ("b4", 10000.0)):
        signs = torch.randint(0, 2, given.tensors[name].shape, generator=generator) * 2 - 1
        given.tensors[name] = size * signs.double()
    rounded = cast(given.tensors, torch.float32, "cpu")
    want, want_grads = differentiated(given.oracle, cast(rounded, torch.float64, "cpu"), given.leaves())
    for precision, limit in (("highest", 1e-5), ("high", 1e-4)):
        torch.set_float32_matmul_precision(precision)
        got, got_grads = differentiated(lambda t: given.run(t, "cpu-amx"), rounded, given.leaves())
        pairs = [*zip(got, want, strict=True), *((got_grads[name], grad) for name, grad in want_grads.items())]
        for ours, oracle in pairs:
            if oracle.numel():
                assert (ours.double() - oracle).abs().max() <= limit * oracle.abs().max()


def test_few_edges_are_left_to_avx512(amx: Target) -> None:
    """Below 1,024 edges making factors costs more than it saves."""
    target("cpu-avx512")
    for sizes, name in (([31], "cpu-avx512"), ([32], "cpu-amx")):
        given = problem(sum(sizes), complete(sizes), 16, 64, 24)
        leaves = cast(given.tensors, torch.float32, "cpu")
        other = {"cpu-avx512": "cpu-amx", "cpu-amx": "cpu-avx512"}[name]
        chosen, same, differs = (given.run(leaves, backend) for backend in ("cpu", name, other))
        assert all(torch.equal(a, b) for a, b in zip(chosen, same, strict=True))
        assert not torch.equal(chosen[0], differs[0])


def test_not_a_number_whatever_its_bits(amx: Target) -> None:
    given = problem(4, complete([4]), 8, 40, 12)
    leaves = cast(given.tensors, torch.float32, "cpu")
    for bits in (0x7FC00000, 0x7F800001, 0x7FFFFFFF, -1):
        leaves["edge_attr"][5, 2] = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
        assert leaves["edge_attr"][5, 2].isnan()
        assert given.run(leaves, "cpu-amx")[1][5].isnan().any()


def test_torch_may_use_the_matrix_unit_in_between(amx: Target) -> None:
    given = problem(sum(SIZES), complete(SIZES), 16, 64, 24)
    leaves = cast(given.tensors, torch.float32, "cpu")
    factor = torch.randn(256, 256, generator=torch.Generator().manual_seed(0)).bfloat16()
    ours, theirs = given.run(leaves, "cpu-amx"), factor @ factor
    for _ in range(3):
        assert torch.equal(factor @ factor, theirs)
        assert all(torch.equal(a, b) for a, b in zip(given.run(leaves, "cpu-amx"), ours, strict=True))


def test_parts_are_checked(amx: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hmeg.backends.cpu.matrix_product.float32_parts", lambda: 4)
    given = problem(2, complete([2]))
    with pytest.raises(ValueError, match="in one, two or three parts"):
        given.run(cast(given.tensors, torch.float32, "cpu"), "cpu-amx")


def test_precision_that_was_set_for_onednn_alone(amx: Target) -> None:
    """torch.get_float32_matmul_precision refuses to answer then."""
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        coarse = forward_errors_with(matmul, "bf16")
        fine = forward_errors_with(matmul, "ieee")
    finally:
        matmul.fp32_precision = before
    assert fine < 1e-6 < 1e-4 < coarse


def forward_errors_with(matmul: object, precision: str) -> float:
    matmul.fp32_precision = precision  # type: ignore[attr-defined]
    return forward_errors("cpu-amx", "plain", (20, 160, 130))
