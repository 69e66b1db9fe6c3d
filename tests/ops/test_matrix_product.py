"""Products by the processor's matrix unit, in every layout of their factors."""

from __future__ import annotations

import pytest
import torch

from hmeg.backends.cpu.matrix_product import Products
from hmeg.backends.native.device import Cpu
from tests.support.targets import target

AMX = 3  # its position among the variants


@pytest.fixture
def products() -> Products:
    target("cpu-amx")
    return Products(Cpu(AMX), by_matrix_unit=True)


SHAPES = [(1, 1, 1), (33, 7, 65), (64, 96, 32), (70, 1, 5), (1, 40, 1), (130, 513, 100)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_products(products: Products, shape: tuple[int, int, int], transposed: str) -> None:
    rows, depth, columns = shape
    generator = torch.Generator().manual_seed(depth)
    a = torch.randn((depth, rows) if "a" in transposed else (rows, depth), generator=generator)
    b = torch.randn((columns, depth) if "b" in transposed else (depth, columns), generator=generator)
    a, b = (a.T if "a" in transposed else a), (b.T if "b" in transposed else b)
    bias, onto = torch.randn(columns, generator=generator), torch.randn(rows, columns, generator=generator)
    want, size = a.double() @ b.double(), depth**0.5
    assert (products.mm(a, b).double() - want).abs().max() < 2e-6 * size
    assert (products.mm(a, b, bias).double() - want - bias).abs().max() < 2e-6 * size
    before = onto.clone()
    added = products.mm(a, b, onto=onto)
    assert added is onto
    wide = torch.zeros(rows, columns + 3)
    assert products.mm(a, b, out=wide[:, 2:-1]).data_ptr() == wide[:, 2:].data_ptr()
    assert (wide[:, 2:-1].double() - want).abs().max() < 2e-6 * size
    assert not wide[:, :2].any()
    assert not wide[:, -1].any()
    assert (added.double() - want - before).abs().max() < 2e-6 * size


def test_parts_of_other_tensors(products: Products) -> None:
    """Rows and columns with steps between them; what lies between is left alone."""
    whole = torch.randn(50, 90, generator=torch.Generator().manual_seed(0))
    a, b = whole[:40, 10:30], whole[5:45:2, ::3]
    assert (products.mm(a, b).double() - a.double() @ b.double()).abs().max() < 1e-5
    assert (products.mm(b.T, a.T).double() - b.T.double() @ a.T.double()).abs().max() < 1e-5


@pytest.mark.parametrize("threads", [2, 5, 40])
def test_threads_do_not_matter(products: Products, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(300, 70, generator=generator), torch.randn(70, 200, generator=generator)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    one = products.mm(a, b)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert torch.equal(products.mm(a, b), one)


def test_without_it_torch_multiplies() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, bias = (torch.randn(shape, generator=generator) for shape in ((5, 6), (6, 7), (7,)))
    ordinary = Products(Cpu(0), by_matrix_unit=False)
    assert torch.equal(ordinary.mm(a, b), torch.mm(a, b))
    assert torch.equal(ordinary.mm(a, b, bias), torch.addmm(bias, a, b))
    assert torch.equal(ordinary.mm(a, b, onto=torch.ones(5, 7)), torch.ones(5, 7).addmm_(a, b))


def test_a_variant_without_one_refuses() -> None:
    with pytest.raises(ValueError, match="this CPU variant has no matrix unit"):
        Products(Cpu(0), by_matrix_unit=True).mm(torch.ones(2, 2), torch.ones(2, 2))
