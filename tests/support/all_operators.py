"""A small call of every operator, for tests of what all of them do alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hmeg import ops
from hmeg.ops import MaskWeights, TripleWeights
from tests.support import boxes as some

SIZE = (6, 7)
BATCH = torch.tensor([0, 0, 1])
PAIRS = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 0, 1, 2]])
TYPES = torch.tensor([1, 0, 2, 2, 1])


@dataclass(frozen=True)
class Call:
    """An operator on some tensors.

    operator  its name
    run       (floating tensors by name, backend) -> outputs
    tensors   float64
    leaves    names of those that get gradients
    """

    operator: str
    run: Callable[[Mapping[str, Tensor], str], tuple[Tensor, ...]]
    tensors: dict[str, Tensor]
    leaves: tuple[str, ...]


def _random(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(shapes))
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) / 2 for name, shape in shapes.items()}


def _call(operator: str, run: Callable[..., Any], fixed: tuple[str, ...] = (), /, **tensors: Tensor) -> Call:
    def outputs(given: Mapping[str, Tensor], backend: str) -> tuple[Tensor, ...]:
        result = run(given, backend)
        return tuple(out for out in result if out.numel()) if isinstance(result, tuple) else (result,)

    return Call(operator, outputs, tensors, tuple(name for name in tensors if name not in fixed))


def _mask_weights(given: Mapping[str, Tensor]) -> MaskWeights:
    return MaskWeights(*(given[name] for name in MaskWeights._fields))


_MASK_WEIGHTS = _random(
    conv1_weight=(5, 4, 3, 3), conv1_bias=(5,), bn_weight=(5,), bn_bias=(5,), running_mean=(5,), running_var=(5,),
    conv2_weight=(1, 5, 3, 3), conv2_bias=(1,),
)  # fmt: skip
_MASK_WEIGHTS["running_var"] = _MASK_WEIGHTS["running_var"].abs() + 0.5
_STATISTICS = ("running_mean", "running_var")
_TRIPLE_WEIGHTS = _random(
    w1=(6, 12), b1=(6,), w2=(17, 6), b2=(17,), w3=(6, 6), b3=(6,), w4=(5, 6), b4=(5,)
)  # fmt: skip


def _triple(edges: int, **options: Any) -> Call:
    def run(t: Mapping[str, Tensor], backend: str) -> tuple[Tensor, Tensor]:
        weights = TripleWeights(*(t[name] for name in TripleWeights._fields))
        return ops.triple_message(t["x"], t["edge_attr"], PAIRS, weights, backend=backend, **options)

    return _call("triple_message", run, x=_random(x=(3, 4))["x"], **_random(edge_attr=(edges, 4)), **_TRIPLE_WEIGHTS)


CALLS = {
    "box_soft_mask": _call(
        "box_soft_mask", lambda t, b: ops.box_soft_mask(t["boxes"], SIZE, backend=b), boxes=some.ordinary(3)
    ),
    "refine_masks": _call(
        "refine_masks", lambda t, b: ops.refine_masks(t["boxes"], _mask_weights(t), SIZE, backend=b), _STATISTICS,
        boxes=some.ordinary(3), **_MASK_WEIGHTS,
    ),
    "compose_layout": _call(
        "compose_layout", lambda t, b: ops.compose_layout(t["masks"], t["features"], BATCH, 2, backend=b),
        **_random(masks=(3, 1, *SIZE), features=(3, 5)),
    ),
    "box_layout": _call(
        "box_layout", lambda t, b: ops.box_layout(t["features"], t["boxes"], BATCH, SIZE, 2, backend=b),
        boxes=some.ordinary(3), **_random(features=(3, 5)),
    ),
    "refine_layout": _call(
        "refine_layout",
        lambda t, b: ops.refine_layout(t["boxes"], _mask_weights(t), t["features"], BATCH, SIZE, 2, backend=b),
        _STATISTICS, boxes=some.ordinary(3), **_random(features=(3, 5)), **_MASK_WEIGHTS,
    ),
    "triple_message": _triple(5),
    "triple_message of types": _triple(3, edge_type=TYPES),
    "triple_message without edges": _triple(3, edge_type=TYPES, return_edges=False, pooling="sum"),
    "attention_readout": _call(
        "attention_readout", lambda t, b: ops.attention_readout(t["x"], t["weight"], BATCH, 2, backend=b),
        **_random(x=(3, 4), weight=(4, 4)),
    ),
    "crop_boxes": _call(
        "crop_boxes", lambda t, b: ops.crop_boxes(t["images"], t["boxes"], BATCH, (4, 3), backend=b),
        boxes=some.ordinary(3), **_random(images=(2, 2, *SIZE)),
    ),
    "normal_noise": _call("normal_noise", lambda t, b: ops.normal_noise(BATCH, 3, (4, 2), backend=b)),
}  # fmt: skip
