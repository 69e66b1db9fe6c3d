"""Layouts against real ones: do boxes lie where a writer put them, do they overlap, do relations hold?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hmeg.graph import SymbolGraph
from hmeg.graph.vocabulary import RELATIONS
from hmeg.model.box_iou import box_iou
from hmeg.model.config import ModelConfig
from hmeg.model.display import upright
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.layout import LayoutGenerator
from hmeg.model.noise import box_noise
from hmeg.quoting import quoted

FIRST = "first"  # symbols that hang on nothing
KINDS = (FIRST, *RELATIONS)
_BATCH = 32


@dataclass(frozen=True)
class LayoutScore:
    """What :func:`score` finds.

    iou                mean over symbols of the intersection over union with the real box, in [0, 1]
    iou_of             the same by how a symbol hangs on another: a relation's name, or ``first``
    overlap            share of pairs of symbols of an expression that overlap although their real boxes do not
    violations         share of relations that do not hold (:func:`violated`)
    violations_of      the same by relation
    symbols, pairs, relations   how many of each there are; of symbols_of and relations_of, by kind
    """

    iou: float
    iou_of: dict[str, float]
    overlap: float
    violations: float
    violations_of: dict[str, float]
    symbols: int
    pairs: int
    relations: int
    symbols_of: dict[str, int]
    relations_of: dict[str, int]


def violated(relation: str, subject: np.ndarray, object_: np.ndarray) -> np.ndarray:
    """Whether relations (R,) of that name do not hold between boxes (R, 4) and (R, 4), y down.

    Right: the object's centre lies left of the subject's. Sup and Above: below it. Sub and Below: above it. Inside:
    outside the subject's box. Equal centres violate nothing.
    """
    of_subject, of_object = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (subject, object_))
    right, down = (of_object - of_subject).T
    found: np.ndarray
    match relation:
        case "Right":
            found = right < 0
        case "Sup" | "Above":
            found = down > 0
        case "Sub" | "Below":
            found = down < 0
        case "Inside":
            found = ((of_object < subject[:, :2]) | (of_object > subject[:, 2:])).any(axis=1)
        case _:
            raise ValueError(f"no relation is called {quoted(relation)}; there are {', '.join(RELATIONS)}")
    return found


def overlaps(boxes: np.ndarray) -> np.ndarray:
    """(V, 4) -> (V, V): intersection of two boxes as a share of the smaller one, 0 where that has no area."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    smaller = np.minimum(area[:, None], area[None])
    shares: np.ndarray = np.divide(common, smaller, out=np.zeros_like(common), where=smaller > 0)
    return shares


def kinds_of(graph: SymbolGraph) -> list[str]:
    """How each symbol hangs on another: a relation's name, or ``first``."""
    kinds = [FIRST] * len(graph)
    for relation in graph.relations:
        kinds[relation.object] = relation.name
    return kinds


def score(graphs: Sequence[SymbolGraph], layouts: Sequence[np.ndarray], overlap: float = 0.1) -> LayoutScore:
    """Layouts (V_i, 4), boxes in [0, 1], of graphs that bring their real boxes.

    overlap  pairs count as overlapping when more than this share of the smaller box is covered
    ``ValueError`` for a graph without boxes.
    """
    ious: dict[str, list[float]] = {kind: [] for kind in KINDS}
    wrong: dict[str, list[bool]] = {name: [] for name in RELATIONS}
    new = apart = 0
    for graph, boxes in zip(graphs, layouts, strict=True):
        if graph.boxes is None:
            raise ValueError("layouts are compared with real boxes, and an expression has none")
        real, boxes = np.asarray(graph.boxes, np.float64), np.asarray(boxes, np.float64)
        for kind, iou in zip(kinds_of(graph), box_iou(torch.from_numpy(boxes), torch.from_numpy(real)), strict=True):
            ious[kind].append(float(iou))
        for relation in graph.relations:
            pair = boxes[relation.subject][None], boxes[relation.object][None]
            wrong[relation.name].append(bool(violated(relation.name, *pair)[0]))
        upper = np.triu_indices(len(graph), 1)
        were_apart = overlaps(real)[upper] <= overlap
        apart += int(were_apart.sum())
        new += int((overlaps(boxes)[upper] > overlap)[were_apart].sum())
    all_ious = [iou for values in ious.values() for iou in values]
    all_wrong = [value for values in wrong.values() for value in values]
    return LayoutScore(
        iou=_mean(all_ious),
        iou_of={kind: _mean(values) for kind, values in ious.items() if values},
        overlap=new / apart if apart else 0.0,
        violations=_mean(all_wrong),
        violations_of={name: _mean(values) for name, values in wrong.items() if values},
        symbols=len(all_ious),
        pairs=apart,
        relations=len(all_wrong),
        symbols_of={kind: len(values) for kind, values in ious.items() if values},
        relations_of={name: len(values) for name, values in wrong.items() if values},
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


@torch.inference_mode()
def generated_layouts(
    network: LayoutGenerator, config: ModelConfig, graphs: Sequence[SymbolGraph], seed: int
) -> list[np.ndarray]:
    """Boxes (V_i, 4) float32 of every graph, as ``hmeg generate`` would place sample i of that seed.

    The graphs' own boxes are not looked at.
    """
    network = network.eval()
    found: list[np.ndarray] = []
    for start in range(0, len(graphs), _BATCH):
        bare = [SymbolGraph(graph.symbols, graph.relations) for graph in graphs[start : start + _BATCH]]
        batch = GraphBatch.from_graphs(bare, typeset=config.layout.prior)
        noise = np.concatenate(
            [box_noise(len(g), config.layout.noise_dim, seed, start + i) for i, g in enumerate(bare)]
        )
        boxes = upright(network(batch, torch.from_numpy(noise)).numpy())
        found += np.split(boxes, np.cumsum([len(graph) for graph in bare])[:-1])
    return found
