"""Whether ONNX Runtime computes from a file what torch computes from the weights it was made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hmeg.graph import SymbolGraph
from hmeg.graph.latex import parse_latex
from hmeg.model import HMEG, ModelConfig
from hmeg.model.composition import Composition
from hmeg.model.display import upright
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.noise import box_noise, image_noise

from .onnx_runtime import open_session
from .padding import padded
from .runtime import DTYPES, image_name

EXPRESSIONS = ("x", r"\frac{a+b}{\sqrt{c}}", r"\sum_{i=1}^{n} a_{i}")
_FP32_TOLERANCE = 1e-4
_NUMPY = {"fp32": "float32", "fp16": "float16"}


@dataclass(frozen=True)
class Agreement:
    """The largest difference of any output and what an image is allowed, as shares of max(1, its largest value)."""

    difference: float
    allowed: float


class DisagreementError(ValueError):
    """A file does not compute what its weights do."""


def tolerance(config: ModelConfig, precision: str) -> float:
    """What an image of an exported decoder may be off by, as a share of max(1, its largest value).

    fp32: 1e-4. Otherwise every operator rounds its result, and its weights were rounded before, by half a unit in the
    last place each: counted along the longest road, as if all were of the size of the largest value and added up.
    """
    if precision == "fp32":
        return _FP32_TOLERANCE
    inputs, upsampler, stage, head = 2, 3, 5, 3  # a stage: pooled layout, two convolutions, two leaky ReLUs
    operators = inputs + upsampler + stage * len(config.image.refinement_dims) + head
    return 2 * operators * torch.finfo(DTYPES[precision]).eps / 2


@torch.inference_mode()
def check_onnx(path: str | os.PathLike[str], model: HMEG) -> Agreement:
    """Compares the first expression, and all three, drawn at generated boxes, with what the model itself computes.

    :class:`DisagreementError` where an output is off by more than :func:`tolerance`; other errors as
    :class:`hmeg.export.onnx_runtime.OnnxRuntime` has them.
    """
    session, metadata = open_session(path, torch.device("cpu"))
    allowed = tolerance(metadata.config, metadata.precision)
    worst = Agreement(0.0, allowed)
    graphs = [parse_latex(text) for text in EXPRESSIONS]
    for some in (graphs[:1], graphs):
        drawn = draw(model, some)
        if metadata.part == "decoder":
            inputs = drawn.composition.decoder_inputs(drawn.noise)
            dtype = DTYPES[metadata.precision]
            arrays = {name: value.to(dtype).numpy() for name, value in inputs.items()}
        else:
            arrays = padded(some, model.config, seed=0, image_dtype=_NUMPY[metadata.precision])
        for output, got in zip(session.get_outputs(), session.run(None, arrays), strict=True):
            wanted = drawn.outputs[output.name].numpy()
            largest = max(1.0, float(np.abs(wanted).max()))
            share = float(np.abs(got.astype(np.float32) - wanted).max()) / largest
            limit = allowed if output.name.startswith("image") else _FP32_TOLERANCE
            if not share <= limit:  # NaN too
                raise DisagreementError(
                    f"{os.fspath(path)}: {output.name} of {len(some)} expressions is off by {share:.2g} of its largest "
                    f"value, more than {limit:.2g}: this file does not compute what the weights do"
                )
            worst = Agreement(max(worst.difference, share), allowed)
    return worst


@dataclass(frozen=True)
class Drawn:
    """What the model itself computes of some graphs: a decoder's inputs, and the outputs of a full export by name."""

    composition: Composition
    noise: Tensor
    outputs: dict[str, Tensor]


@torch.inference_mode()
def draw(model: HMEG, graphs: Sequence[SymbolGraph], seed: int = 0) -> Drawn:
    """As :class:`hmeg.generation.generator.Generator` draws sample 0, 1, ... of that seed, padded to the longest."""
    config = model.config
    batch = GraphBatch.from_graphs(graphs, typeset=config.layout.prior)
    counts = [len(graph) for graph in graphs]
    noise = torch.from_numpy(
        np.concatenate([box_noise(count, config.layout.noise_dim, seed, i) for i, count in enumerate(counts)])
    )
    own = [None if graph.boxes is None else torch.from_numpy(graph.boxes).float() for graph in graphs]
    generated = model.layout_generator(batch, noise).split(counts)
    used = [made if given is None else given for made, given in zip(generated, own, strict=True)]
    boxes = torch.from_numpy(upright(torch.cat(used).numpy()))
    modes = model.image_model.choose_glyphs(batch, boxes, noise[:, 0])
    paper = image_noise(config.image.noise_dim, config.image.size, seed, range(len(graphs)))
    composition = model.image_model.compose(batch, boxes, modes)
    images = model.image_model(batch, paper, boxes, glyph_modes=modes).images
    masks = model.image_model.mask_refiner(boxes)[:, 0]
    outputs = {
        "boxes_drawn": pad_sequence(list(boxes.split(counts)), batch_first=True),
        "masks": pad_sequence(list(masks.split(counts)), batch_first=True),
        **{image_name(size): image for size, image in images.items()},
    }
    return Drawn(composition, paper, outputs)
