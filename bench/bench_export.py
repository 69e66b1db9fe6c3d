"""The decoder, layout to images, by torch and by the runtimes of exported files: small and base, batches of 1 and 8.

Weights of base are random: the arithmetic is the same. Making a file, compiling and loading are not measured. On the
CPU every subject uses as many threads as torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hmeg.export.aoti.build import build_package
from hmeg.export.decoder_part import DecoderPart, example_inputs
from hmeg.export.errors import Unavailable
from hmeg.export.onnx_export import export_onnx
from hmeg.export.runtime import Runtime, load_runtime
from hmeg.export.trt.build import build_engine
from hmeg.export.trt.library import require_tensorrt
from hmeg.model import BASE, HMEG
from hmeg.model.composition import Composition
from hmeg.weights import load_model

from .measure import Case, measure
from .published_road import refined
from .subjects import DEVICE

MODELS = ("small", "base")
BATCHES = (1, 8)
TOLERANCE = 1e-4


@cache
def model(name: str) -> HMEG:
    if name == "small":
        made, _ = load_model("small")
    else:
        torch.manual_seed(0)
        made = HMEG(BASE)
    return made.eval().requires_grad_(False)


class PublishedDecoder(nn.Module):
    """Upsampler and decoder as published, from the decoder's inputs."""

    def __init__(self, made: HMEG) -> None:
        super().__init__()
        self.config = made.config
        self.upsampler, self.decoder = made.image_model.upsampler, made.image_model.decoder

    def forward(self, layout: Tensor, noise: Tensor, glyphs: Tensor | None = None) -> tuple[Tensor, ...]:
        composition = Composition.of_decoder_inputs(self.config, layout, glyphs)
        return tuple(refined(self.decoder, composition.upsampled(self.upsampler, noise)).values())


def _published(name: str) -> nn.Module:
    return PublishedDecoder(model(name)).to(DEVICE)


def _compiled(name: str) -> Callable[..., Any]:
    torch._dynamo.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(_published(name))


def _for_inference(name: str) -> nn.Module:
    return DecoderPart(model(name)).to(DEVICE)


def _drawn_by(export: Callable[[HMEG, Path], object], suffix: str) -> Callable[[str], Callable[..., Any]]:
    """A subject that is a file: made in a temporary folder, loaded, and the file forgotten."""

    def made(name: str) -> Callable[..., Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}{suffix}"
            try:
                export(model(name), path)
                runtime: Runtime = load_runtime(path, torch.device(DEVICE))
            except Unavailable as error:
                pytest.skip(str(error))
        return lambda **inputs: tuple(runtime.decode(**inputs).values())

    return made


def _compile_ahead(made: HMEG, path: Path) -> None:
    build_package(made, path, device=torch.device(DEVICE))


def _build_engine(made: HMEG, path: Path) -> None:
    require_tensorrt()
    exported = path.with_suffix(".onnx")
    build_engine(exported, export_onnx(made, exported), path)


# subject -> what makes it: the name of a model -> a function of the decoder's inputs
SUBJECTS: dict[str, Callable[[str], Callable[..., Any]]] = {
    "eager": _published,
    "compile": _compiled,
    "inference": _for_inference,
    "onnxruntime": _drawn_by(export_onnx, ".onnx"),
    "aoti": _drawn_by(_compile_ahead, ".pt2"),
    "tensorrt": _drawn_by(_build_engine, ".engine"),
}


@cache
def made(subject: str, name: str) -> Callable[..., Any]:
    return SUBJECTS[subject](name)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", MODELS)
def test_decoder(benchmark: Any, name: str, batch: int, subject: str) -> None:
    inputs = {key: value.to(DEVICE) for key, value in example_inputs(model(name).config, batch).items()}

    def run(function: Callable[..., Any]) -> Callable[[], Sequence[Tensor]]:
        def call() -> Sequence[Tensor]:
            with torch.inference_mode():
                images: Sequence[Tensor] = function(**inputs)
            return images

        return call

    case = Case(f"export/{name}_batch{batch}/forward", run(made("eager", name)), TOLERANCE)
    measure(benchmark, case, subject, run(made(subject, name)), rounds=10 if name == "base" and batch > 1 else None)
