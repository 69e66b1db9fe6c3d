"""One optimisation step of each kind beside its published formulation: same networks, batch, noise and losses.

The baseline asks for every operator in eager PyTorch (bench/published_operators.py) and keeps images in PyTorch's own
memory format. A step is the generator's losses, backward pass and Adam, then the discriminators'; ours also follows the
averaged weights and takes gradient norms, which the published one does not. Making the batch is left out of both: here
it happens ahead of time, in a thread. ``high`` and ``medium`` are ours with that ``--matmul-precision``, beside the
same baseline in float32; ``medium`` has other numbers, and agreement is asked for accordingly. On a CPU the baseline is
as fast with ``high``; ``eager-medium`` is the baseline with ``medium``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hmeg.training.image_trainer import ImageTrainer
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.optimisation import matmul_precision
from hmeg.training.settings import ImageTrainingConfig, LayoutTrainingConfig

from .measure import Case, measure
from .published_operators import published_operators
from .subjects import DEVICE
from .training_data import write_dataset

EXPRESSIONS = 64
ROUNDS = {"layout64": 10, "image4": 2}
STEPS = {
    "layout64": partial(LayoutTrainingConfig, batch_size=64, unpaired_share=0.0, device=DEVICE),
    "image4": partial(ImageTrainingConfig, batch_size=4, device=DEVICE),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("train") / "data", EXPRESSIONS)


def losses_of(
    trainer: LayoutTrainer | ImageTrainer, published: bool, products: str = "highest"
) -> Callable[[], list[Tensor]]:
    """A step on the trainer's first batch, as a function that returns its losses.

    products  precision of float32 matrix products, as ``--matmul-precision``
    """
    batch: Any = trainer.prepare(0)
    if published:
        trainer.ema.update = lambda network: None  # type: ignore[method-assign]
        for network in vars(trainer).values():
            if isinstance(network, torch.nn.Module):
                network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def step() -> list[Tensor]:
        with published_operators() if published else nullcontext(), matmul_precision(products):
            losses = trainer.step(0, batch)
        return [losses[name].detach() for name in sorted(losses)]

    return step


@pytest.mark.parametrize(
    ("step", "subject"),
    [
        *(("layout64", subject) for subject in ("eager", "hmeg", "high", "medium", "eager-medium")),
        *(("image4", subject) for subject in ("eager", "hmeg")),
    ],
)
def test_train(benchmark: Any, data: Path, tmp_path: Path, step: str, subject: str) -> None:
    config, number = STEPS[step](), itertools.count()
    trainer = LayoutTrainer if isinstance(config, LayoutTrainingConfig) else ImageTrainer

    def make(published: bool, products: str = "highest") -> Callable[[], list[Tensor]]:
        return losses_of(trainer(data, tmp_path / str(next(number)), config), published, products)

    # Sums of thousands of terms in float32, in another order, or of products of bfloat16; both begin with the same
    # weights.
    products = subject.removeprefix("eager-") if subject not in ("eager", "hmeg") else "highest"
    case = Case(f"train/{step}/train", make(True), tolerance=5e-2 if products == "medium" else 1e-3)
    ours = make(subject.startswith("eager"), products)
    measure(benchmark, case, subject, ours, rounds=ROUNDS[step])
