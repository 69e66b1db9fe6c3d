"""Adapter to the textbook operators of hmeg.reference: any device, any floating type; gradients by autograd.

float16 and bfloat16 are computed in float32. The backward operators run the forward again and differentiate it, so
they are right rather than fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from hmeg import reference
from hmeg.reference.triple_message import edge_activations, pool
from hmeg.reference.weights import MaskWeights, TripleWeights

from .base import Backend
from .edges import check_edges, sign_words

_AUTOGRAD_KEYS = ("AutogradFunctionality", "AutogradOther", "AutogradNestedTensor")


@contextmanager
def _recording() -> Iterator[None]:
    """Lets autograd record inside a registered operator, below whose own autograd formula it is switched off."""
    included, excluded = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
    for key in _AUTOGRAD_KEYS:
        excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
    with torch._C._ForceDispatchKeyGuard(included, excluded), torch.enable_grad():
        yield


def _widened(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def _evaluate(function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """function(*inputs), computed in float32 at least, in the type of the first input, as new contiguous tensors."""
    return tuple(out.to(inputs[0].dtype).contiguous() for out in function(*_widened(inputs)))


def _gradients(
    function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], grads: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Gradients of every input, given those of the outputs of function(*inputs)."""
    with _recording():
        leaves = [t.detach().requires_grad_() for t in _widened(inputs)]
        outputs = function(*leaves)
        found = torch.autograd.grad(outputs, leaves, _widened(grads), allow_unused=True, materialize_grads=True)
    return tuple(g.to(t.dtype).contiguous() for g, t in zip(found, inputs, strict=True))


