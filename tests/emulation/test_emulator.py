"""The emulator finds the faults it is there for, and runs correct kernels right in every order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from .device import EmulatedDevice
from .library import EMULATOR, ORDERS, Library, build, compiler

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the emulator with"),
]

BLOCK = 64


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(build([EMULATOR / "faulty.cu"], "faulty"))


def run(library: Library, case: int, blocks: int = 1, outputs: int = BLOCK) -> tuple[np.ndarray, np.ndarray]:
    given = torch.from_numpy(np.random.RandomState(0).standard_normal(blocks * BLOCK).astype(np.float32))
    result = torch.zeros(blocks * outputs)
    library.entries["faulty_case"]({"which": case, "in": given, "out": result, "blocks": blocks, "outputs": outputs})
    return given.numpy(), result.numpy()


@pytest.mark.parametrize("order", ORDERS)
def test_barrier_orders_shared_memory(library: Library, order: str) -> None:
    library.set_order(order)
    given, result = run(library, 0, blocks=3)
    assert np.array_equal(result.reshape(3, BLOCK), given.reshape(3, BLOCK)[:, ::-1])


@pytest.mark.parametrize("order", ORDERS)
def test_missing_barrier_reads_poison(library: Library, order: str) -> None:
    library.set_order(order)
    _, result = run(library, 1)
    assert np.isnan(result).any()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (2, r"index 64 in a shared array of 64 \(block 0, thread 63\)"),
        (3, "a barrier that only 40 of 64 threads reached"),
        (4, "a shuffle that only 31 lanes of a warp reached"),
        (5, "misaligned access of 16 bytes"),
        (6, "49160 bytes of shared memory"),
        (14, r"index 64 in a shared array of 64|misaligned access of 16 bytes"),
        (15, "index 67 in a shared array of 64"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_fault_is_reported(library: Library, order: str, case: int, message: str) -> None:
    library.set_order(order)
    with pytest.raises(RuntimeError, match=message):
        run(library, case)


@pytest.mark.parametrize("order", ORDERS)
def test_correct_kernel_runs_after_a_fault(library: Library, order: str) -> None:
    library.set_order(order)
    with pytest.raises(RuntimeError, match="misaligned"):
        run(library, 5)
    given, result = run(library, 0)
    assert np.array_equal(result, given[::-1])


def test_block_sum_is_the_same_in_every_thread_and_order(library: Library) -> None:
    results = []
    for order in ORDERS:
        library.set_order(order, seed=3)
        given, result = run(library, 7, outputs=2 * BLOCK)
        results.append(result)
        np.testing.assert_allclose(result[0::2], BLOCK * given.sum(), rtol=1e-4)
        np.testing.assert_allclose(result[1::2], 2 * BLOCK * given.sum(), rtol=1e-4)
        assert len(np.unique(result[0::2])) == 1
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_shuffle_down_keeps_the_last_lanes(library: Library) -> None:
    library.set_order("random", seed=1)
    given, result = run(library, 8)
    for warp in range(2):
        lanes = given[32 * warp : 32 * warp + 32]
        assert np.array_equal(result[32 * warp : 32 * warp + 32], np.concatenate([lanes[3:], lanes[-3:]]))


def test_shuffle_up_keeps_the_first_lanes(library: Library) -> None:
    library.set_order("random", seed=1)
    given, result = run(library, 10)
    for warp in range(2):
        lanes = given[32 * warp : 32 * warp + 32]
        assert np.array_equal(result[32 * warp : 32 * warp + 32], np.concatenate([lanes[:3], lanes[:-3]]))


def test_count_lanes_counts_its_own_warp(library: Library) -> None:
    library.set_order("random", seed=2)
    given, result = run(library, 11)
    assert np.array_equal(result, np.repeat((given.reshape(2, 32) > 0).sum(axis=1), 32))


@pytest.mark.parametrize("order", ORDERS)
def test_scattered_sums_reach_their_lanes(library: Library, order: str) -> None:
    library.set_order(order, seed=4)
    given, result = run(library, 12, outputs=2 * BLOCK)
    want = given.reshape(2, 32).sum(axis=1)[:, None] * np.arange(1, 65)
    np.testing.assert_allclose(result.reshape(2, 64), want, rtol=1e-4)


def test_shared_packs_are_read_where_they_fit(library: Library) -> None:
    given, result = run(library, 13)
    assert np.array_equal(result, given)


def test_write_outside_a_tensor_is_found(library: Library) -> None:
    device = EmulatedDevice(library, "ascending")
    given, out = torch.randn(BLOCK), torch.zeros(BLOCK)
    sizes = {"blocks": 1, "outputs": BLOCK}
    device.call("faulty_case", which=0, **{"in": given}, out=out, **sizes)
    assert torch.equal(out, given.flip(0))
    with pytest.raises(RuntimeError, match="faulty_case wrote outside out, a tensor of 64 items"):
        device.call("faulty_case", which=9, **{"in": given}, out=out, **sizes)
