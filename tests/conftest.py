"""Fixtures for all tests: the folder of shared data beside the repository, and the backends of operators."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before torch is imported: pytest's workers share the processors. Threads that wait for each other, as torch's do, take
# many times as long where there are more of them than processors.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))

import torch

# Before any Triton kernel is imported: without a GPU Triton's interpreter runs them.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
    # Sizes of arrays and indices are checked at every call of native code; on a GPU that would wait for the device.
    os.environ.setdefault("HMEG_DEBUG", "1")

from hmeg import backends
from tests.support.targets import Target, target

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


# What tests of these backends take (see targets.py); Triton is slow where it is interpreted.
BACKEND_MARKERS = {"emulated": "compiler", "triton": "gpu" if torch.cuda.is_available() else "slow", "cuda": "gpu"}


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by the backend they run on, and those that open a browser."""
    for item in items:
        if isinstance(item, pytest.Function):
            backend = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
            marker = BACKEND_MARKERS.get(str(backend).partition("-")[0])
            if marker is not None:
                item.add_marker(marker)
            if "browser" in item.fixturenames:
                item.add_marker("browser")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the repository; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder `shared` beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set of eight expressions, x^2 and 1+a in turn; not to be changed."""
    from tests.support.training_data import prepared

    return prepared(tmp_path_factory.mktemp("prepared"), copies=4)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order: a resumed run must give the same numbers to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def registered_backends() -> Iterator[None]:
    """Backends that a test registers are gone after it."""
    before = dict(backends._backends)
    yield
    backends._backends.clear()
    backends._backends.update(before)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Target]:
    """A backend by name (see targets.py); outputs a kernel forgets to write are NaN."""
    chosen = target(request.param)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # also fills new tensors with NaN
    try:
        yield chosen
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window (see browser.py)."""
    from tests.support.browser import chromium

    with chromium() as started:
        yield started