class ReferenceBackend(Backend):
    """Runs hmeg.reference."""

    name = "reference"
    device_types = ("cpu", "cuda")
    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

    def details(self) -> str:
        return f"PyTorch {torch.__version__}"

    def box_soft_mask(self, boxes: Tensor, height: int, width: int) -> Tensor:
        return _evaluate(lambda b: (reference.box_soft_mask(b, (height, width)),), (boxes,))[0]

    def box_soft_mask_backward(self, grad_masks: Tensor, boxes: Tensor) -> Tensor:
        height, width = grad_masks.shape[2:]
        return _gradients(lambda b: (reference.box_soft_mask(b, (height, width)),), (boxes,), (grad_masks,))[0]

    def compose_layout(self, masks: Tensor, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        return _evaluate(lambda m, f: (reference.compose_layout(m, f, batch, num_graphs),), (masks, features))[0]

    def compose_layout_backward(
        self, grad_layout: Tensor, masks: Tensor, features: Tensor, batch: Tensor
    ) -> tuple[Tensor, ...]:
        num_graphs = len(grad_layout)
        return _gradients(
            lambda m, f: (reference.compose_layout(m, f, batch, num_graphs),), (masks, features), (grad_layout,)
        )

    def box_layout(
        self, features: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int, num_graphs: int
    ) -> Tensor:
        size = (height, width)
        return _evaluate(lambda f, b: (reference.box_layout(f, b, batch, size, num_graphs),), (features, boxes))[0]

    def box_layout_backward(
        self, grad_layout: Tensor, features: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, ...]:
        num_graphs, _, height, width = grad_layout.shape
        return _gradients(
            lambda f, b: (reference.box_layout(f, b, batch, (height, width), num_graphs),),
            (features, boxes),
            (grad_layout,),
        )

    def crop_boxes(self, images: Tensor, boxes: Tensor, batch: Tensor, height: int, width: int) -> Tensor:
        return _evaluate(lambda i, b: (reference.crop_boxes(i, b, batch, (height, width)),), (images, boxes))[0]

    def crop_boxes_backward(
        self, grad_crops: Tensor, images: Tensor, boxes: Tensor, batch: Tensor
    ) -> tuple[Tensor, ...]:
        height, width = grad_crops.shape[2:]
        return _gradients(
            lambda i, b: (reference.crop_boxes(i, b, batch, (height, width)),), (images, boxes), (grad_crops,)
        )

    def triple_message(
        self, x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor],
        w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool, keep: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        check_edges(x, edge_attr, edge_index, edge_type)
        inputs = (x, edge_attr, w1, b1, w2, b2, w3, b3, w4, b4)
        outputs = _evaluate(_triple_message(edge_index, edge_type, pooling, return_edges), inputs)
        return *outputs, *_kept(inputs, edge_index, edge_type, pooling, return_edges, keep)

    def triple_message_backward(
        self, grad_x: Tensor, grad_edge_attr: Tensor, new_x: Tensor, pooled: Tensor, signs: Tensor, x: Tensor,
        edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None, structure: Sequence[Tensor], w1: Tensor,
        b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, w4: Tensor, b4: Tensor, pooling: str,
        return_edges: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        check_edges(x, edge_attr, edge_index, edge_type)
        return _gradients(
            _triple_message(edge_index, edge_type, pooling, return_edges),
            (x, edge_attr, w1, b1, w2, b2, w3, b3, w4, b4),
            (grad_x, grad_edge_attr),
        )

    def attention_readout(self, x: Tensor, weight: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        return _evaluate(lambda v, w: (reference.attention_readout(v, w, batch, num_graphs),), (x, weight))[0]

    def attention_readout_backward(self, grad: Tensor, x: Tensor, weight: Tensor, batch: Tensor) -> tuple[Tensor, ...]:
        num_graphs = len(grad)
        return _gradients(lambda v, w: (reference.attention_readout(v, w, batch, num_graphs),), (x, weight), (grad,))

    def refine_masks(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        height: int, width: int, training: bool, eps: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        masks, mean, var = _evaluate(
            _refine_masks(running_mean, running_var, (height, width), training, eps),
            (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias),
        )
        return masks, mean, var

    def refine_masks_backward(
        self, grad_masks: Tensor, masks: Tensor, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor,
        bn_weight: Tensor, bn_bias: Tensor, mean: Tensor, var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor,
        training: bool, eps: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        height, width = grad_masks.shape[2:]
        refine = _refine_masks(mean, var, (height, width), training, eps)
        return _gradients(
            lambda *inputs: refine(*inputs)[:1],
            (boxes, conv1_weight, conv1_bias, bn_weight, bn_bias, conv2_weight, conv2_bias),
            (grad_masks,),
        )

    def refine_layout(
        self, boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        running_mean: Tensor, running_var: Tensor, conv2_weight: Tensor, conv2_bias: Tensor, features: Tensor,
        batch: Tensor, height: int, width: int, num_graphs: int, eps: float,
    ) -> Tensor:  # fmt: skip
        def run(boxes: Tensor, features: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
            size = (height, width)
            return (reference.refine_layout(boxes, MaskWeights(*weights), features, batch, size, num_graphs, eps),)

        weights = (conv1_weight, conv1_bias, bn_weight, bn_bias, running_mean, running_var, conv2_weight, conv2_bias)
        return _evaluate(run, (boxes, features, *weights))[0]

    def normal_noise(self, indices: Tensor, seed: int, shape: Sequence[int]) -> Tensor:
        return reference.normal_noise(indices, seed, shape).contiguous()


def _triple_message(
    edge_index: Tensor, edge_type: Tensor | None, pooling: str, return_edges: bool
) -> Callable[..., tuple[Tensor, ...]]:
    def run(x: Tensor, edge_attr: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        return reference.triple_message(
            x, edge_attr, edge_index, TripleWeights(*weights), pooling, edge_type=edge_type, return_edges=return_edges
        )

    return run


def _kept(
    inputs: Sequence[Tensor], edge_index: Tensor, edge_type: Tensor | None, pooling: str, return_edges: bool, keep: bool
) -> tuple[Tensor, Tensor]:
    """What triple_message leaves for its backward pass: pooled and signs, see hmeg/ops/triple_message.py."""
    x, edge_attr, *bundle = _widened(inputs)
    weights = TripleWeights(*bundle)
    out, hidden = weights.w4.shape
    if not keep:
        words = sign_words(hidden, out, return_edges)
        return inputs[0].new_empty((0, hidden)), inputs[0].new_empty((0, words), dtype=torch.int32)
    for_subject, own, for_object = edge_activations(x, edge_attr, edge_index, weights, edge_type)
    pooled = pool(for_subject, for_object, edge_index, len(x), pooling).to(inputs[0].dtype)
    parts = (for_subject, for_object, own) if return_edges else (for_subject, for_object)
    return pooled, torch.cat([_packed(part > 0) for part in parts], dim=1)


def _packed(bits: Tensor) -> Tensor:
    """(E, n) bool -> (E, ceil(n / 32)) int32, the first column in the lowest bit."""
    bits = torch.nn.functional.pad(bits, (0, -bits.shape[1] % 32)).unflatten(1, (-1, 32)).long()
    words = (bits << torch.arange(32, device=bits.device)).sum(dim=2)
    return words.to(torch.int32)


def _refine_masks(
    running_mean: Tensor, running_var: Tensor, size: tuple[int, int], training: bool, eps: float
) -> Callable[..., tuple[Tensor, ...]]:
    """boxes and weights -> masks, and in training the batch mean and (biased) variance, else two empty tensors."""

    def run(
        boxes: Tensor, conv1_weight: Tensor, conv1_bias: Tensor, bn_weight: Tensor, bn_bias: Tensor,
        conv2_weight: Tensor, conv2_bias: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        mean, var = (t.detach().to(boxes.dtype, copy=True) for t in (running_mean, running_var))
        weights = MaskWeights(conv1_weight, conv1_bias, bn_weight, bn_bias, mean, var, conv2_weight, conv2_bias)
        # With momentum 1 the running statistics become the batch's own (their variance is the unbiased one).
        masks = reference.refine_masks(boxes, weights, size, training, momentum=1.0, eps=eps)
        if not training:
            return masks, boxes.new_empty(0), boxes.new_empty(0)
        values = len(boxes) * size[0] * size[1]
        return masks, mean, var * ((values - 1) / values) if values else var

    return run
