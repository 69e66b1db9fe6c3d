"""normal_noise on every backend: the same bits, known numbers, and normal ones."""

from __future__ import annotations

import importlib
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmeg import ops
from hmeg.streams import Purpose
from tests.support.operator_checks import check_registration
from tests.support.targets import CPU_VARIANTS, Target, target, targets

EVERYWHERE = pytest.mark.parametrize("backend", targets("normal_noise"), indirect=True)
ROOT = Path(__file__).parents[2]

reference = importlib.import_module("hmeg.reference.normal_noise")  # whose function has the same name

WORD = np.uint64(0xFFFFFFFF)
# Counter, key and words that the authors of Philox publish with their library (Random123, kat_vectors).
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
INDICES = (0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
SEEDS = (0, 1, 2**32 + 5, 2**63 - 1, 2**63, 2**64 - 1)


def words_of(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def rows(*indices: int) -> Tensor:
    """Indices in [0, 2**64) as the operator takes them."""
    return torch.from_numpy(np.array(indices, dtype=np.uint64).view(np.int64))


def bits(noise: Tensor) -> Tensor:
    assert noise.dtype == torch.float32 and noise.is_contiguous()
    return noise.cpu().view(torch.int32)


def philox(counter: Sequence[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Written a second time, in numpy's unsigned numbers."""
    c0, c1, c2, c3 = counter
    for r in range(10):
        k0, k1 = (np.uint64((k + r * g) % 2**32) for k, g in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        p0, p2 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p2 >> np.uint64(32)) ^ c1 ^ k0, p2 & WORD, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & WORD
    return [c0, c1, c2, c3]


def exact(index: int, seed: int, numbers: int) -> np.ndarray:
    """(numbers,) float64: the definition with real numbers' logarithm, cosine and sine."""
    block = np.arange(-(-numbers // 4), dtype=np.uint64)
    fixed = (np.full_like(block, word) for word in (int(Purpose.IMAGE), index % 2**32, index >> 32))
    words = np.stack(philox([block, *fixed], (seed % 2**32, seed >> 32)), axis=1).reshape(-1, 2)
    radius = exact_radius(words[:, 0])
    angle = words[:, 1].astype(np.float64) * (2 * math.pi / 2**32)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:numbers]


def exact_radius(words: np.ndarray) -> np.ndarray:
    u = ((words.astype(np.float64) + 0.5) / 2**32).astype(np.float32)
    return np.sqrt(-2 * np.log(u.astype(np.float64)))


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_known_answers(counter: str, key: str, words: str) -> None:
    low, high = words_of(key)
    in_torch = reference.philox([torch.tensor([word]) for word in words_of(counter)], (low, high))
    assert [int(word) for word in in_torch] == words_of(words)
    in_numpy = philox([np.array([word], dtype=np.uint64) for word in words_of(counter)], (low, high))
    assert [int(word[0]) for word in in_numpy] == words_of(words)


@EVERYWHERE
def test_numbers_never_change(backend: Target) -> None:
    """They are part of every sample that was ever drawn."""
    noise = ops.normal_noise(rows(3, 2**64 - 1).to(backend.device), 7, (2, 3), backend=backend.name)
    assert [[float(x).hex() for x in row.flatten()] for row in noise] == PINNED


PINNED = [
    ["0x1.3f0f400000000p-4", "0x1.95c6520000000p-3", "-0x1.69761c0000000p+0", "-0x1.c33de40000000p-1",
     "0x1.8642180000000p+0", "-0x1.3378fa0000000p-1"],
    ["-0x1.8b466c0000000p+0", "0x1.ba62940000000p+0", "-0x1.8f14980000000p-2", "0x1.7cda040000000p-1",
     "0x1.6cc02c0000000p-3", "-0x1.9c2c560000000p-2"],
]  # fmt: skip


@EVERYWHERE
@pytest.mark.parametrize("seed", SEEDS)
def test_within_rounding_of_the_definition(backend: Target, seed: int) -> None:
    noise = ops.normal_noise(rows(*INDICES).to(backend.device), seed, (5, 13), backend=backend.name)
    assert noise.shape == (len(INDICES), 5, 13)
    for row, index in zip(noise, INDICES, strict=True):
        want = exact(index, seed, 65)
        off = np.abs(row.flatten().double().cpu().numpy() - want) / np.maximum(1, np.abs(want))
        assert off.max() < 3e-7


@EVERYWHERE
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3,), (4,), (2, 3), (7, 9), (16, 16), (3, 61, 37), (2, 8, 1030)])
def test_same_bits_as_the_reference(backend: Target, shape: tuple[int, ...]) -> None:
    """Samples of less than a block, of whole blocks and not, of several tiles."""
    indices = rows(5, 2**40 + 1, 0)
    want = ops.normal_noise(indices, 2**50 + 3, shape, backend="reference")
    assert torch.equal(
        bits(ops.normal_noise(indices.to(backend.device), 2**50 + 3, shape, backend=backend.name)), bits(want)
    )


@EVERYWHERE
@pytest.mark.parametrize(("count", "shape"), [(0, (3, 4)), (2, (0,)), (0, (0, 5)), (3, (4, 0, 2))])
def test_nothing(backend: Target, count: int, shape: tuple[int, ...]) -> None:
    noise = ops.normal_noise(torch.arange(count, device=backend.device), 0, shape, backend=backend.name)
    assert noise.shape == (count, *shape)
    assert noise.dtype == torch.float32


@EVERYWHERE
def test_least_and_largest_radius(backend: Target) -> None:
    """Found by looking at 200 million: u = 1, whose logarithm is 0, and u near 2**-32."""
    noise = ops.normal_noise(rows(45197, 4671).to(backend.device), 0, (2048, 2), backend=backend.name).cpu()
    assert not noise[0, 1141].any()
    assert abs(math.hypot(*noise[1, 1374].tolist()) - 6.599279610994955) < 1e-6
    assert torch.equal(bits(noise), bits(ops.normal_noise(rows(45197, 4671), 0, (2048, 2), backend="reference")))


@EVERYWHERE
def test_a_sample_is_itself_in_any_company(backend: Target) -> None:
    def drawn(*indices: int, numbers: int = 50) -> Tensor:
        return bits(ops.normal_noise(rows(*indices).to(backend.device), 9, (numbers,), backend=backend.name))

    together = drawn(4, 2**63, 4, 8)
    for row, index in zip(together, (4, 2**63, 4, 8), strict=True):
        assert torch.equal(row, drawn(index)[0])
        assert torch.equal(row[:7], drawn(index, numbers=7)[0]), "the first numbers, however many follow"


@EVERYWHERE
def test_indices_with_strides(backend: Target) -> None:
    indices = torch.arange(12, device=backend.device).reshape(6, 2)
    for view in (indices[:, 1], indices[::3, 0], indices[1:2, 1].expand(3)):
        got = ops.normal_noise(view, 2, (9,), backend=backend.name)
        assert torch.equal(bits(got), bits(ops.normal_noise(view.cpu().clone(), 2, (9,), backend="reference")))


@pytest.mark.parametrize("backend", [f"cpu-{variant}" for variant in CPU_VARIANTS], indirect=True)
def test_thread_count_does_not_matter(backend: Target) -> None:
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(bits(ops.normal_noise(rows(1, 2, 3), 4, (3, 101, 97), backend=backend.name)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[1], results[0]) and torch.equal(results[2], results[0])


@pytest.mark.compiler
def test_order_of_the_emulator_does_not_matter() -> None:
    results = [
        bits(ops.normal_noise(rows(1, 2), 4, (5000,), backend=target(f"emulated-{order}").name))
        for order in ("ascending", "descending", "random")
    ]
    assert torch.equal(results[1], results[0]) and torch.equal(results[2], results[0])


def test_accurate_over_the_whole_range_of_words() -> None:
    """The parts of the definition, at words of all sizes: errors relative to what they are, and absolute."""
    generator = torch.Generator().manual_seed(0)
    sizes = 2.0 ** (32 * torch.rand(100_000, generator=generator, dtype=torch.float64))
    small = sizes.long().clamp(0, 2**32 - 1)
    words = torch.cat([torch.randint(0, 2**32, (200_000,), generator=generator), small, 2**32 - 1 - small])
    radius, (cosine, sine) = reference._radius(words).double(), reference._direction(words)
    want = torch.from_numpy(exact_radius(words.numpy()))
    assert ((radius - want).abs() <= 1.2e-7 * want).all()
    angle = words.double() * (2 * math.pi / 2**32)
    assert (cosine - angle.cos()).abs().max() < 1.2e-7
    assert (sine - angle.sin()).abs().max() < 1.2e-7


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """(8, 262144): eight samples of one seed."""
    return ops.normal_noise(torch.arange(8), 11, (512, 512)).reshape(8, -1).double().numpy()


def test_moments(many: np.ndarray) -> None:
    """Each within five standard deviations of what as many normal numbers would give."""
    n = many.size
    assert abs(many.mean()) < 5 / math.sqrt(n)
    assert abs((many**2).mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs((many**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((many**4).mean() - 3) < 5 * math.sqrt(96 / n)


def test_distribution_function(many: np.ndarray) -> None:
    """Kolmogorov and Smirnov: the largest distance from the normal one, which 2 / sqrt(n) exceeds once in 1,500."""
    values = np.sort(many.reshape(-1))
    wanted = 0.5 * (1 + torch.erf(torch.from_numpy(values) / math.sqrt(2)).numpy())
    steps = np.arange(len(values) + 1) / len(values)
    assert max(np.abs(wanted - steps[1:]).max(), np.abs(wanted - steps[:-1]).max()) < 2 / math.sqrt(len(values))


def test_tails(many: np.ndarray) -> None:
    """How many lie beyond 3, 4 and 4.5, within five standard deviations of how many should."""
    for limit in (3, 4, 4.5):
        expected = many.size * math.erfc(limit / math.sqrt(2))
        assert abs((np.abs(many) > limit).sum() - expected) < 5 * math.sqrt(expected)


def test_independence(many: np.ndarray) -> None:
    """Neither numbers nor their squares go together: within a sample, between samples, between seeds."""
    other = ops.normal_noise(torch.arange(8), 12, (512, 512)).reshape(8, -1).double().numpy()
    flat = many.reshape(-1)
    pairs = {
        **{f"{lag} apart": (flat[:-lag], flat[lag:]) for lag in (1, 2, 3, 4, 8, 64, 512)},
        "next sample": (many[:-1].reshape(-1), many[1:].reshape(-1)),
        "next seed": (flat, other.reshape(-1)),
    }
    for name, (one, two) in pairs.items():
        assert abs((one * two).mean()) < 5 / math.sqrt(len(one)), name
        assert abs(((one**2 - 1) * (two**2 - 1)).mean()) < 5 * 2 / math.sqrt(len(one)), name


def test_every_word_of_seed_and_index_counts() -> None:
    first = {tuple(ops.normal_noise(rows(index), seed, (4,)).flatten().tolist()) for seed in SEEDS for index in INDICES}
    assert len(first) == len(SEEDS) * len(INDICES)


def test_constants_agree_across_languages() -> None:
    """Each as float32: what was written in three places is the same number."""
    header = (ROOT / "csrc" / "normal_noise.h").read_text()
    kernel = (ROOT / "kernels" / "triton" / "normal_noise.py").read_text()

    def in_header(name: str) -> float:
        found = re.search(rf"\b{name} = ([-\d.e]+)f[,;]", header)
        assert found is not None, name
        return float(found[1])

    def in_triton(name: str) -> list[float]:
        found = re.search(rf"^{name} = tl.constexpr\(\(?([^()]+)\)", kernel, re.M)
        assert found is not None, name
        return [float(value) for value in found[1].split(",")]

    names = {
        "LN2_HIGH": ((reference._LN2_HIGH,), ["kLn2High"]),
        "LN2_LOW": ((reference._LN2_LOW,), ["kLn2Low"]),
        "LOG": (reference._LOG, [f"kLog{i}" for i in range(3, 11)]),
        "SINE": (reference._SINE, [f"kSine{i}" for i in (1, 3, 5, 7)]),
        "COSINE": (reference._COSINE, [None, *(f"kCosine{i}" for i in (2, 4, 6, 8))]),
    }
    for in_python, (values, in_cpp) in names.items():
        assert in_triton(in_python) == list(values)
        assert [1.0 if name is None else in_header(name) for name in in_cpp] == list(values)
    assert f"kPurpose = {reference.PURPOSE};" in header and f"PURPOSE = tl.constexpr({reference.PURPOSE})" in kernel
    assert reference.PURPOSE == Purpose.IMAGE


@pytest.mark.parametrize("backend", ["reference", "cpu-portable", "triton"], indirect=True)
def test_registered(backend: Target) -> None:
    check_registration("normal_noise", (torch.arange(3, device=backend.device), -5, (2, 3), backend.name))


@pytest.mark.compiler
@pytest.mark.parametrize(("backend", "compiler"), [("reference", "aot_eager"), ("cpu-portable", "inductor")],
                         indirect=["backend"])  # fmt: skip
def test_compiled(backend: Target, compiler: str) -> None:
    """Without a new compilation for every seed, index, count and size."""
    torch._dynamo.reset()

    def run(indices: Tensor, seed: int, side: int) -> Tensor:
        return ops.normal_noise(indices, seed, (2, side), backend=backend.name) * 2

    compiled = torch.compile(run, fullgraph=True, dynamic=True, backend=compiler)
    for count, seed, side in ((3, 4, 5), (2, 2**40, 9), (5, 2**62 + 1, 6), (4, 2**63, 7), (4, 2**64 - 1, 7)):
        indices = torch.arange(count) + 2**40
        assert torch.equal(bits(compiled(indices, seed, side)), bits(run(indices, seed, side)))


@pytest.mark.compiler
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_nvcc_fuses_nothing(tmp_path: Path) -> None:
    """Nor may ptxas: it leaves instructions alone that say how they round. (Triton: tests/support/aot_triton.py.)"""
    source, made = ROOT / "kernels" / "cuda" / "normal_noise.cu", tmp_path / "kernel.ptx"
    includes = ["-I", str(ROOT / "kernels"), "-I", str(ROOT / "csrc")]
    subprocess.run(["nvcc", "-std=c++17", "-arch=sm_90", "-ptx", *includes, str(source), "-o", str(made)], check=True)
    assert set(re.findall(r"\b(?:add|sub|mul|fma|mad|sqrt)\.[a-z.]*f32", made.read_text())) == {
        "add.rn.f32", "mul.rn.f32", "sqrt.rn.f32"
    }  # fmt: skip


def test_no_gradient() -> None:
    assert not ops.normal_noise(torch.arange(2), 0, (3,)).requires_grad


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"indices": [1, 2]}, TypeError, "normal_noise: indices must be a tensor, got list"),
        ({"indices": torch.zeros(2)}, TypeError, "normal_noise: indices must be int64, got torch.float32"),
        ({"indices": torch.zeros(2).int()}, TypeError, "indices must be int64, got torch.int32"),
        ({"indices": torch.tensor(1)}, ValueError, r"indices must have shape \(N\), got \(\)"),
        ({"indices": torch.zeros(2, 2).long()}, ValueError, r"indices must have shape \(N\), got \(2, 2\)"),
        ({"seed": -1}, ValueError, "normal_noise: seed must be at least 0, got -1"),
        ({"seed": 2**64}, ValueError, r"seed must be in \[0, 2\*\*64\), got 18446744073709551616"),
        ({"seed": 1.0}, TypeError, "seed must be an integer, got float"),
        ({"shape": 4}, TypeError, "shape must be a tuple of integers, got int"),
        ({"shape": (4, 2.0)}, TypeError, "every side of shape must be an integer, got float"),
        ({"shape": (4, -1)}, ValueError, "every side of shape must be at least 0, got -1"),
        ({"shape": (2**17, 2**17, 2)}, ValueError, r"at most 2\*\*34 numbers, got shape \(131072, 131072, 2\)"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    values = {"indices": torch.arange(2), "seed": 0, "shape": (3,), **changed}
    with pytest.raises(error, match=message):
        ops.normal_noise(**values)  # type: ignore[arg-type]
