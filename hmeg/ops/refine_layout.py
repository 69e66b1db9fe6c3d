"""refine_layout: features painted into their boxes' learned soft masks, summed per expression; for inference."""

from __future__ import annotations

import torch
from torch import Tensor

from hmeg.reference.weights import MaskWeights

from ._checks import Arguments, check_count, check_size
from ._library import backend_name, define, refuse_gradients, under_autocast
from .compose_layout import compose_layout
from .refine_masks import check_mask_weights, refine_masks


@under_autocast
def refine_layout(
    boxes: Tensor, weights: MaskWeights, features: Tensor, batch: Tensor, size: tuple[int, int], num_graphs: int, *,
    eps: float = 1e-5, backend: str | None = None,
) -> Tensor:  # fmt: skip
    """compose_layout(refine_masks(boxes, weights, size), features, batch, num_graphs), as one operator.

    The masks (evaluation mode: running statistics) are used as they are made and never stored as a whole.

    boxes       (V, 4) floating: x0, y0, x1, y1 in units of the image, y down
    weights     MaskWeights, of the same type
    features    (V, C), of the same type
    batch       (V,) int64, non-decreasing, in [0, num_graphs): the expression of each symbol
    size        (H, W), at least 1 each
    num_graphs  N, at least 0
    eps         added to the variance
    returns     (N, C, H, W); an expression without symbols is zero

    The fused operator has no backward pass: where gradients are recorded and boxes, features or a weight ask for one,
    the two operators named above run instead, with the same ``backend``, and the result is differentiable once.
    Raises ValueError or TypeError for arguments that do not fit, BackendError if ``backend`` cannot run it.
    """
    height, width = check_size("refine_layout", size)
    check_count("refine_layout", "num_graphs", num_graphs)
    arguments = Arguments("refine_layout")
    arguments.floating("boxes", boxes, "V", 4)
    check_mask_weights(arguments, weights)
    arguments.floating("features", features, "V", "C")
    arguments.indices("batch", batch, "V")
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (boxes, features, *weights)):
        masks = refine_masks(boxes, weights, size, eps=eps, backend=backend)
        return compose_layout(masks, features, batch, num_graphs, backend=backend)
    name = backend_name("refine_layout", (boxes, *weights, features, batch), backend)
    result: Tensor = torch.ops.hmeg.refine_layout(
        boxes, *weights, features, batch, height, width, num_graphs, eps, name
    )
    return result


def _fake(
    boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor, running_mean: Tensor,
    running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, features: Tensor, batch: Tensor, height: int,
    width: int, num_graphs: int, eps: float, backend: str,
) -> Tensor:  # fmt: skip
    return features.new_empty((num_graphs, features.shape[1], height, width))


define(
    "refine_layout(Tensor boxes, Tensor conv1_weight, Tensor conv1_bias, Tensor bn_weight, Tensor bn_bias,"
    " Tensor running_mean, Tensor running_var, Tensor conv2_weight, Tensor conv2_bias, Tensor features, Tensor batch,"
    " SymInt height, SymInt width, SymInt num_graphs, float eps, str backend) -> Tensor",
    _fake,
)
refuse_gradients("refine_layout", "has no gradient: use hmeg.ops.refine_layout, which composes where one is needed")
