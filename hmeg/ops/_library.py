"""The torch.library namespace ``hmeg``: how every operator is registered and reaches its backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hmeg import backends

LIBRARY = torch.library.Library("hmeg", "DEF")


def define(schema: str, fake: Callable[..., Any]) -> None:
    """Registers ``hmeg::<name>`` from a schema whose last argument is ``str backend``.

    Its implementation asks ``backends.select`` and calls that backend's method of the same name with the other
    arguments. ``fake`` takes all arguments and returns empty outputs of the right shapes (for torch.compile).
    """
    name = schema[: schema.index("(")]
    operator = name.removesuffix("_backward")

    def run(*arguments: Any) -> Any:
        *values, requested = arguments
        tensors = [value for value in values if isinstance(value, Tensor)]
        backend = backends.select(operator, tensors, requested or None)
        return backend.operators[name](backend, *values)

    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for device in ("CPU", "CUDA"):
        LIBRARY.impl(name, run, device)
    torch.library.register_fake(f"hmeg::{name}", fake, lib=LIBRARY)


def differentiate(name: str, save: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Gives ``hmeg::<name>`` the autograd formula (save, backward), and ``hmeg::<name>_backward`` a refusal.

    save(ctx, inputs, output) keeps what ``backward(ctx, *grads)`` needs; that returns one gradient, or None, for each
    input. As torch.library.register_autograd, without what that does for operators with default arguments and with
    gradients of lists, which costs more here than a small graph's convolution.
    """
    operator = getattr(torch.ops.hmeg, name).default

    class Formula(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            with torch._C._AutoDispatchBelowAutograd():
                output = operator(*inputs)
            save(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            return backward(ctx, *grads)

    def run(*inputs: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in inputs):
            return Formula.apply(*inputs)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*inputs)

    LIBRARY.impl(name, run, "Autograd")

    refuse_gradients(f"{name}_backward", "is differentiable once only")


def refuse_gradients(name: str, why: str) -> None:
    """Makes a gradient through ``hmeg::<name>`` raise NotImplementedError: the operator's name, then ``why``."""

    def refuse(_ctx: Any, *_grads: Tensor) -> None:
        raise NotImplementedError(f"{name.removesuffix('_backward')} {why}")

    torch.library.register_autograd(f"hmeg::{name}", refuse, lib=LIBRARY)


def backend_name(operator: str, tensors: Sequence[Tensor], requested: str | None) -> str:
    """The name to run under, forward and backward.

    Settled here, so that a backward pass outside a ``using`` context runs where its forward pass ran. Under
    torch.compile it stays as requested ("" for nobody's wish) and is settled when the compiled code runs.
    """
    if torch.compiler.is_compiling():
        return requested or ""
    return backends.select(operator, tensors, requested).name
