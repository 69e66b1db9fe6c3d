"""The whole road from LaTeX to files, and its front end alone, beside the published way with the same weights.

``small`` has weights of its own: its images are others, and its ratio is that of what the two give for the same LaTeX.
Loading and starting up are not part of a measurement; a contact sheet and a report, which every run writes once, are.
Files go to a temporary folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hmeg
from hmeg.generation import inputs
from hmeg.generation.engine import default_workers, draw
from hmeg.generation.generator import Generator
from hmeg.generation.manifest import Settings
from hmeg.generation.run import Run
from hmeg.graph.grammar import Grammar
from hmeg.graph.latex import parse_latex
from hmeg.model import BASE, HMEG
from hmeg.model.display import to_pixels, upright
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.noise import box_noise, image_noise

from . import published_road
from .measure import Case, measure
from .memory import extra_bytes
from .subjects import DEVICE

IMAGES = 8  # a run; real ones have many more, so what is done once a run counts for less there
ROUNDS = 5
CASE = f"generate/{IMAGES}_images"
ROAD = ("eager", "base", "base_bf16", "small", "small_bf16")
FRONT_END = ("eager", "cpu")
ON_CPU = pytest.mark.skipif(DEVICE != "cpu", reason="the published way is written for the CPU here")


@cache
def base() -> HMEG:
    torch.manual_seed(0)
    return HMEG(BASE).eval().requires_grad_(False)


@cache
def generator(subject: str) -> Generator:
    name, _, precision = subject.partition("_")
    precision = "bfloat16" if precision else "float32"
    if name == "small":
        return hmeg.load("small", DEVICE, precision)
    return Generator(base(), DEVICE, "base", precision)


def texts() -> list[str]:
    return [Grammar.crohme().draw(0, index) for index in range(IMAGES)]


def road(subject: str, folder: Path) -> None:
    """LaTeX to labelled files, as ``hmeg generate`` does it."""
    made = generator(subject)
    settings = Settings(made.weights, made.precision, 0, 1, 256, "bench", "folder", "train", 256)
    with Run(folder, settings, overwrite=True) as run:
        entries: Iterator[inputs.Entry] = inputs.from_arguments(texts())
        draw(made, run, entries, 1, default_workers(made.device.type), lambda sample: None, lambda entry, why: None)


def published(folder: Path) -> None:
    for index, text in enumerate(texts()):
        noise = torch.randn(1, BASE.image.noise_dim, 256, 256)
        published_road.draw(base(), text, folder / f"{index}.png", noise)


@ON_CPU
@pytest.mark.parametrize("subject", ROAD)
def test_road(benchmark: Any, subject: str) -> None:
    if subject == "base":
        check_same_image()
    with tempfile.TemporaryDirectory() as folder:
        call: Callable[[], None] = (
            (lambda: published(Path(folder))) if subject == "eager" else (lambda: road(subject, Path(folder)))
        )
        call()
        benchmark.extra_info.update(
            case=CASE,
            subject=subject,
            extra_bytes=extra_bytes(lambda: call() or [], DEVICE),
            device="cpu",
            threads=torch.get_num_threads(),
            torch=torch.__version__,
        )
        benchmark.pedantic(call, rounds=ROUNDS, iterations=1)
    seconds = np.percentile(benchmark.stats.stats.data, (20, 50, 80))
    rates = " ".join(f"{IMAGES / s:7.2f}" for s in seconds)
    print(f"{CASE:38} {subject:12} {rates} images/s (p20, p50, p80 of the time)", flush=True)


def check_same_image() -> None:
    """With the same noise the published way and ours differ by one grey level at most."""
    text, made = texts()[0], generator("base")
    (sample,) = made(text, seed=3)
    noise = torch.from_numpy(box_noise(len(sample.graph), BASE.layout.noise_dim, 3, 0))
    with torch.no_grad():
        graph = GraphBatch.from_graphs([parse_latex(text)])
        boxes = published_road.boxes_of(base().layout_generator, graph, noise).numpy()
        layout = published_road.layout_of(base(), graph, torch.from_numpy(upright(boxes)))
        image = published_road.images(base(), layout, image_noise(BASE.image.noise_dim, 256, 3, [0]))[256][0]
    wanted = to_pixels(image.numpy()).astype(int)
    assert np.abs(sample.array.astype(int) - wanted).max() <= 1


@ON_CPU
@pytest.mark.parametrize("subject", FRONT_END)
def test_front_end(benchmark: Any, subject: str) -> None:
    """Graphs to boxes and composed layout, 32 expressions at a time, base."""
    graphs = [parse_latex(Grammar.crohme().draw(1, index)) for index in range(32)]
    batch = GraphBatch.from_graphs(graphs)
    noise = torch.randn(len(batch.symbols), BASE.layout.noise_dim, generator=torch.Generator().manual_seed(0))
    model = base()

    def ours() -> list[torch.Tensor]:
        with torch.inference_mode():
            boxes = model.layout_generator(batch, noise)
            return [model.image_model.compose(batch, boxes).layout]

    def eager() -> list[torch.Tensor]:
        with torch.inference_mode():
            return [published_road.front_end(model, batch, noise)]

    case = Case("generate/front_end/32_expressions", eager, tolerance=1e-4)
    measure(benchmark, case, subject, eager if subject == "eager" else ours)
