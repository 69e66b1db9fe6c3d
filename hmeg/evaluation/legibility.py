"""Can the symbols be read? Recognition of symbols cut out of real and of generated images, by two readers.

One is deliberately plain: the classes of the most similar training symbols vote. It has no weights to train and
nothing in common with the networks it judges. The other is the bundled classifier
(:mod:`hmeg.model.symbol_classifier`), which reads real symbols better; its accuracy on generated symbols over that on
real ones is called recognisability.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hmeg.data.crohme import CrohmeDataset
from hmeg.data.symbol_accuracy import accuracy as classified_accuracy
from hmeg.data.symbol_accuracy import accuracy_on
from hmeg.data.symbol_cuts import cut_symbols
from hmeg.generation.generator import Generator
from hmeg.graph import SymbolGraph, vocabulary
from hmeg.graph.typeset import typeset
from hmeg.model.box_iou import box_iou
from hmeg.model.box_spread import energy_score, local_shape
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.symbol_classifier import SymbolClassifier, bundled_classifier

_SIDE = 24
_NEIGHBOURS = 5
_CHUNK = 512


@dataclass(frozen=True)
class Legibility:
    """What :func:`measure` finds over a validation set.

    expressions, symbols    how many were looked at
    real_accuracy           share of real validation symbols that the plain reader recognises
    at_true_boxes           the same for symbols drawn at the true boxes
    whole_road              the same for symbols drawn at generated boxes
    classified_*            the same three shares for the classifier
    recognisability         classified_at_true_boxes over classified_real
    recognisability_whole_road   classified_whole_road over classified_real
    box_iou, box_l1         generated against true boxes: mean intersection over union, mean |difference| in [0, 1]
    typeset_iou             of the rule-based typesetter's boxes, for comparison
    layout_energy           energy score of generated sizes and offsets (:mod:`hmeg.model.box_spread`): smaller is
                            better, smallest where draws are distributed as writers are
    typeset_energy          of the typesetter's, which do not differ
    box_spread              mean |difference| in [0, 1] of the boxes of two draws of one expression
    pixel_spread            mean |difference| in [0, 1] of the images of two draws of one expression
    pixel_l1                mean |difference| of images drawn at true boxes and real ones, in [0, 1]
    """

    expressions: int
    symbols: int
    real_accuracy: float
    at_true_boxes: float
    whole_road: float
    classified_real: float
    classified_at_true_boxes: float
    classified_whole_road: float
    recognisability: float
    recognisability_whole_road: float
    box_iou: float
    box_l1: float
    typeset_iou: float
    layout_energy: float
    typeset_energy: float
    box_spread: float
    pixel_spread: float
    pixel_l1: float


class _Drawn(CrohmeDataset):
    """Generated images in the place of real ones."""

    def __init__(self, graphs: list[SymbolGraph], images: list[np.ndarray], size: int) -> None:
        self.graphs, self.images, self.size = graphs, images, size

    def image(self, index: int) -> np.ndarray:
        return self.images[index]


def _normalised(ink: np.ndarray) -> Tensor:
    """(V, 24, 24) uint8 -> (V, 576) of unit length: faint and dark writing count alike."""
    rows = torch.from_numpy(ink.reshape(len(ink), -1)).float()
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-6)


def recognise(ink: np.ndarray, known: Tensor, known_ids: Tensor) -> Tensor:
    """Class ids (V,) of cut symbols (V, 24, 24) uint8 by the votes of their 5 most similar known ones.

    known (K, 576) of unit length, known_ids (K,) int64; with fewer than 5 of them, all vote.
    """
    found = []
    for chunk in _normalised(ink).split(_CHUNK):
        similarity, rows = (chunk @ known.T).topk(min(_NEIGHBOURS, len(known)), dim=1)
        votes = torch.zeros(len(chunk), vocabulary.NUM_SYMBOL_CLASSES)
        found.append(votes.scatter_add(1, known_ids[rows], similarity).argmax(dim=1))
    return torch.cat(found)


def _drawn(
    generator: Generator, graphs: list[SymbolGraph], size: int, seed: int, temperature: float
) -> Iterator[tuple[SymbolGraph, np.ndarray]]:
    for sample in generator.stream(graphs, seed=seed, size=size, temperature=temperature):
        yield sample.graph, np.asarray(sample.image.convert("L"))


def measure(
    generator: Generator,
    train: CrohmeDataset,
    validation: CrohmeDataset,
    seed: int = 0,
    recogniser: SymbolClassifier | None = None,
    temperature: float = 1.0,
) -> Legibility:
    """Draws every validation expression at true boxes and twice at generated ones, and reads the symbols.

    train       the plain reader's known symbols
    validation  expressions with images; a prepared folder's
    recogniser  the classifier, in evaluation mode; None: the bundled one
    temperature  of the generated layouts (:meth:`hmeg.generation.generator.Generator.stream`)
    """
    recogniser = recogniser or bundled_classifier()
    ink, ids = cut_symbols(train, _SIDE)
    known, known_ids = _normalised(ink), torch.from_numpy(ids)
    wanted = torch.from_numpy(np.concatenate([graph.symbol_ids() for graph in validation.graphs]))

    def accuracy(dataset: CrohmeDataset) -> float:
        found = recognise(cut_symbols(dataset, _SIDE)[0], known, known_ids)
        return float((found == wanted).float().mean())

    size = validation.size
    at_true = [image for _, image in _drawn(generator, validation.graphs, size, seed, temperature)]
    bare = [SymbolGraph(graph.symbols, graph.relations) for graph in validation.graphs]
    graphs, images = map(list, zip(*_drawn(generator, bare, size, seed, temperature), strict=True))
    others, other_images = map(list, zip(*_drawn(generator, bare, size, seed + 1, temperature), strict=True))
    true_boxes = torch.from_numpy(np.concatenate([g.boxes for g in validation.graphs if g.boxes is not None]))
    boxes, other_boxes = (
        torch.from_numpy(np.concatenate([g.boxes for g in drawn if g.boxes is not None])) for drawn in (graphs, others)
    )
    typeset_boxes = torch.from_numpy(np.concatenate([typeset(g) for g in bare]))
    batch = GraphBatch.from_graphs(bare)
    shapes = {
        name: local_shape(batch, placed.double())
        for name, placed in (("one", boxes), ("other", other_boxes), ("true", true_boxes), ("type", typeset_boxes))
    }
    differences = [
        np.abs(image.astype(np.float64) - validation.image(i)).mean() / 255 for i, image in enumerate(at_true)
    ]
    classified = {
        "real": accuracy_on(recogniser, validation),
        "at_true_boxes": classified_accuracy(recogniser, at_true, validation.graphs),
        "whole_road": classified_accuracy(recogniser, images, graphs),
    }
    real = max(classified["real"], 1e-9)
    return Legibility(
        expressions=len(validation),
        symbols=len(wanted),
        real_accuracy=accuracy(validation),
        at_true_boxes=accuracy(_Drawn(validation.graphs, at_true, size)),
        whole_road=accuracy(_Drawn(graphs, images, size)),
        **{f"classified_{name}": value for name, value in classified.items()},
        recognisability=classified["at_true_boxes"] / real,
        recognisability_whole_road=classified["whole_road"] / real,
        box_iou=float(box_iou(boxes, true_boxes).mean()),
        box_l1=float((boxes - true_boxes).abs().mean()),
        typeset_iou=float(box_iou(typeset_boxes, true_boxes).mean()),
        layout_energy=float(energy_score(shapes["one"], shapes["other"], shapes["true"]).mean()),
        typeset_energy=float(energy_score(shapes["type"], shapes["type"], shapes["true"]).mean()),
        box_spread=float((boxes - other_boxes).abs().mean()),
        pixel_spread=float(
            np.mean([np.abs(a.astype(np.float64) - b).mean() / 255 for a, b in zip(images, other_images, strict=True)])
        ),
        pixel_l1=float(np.mean(differences)),
    )
