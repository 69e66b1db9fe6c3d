"""How Triton's launchers are called: on the tensors' device, wherever the package of kernels lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from hmeg.backends.triton.launcher import Kernels, Launcher, import_kernels


class OnGpu(torch.Tensor):
    """A tensor that says it is on the second GPU."""

    is_cuda = True
    device = torch.device("cuda:1")  # type: ignore[assignment]


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The current device of a machine with GPUs, as a stack."""
    stack = [0]

    @contextmanager
    def device(chosen: torch.device) -> Iterator[None]:
        stack.append(chosen.index)
        yield
        stack.pop()

    monkeypatch.setattr(torch.cuda, "current_device", lambda: stack[-1])
    monkeypatch.setattr(torch.cuda, "device", device)
    return stack


def launched(current: list[int]) -> tuple[Kernels, list[int]]:
    """Kernels that note which device they are launched on."""
    noted: list[int] = []
    return Kernels(SimpleNamespace(launcher=lambda *_arguments: noted.append(current[-1]))), noted  # type: ignore[arg-type]


def on_gpu() -> torch.Tensor:
    return torch.zeros(2).as_subclass(OnGpu)


def test_kernels_run_on_the_device_of_their_tensors(current: list[int]) -> None:
    kernels, noted = launched(current)
    kernels.launcher(on_gpu(), 3)
    kernels.launcher(3, (64, 64), on_gpu())
    assert noted == [1, 1]
    assert current == [0]


def test_the_current_device_is_left_alone_where_it_is_right(
    current: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_device: torch.device) -> None:
        raise AssertionError

    kernels, noted = launched(current)
    current[:] = [1]
    monkeypatch.setattr(torch.cuda, "device", never)
    kernels.launcher(on_gpu())
    kernels.launcher(torch.zeros(2))
    kernels.launcher(3)
    assert noted == [1, 1, 1]


def test_kernels_are_part_of_the_package() -> None:
    pytest.importorskip("triton")
    assert import_kernels().__name__ == "hmeg.backends.triton.kernels"
    assert callable(Launcher()._kernels("box_soft_mask").box_soft_mask_forward)
