"""White paper: a finished model's images are shifted so that their background is 1, the paper of training images."""

from __future__ import annotations

from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from hmeg.graph.grammar import Grammar
from hmeg.graph.latex import parse_latex
from hmeg.model.decoder import ImageHead, RefinementStage
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.hmeg import HMEG
from hmeg.model.noise import box_noise, image_noise

EXPRESSIONS = 32
_SEED = 0


def whiten_paper(model: HMEG) -> dict[int, float]:
    """Adds to the last bias of every resolution what its paper lacks of 1; changes ``model`` in place.

    Training leaves a constant error in the background, which is most of an image and shows as grey paper. Paper is the
    median over the images of :data:`EXPRESSIONS` random expressions, for each channel: ink covers far less than half
    of them. The stage that reads a shifted image gets the opposite shift in its bias, so that other resolutions stay
    what they are, but for the outermost pixels, where a convolution sees less of it.

    Returns what paper was: resolution -> mean over channels.
    """
    decoder = model.image_model.decoder
    levels = _paper(model)
    first_head = len(decoder.stages) - len(decoder.heads)
    with torch.no_grad():
        for i, resolution in enumerate(decoder.resolutions):
            shift = 1 - levels[resolution]
            _bias(cast(ImageHead, decoder.heads[i]).out).add_(shift)
            if i + 1 < len(decoder.heads):
                reader = cast(RefinementStage, decoder.stages[first_head + i + 1]).conv1
                _bias(reader).sub_(reader.weight[:, -len(shift) :].sum(dim=(2, 3)) @ shift)
    return {resolution: float(level.mean()) for resolution, level in levels.items()}


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


@torch.no_grad()
def _paper(model: HMEG) -> dict[int, Tensor]:
    """Resolution -> (image.channels,) median of the images of random expressions, drawn in evaluation mode."""
    config, was_training = model.config, model.training
    model.eval()
    drawn: dict[int, list[Tensor]] = {}
    for index, latex in enumerate(islice(Grammar.crohme().expressions(_SEED), EXPRESSIONS)):
        graph = parse_latex(latex)
        batch = GraphBatch.from_graphs([graph], typeset=config.layout.prior)
        boxes = torch.from_numpy(box_noise(len(graph), config.layout.noise_dim, _SEED, index))
        noise = image_noise(config.image.noise_dim, config.image.size, _SEED, [index])
        _, output = model(batch, boxes, noise)
        for resolution, image in output.images.items():
            drawn.setdefault(resolution, []).append(image[0].flatten(1))
    model.train(was_training)
    return {resolution: torch.cat(images, dim=1).median(dim=1).values for resolution, images in drawn.items()}
