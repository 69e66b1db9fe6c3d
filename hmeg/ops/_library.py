"""The torch.library namespace ``hmeg``: how every operator is registered and reaches its backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad

from hmeg import backends

LIBRARY = torch.library.Library("hmeg", "DEF")
AUTOCAST_DEVICES = ("cpu", "cuda")
_any_autocast = torch._C._is_any_autocast_enabled

Function = TypeVar("Function", bound=Callable[..., Any])


def define(schema: str, fake: Callable[..., Any]) -> None:
    """Registers ``hmeg::<name>`` from a schema whose last argument is ``str backend``.

    Its implementation asks ``backends.select`` and calls that backend's method of the same name with the other
    arguments; autocast is off there. ``fake`` takes all arguments and returns empty outputs of the right shapes (for
    torch.compile).
    """
    name = schema[: schema.index("(")]
    operator = name.removesuffix("_backward")

    def run(*arguments: Any) -> Any:
        *values, requested = arguments
        tensors = [value for value in values if isinstance(value, Tensor)]
        backend = backends.select(operator, tensors, requested or None)
        if not _any_autocast():
            return backend.operators[name](backend, *values)
        # Products in torch would have another type than what the kernels beside them read.
        with torch.autocast(tensors[0].device.type, enabled=False):
            return backend.operators[name](backend, *values)

    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for device in ("CPU", "CUDA"):
        LIBRARY.impl(name, run, device)
    torch.library.register_fake(f"hmeg::{name}", fake, lib=LIBRARY)
    torch.library.register_vmap(f"hmeg::{name}", _one_by_one(name), lib=LIBRARY)


def _one_by_one(name: str) -> Callable[..., Any]:
    """What torch.func.vmap makes of ``hmeg::<name>``: a call for each item, whose results are stacked."""

    def run(info: Any, dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        operator = getattr(torch.ops.hmeg, name).default
        results = [
            operator(*(_item(value, dim, i) for value, dim in zip(arguments, dims, strict=True)))
            for i in range(info.batch_size)
        ]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(torch.stack(items) for items in zip(*results, strict=True)), (0,) * len(results[0])

    return run


def _item(value: Any, dim: Any, i: int) -> Any:
    if isinstance(value, list):
        return [_item(item, of_item, i) for item, of_item in zip(value, dim, strict=True)] if dim else value
    return value if dim is None else value.select(dim, i)


def under_autocast(function: Function) -> Function:
    """Lets an operator's public function follow torch.amp.custom_fwd with cast_inputs=torch.float32.

    Under torch.autocast its floating tensors, those in bundles of weights too, are cast to float32, but for float64,
    and it runs with autocast switched off: results are float32. A gradient has the type of what it belongs to.
    """

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        if not _any_autocast():
            return function(*arguments, **named)
        for kind in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                given = [_cast(value, kind) for value in arguments]
                by_name = {name: _cast(value, kind) for name, value in named.items()}
                with torch.autocast(kind, enabled=False):
                    return run(*given, **by_name)
        return function(*arguments, **named)

    return run  # type: ignore[return-value]


def _cast(value: Any, kind: str) -> Any:
    """float32 for a floating tensor, but for float64, on that kind of device; likewise for the items of a bundle."""
    if isinstance(value, Tensor):
        wide = value.dtype in (torch.float32, torch.float64)
        return value.float() if value.is_floating_point() and not wide and value.device.type == kind else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_cast(item, kind) for item in value))
    return value


def differentiate(name: str, save: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Gives ``hmeg::<name>`` the autograd formula (save, backward), and ``hmeg::<name>_backward`` a refusal.

    save(ctx, inputs, output) keeps what ``backward(ctx, *grads)`` needs; that returns one gradient, or None, for each
    input. As torch.library.register_autograd, without what that does for operators with default arguments and with
    gradients of lists, which costs more here than a small graph's convolution.

    torch.func.grad, vjp and jacrev work, under vmap too; forward mode is refused.
    """
    _record(name, save, backward)
    refuse_gradients(f"{name}_backward", "is differentiable once only")


def refuse_gradients(name: str, why: str) -> None:
    """Makes a gradient through ``hmeg::<name>`` raise NotImplementedError: the operator's name, then ``why``."""

    def refuse(_ctx: Any, *_grads: Tensor) -> None:
        raise NotImplementedError(f"{name.removesuffix('_backward')} {why}")

    _record(name, lambda _ctx, _inputs, _output: None, refuse)


def _record(name: str, save: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Registers what autograd records of ``hmeg::<name>``."""
    operator = getattr(torch.ops.hmeg, name).default

    # Of a single level: each transform of torch.func runs this once, on its own tensors, as it does for torch's own
    # operators. An ordinary Function would have to be split in pieces for them, and must not be called from here.
    class Formula(torch.autograd.function._SingleLevelFunction):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            if torch._C._are_functorch_transforms_active():
                with torch.enable_grad(), torch._C._AutoDispatchBelowAutograd():  # outer transforms record too
                    output = operator(*inputs)
            else:
                with torch._C._AutoDispatchBelowAutograd():
                    output = operator(*inputs)
            save(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            return backward(ctx, *grads)

    apply: Callable[..., Any] = Formula.apply  # type: ignore[attr-defined]

    def run(*inputs: Any) -> Any:
        if forward_ad._current_level >= 0:
            _refuse_tangents(name, inputs)
        if torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in inputs):
            if not torch._C._are_functorch_transforms_active():
                return apply(*inputs)
            with enable_single_level_autograd_function():
                return apply(*inputs)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*inputs)

    LIBRARY.impl(name, run, "Autograd")


def _refuse_tangents(name: str, inputs: Sequence[Any]) -> None:
    """NotImplementedError where an input is a dual number of forward mode: its tangent would be lost."""
    for value in inputs:
        if isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None:
            operator = name.removesuffix("_backward")
            raise NotImplementedError(
                f"{operator} has no forward-mode derivative (torch.func.jvp, jacfwd, hessian): take reverse mode "
                f"(torch.func.grad, vjp, jacrev), or hmeg.reference.{operator}, which is plain PyTorch"
            )


def backend_name(operator: str, tensors: Sequence[Tensor], requested: str | None) -> str:
    """The name to run under, forward and backward.

    Settled here, so that a backward pass outside a ``using`` context runs where its forward pass ran. Under
    torch.compile it stays as requested ("" for nobody's wish) and is settled when the compiled code runs.
    """
    if torch.compiler.is_compiling():
        return requested or ""
    return backends.select(operator, tensors, requested).name
