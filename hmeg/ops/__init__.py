"""Public operators. (Provisional pass-through to the reference; signatures are final.)"""

from __future__ import annotations

from torch import Tensor

from hmeg import reference as _reference

from .weights import MaskWeights, TripleWeights


def box_soft_mask(boxes: Tensor, size: tuple[int, int], *, backend: str | None = None) -> Tensor:
    return _reference.box_soft_mask(boxes, size)


def refine_masks(boxes: Tensor, weights: MaskWeights, size: tuple[int, int], training: bool = False, *,
                 momentum: float = 0.1, eps: float = 1e-5, backend: str | None = None) -> Tensor:
    return _reference.refine_masks(boxes, weights, size, training, momentum, eps)


def compose_layout(masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int, *,
                   backend: str | None = None) -> Tensor:
    return _reference.compose_layout(masks, features, batch, num_graphs)


def box_layout(features: Tensor, boxes: Tensor, batch: Tensor, size: tuple[int, int], num_graphs: int, *,
               backend: str | None = None) -> Tensor:
    return _reference.box_layout(features, boxes, batch, size, num_graphs)


def triple_message(x: Tensor, edge_attr: Tensor, edge_index: Tensor, weights: TripleWeights, pooling: str = "avg", *,
                   backend: str | None = None) -> tuple[Tensor, Tensor]:
    return _reference.triple_message(x, edge_attr, edge_index, weights, pooling)


def crop_boxes(images: Tensor, boxes: Tensor, batch: Tensor, size: tuple[int, int], *,
               backend: str | None = None) -> Tensor:
    return _reference.crop_boxes(images, boxes, batch, size)


__all__ = ["MaskWeights", "TripleWeights", "box_layout", "box_soft_mask", "compose_layout", "crop_boxes",
           "refine_masks", "triple_message"]
