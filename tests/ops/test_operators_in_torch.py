"""Every operator under torch.autocast, in the transforms of torch.func, and with another default type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import hmeg
from hmeg import backends, ops
from tests.support.all_operators import CALLS, Call
from tests.support.targets import Target, targets

EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
DIFFERENTIABLE = {name: call for name, call in CALLS.items() if call.leaves}
EVERY_GRADIENT = pytest.mark.parametrize("call", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
TARGETS = pytest.mark.parametrize(
    "backend", [n for n in targets("box_soft_mask") if n not in ("cpu-avx2", "emulated-descending", "emulated-random")],
    indirect=True,
)  # fmt: skip


def test_every_operator_is_called() -> None:
    assert {call.operator for call in CALLS.values()} == set(backends.OPERATORS)


def differentiated(
    call: Call, tensors: Mapping[str, Tensor], backend: str, *, inside: Any = nullcontext
) -> list[Tensor]:
    """Outputs and gradients; ``inside`` a context, the backward pass too."""
    with inside():
        given = {name: tensor.detach().requires_grad_(name in call.leaves) for name, tensor in tensors.items()}
        outputs = call.run(given, backend)
        if not call.leaves:
            return list(outputs)
        weighted = sum((out * torch.arange(out.numel(), device=out.device).view(out.shape)).sum() for out in outputs)
        grads = torch.autograd.grad(weighted, [given[name] for name in call.leaves], allow_unused=True)
    return [*outputs, *(grad for grad in grads if grad is not None)]


def cast(call: Call, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    return {name: tensor.to(device, dtype) for name, tensor in call.tensors.items()}


def under_autocast(device: str) -> Callable[[], torch.autocast]:
    return lambda: torch.autocast(device, torch.bfloat16)


@TARGETS
@EVERY_CALL
def test_autocast_changes_nothing_for_float32(backend: Target, call: Call) -> None:
    """As torch.amp.custom_fwd(cast_inputs=torch.float32): the same bits as without, forward and backward."""
    tensors = cast(call, torch.float32, backend.device)
    plain = differentiated(call, tensors, backend.name)
    inside = differentiated(call, tensors, backend.name, inside=under_autocast(backend.device))
    assert [out.dtype for out in inside] == [out.dtype for out in plain]
    assert all(torch.equal(got, want) for got, want in zip(inside, plain, strict=True))


@TARGETS
@EVERY_CALL
def test_autocast_widens_what_came_in_bfloat16(backend: Target, call: Call) -> None:
    """Of mixed types, as layers under autocast hand them on beside weights in float32."""
    rounded = {
        name: tensor.bfloat16() if place % 2 else tensor.bfloat16().float()
        for place, (name, tensor) in enumerate(cast(call, torch.float32, backend.device).items())
    }
    with torch.no_grad():
        want = call.run({name: tensor.float() for name, tensor in rounded.items()}, backend.name)
        with under_autocast(backend.device)():
            got = call.run(rounded, backend.name)
    assert all(out.dtype == torch.float32 for out in got)
    assert all(torch.equal(g, w) for g, w in zip(got, want, strict=True))


@EVERY_GRADIENT
def test_gradients_under_autocast_have_the_types_of_their_inputs(call: Call) -> None:
    leaves = {name: tensor.bfloat16().requires_grad_(name in call.leaves) for name, tensor in call.tensors.items()}
    with torch.autocast("cpu", torch.bfloat16):
        out = call.run(leaves, "cpu")[0]
        out.sum().backward()
    for name in call.leaves:
        assert leaves[name].grad is None or leaves[name].grad.dtype == torch.bfloat16


@EVERY_CALL
def test_autocast_leaves_float64_alone(call: Call) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        outputs = call.run(call.tensors, "cpu")
    assert all(torch.equal(got, want) for got, want in zip(outputs, call.run(call.tensors, "cpu"), strict=True))


def test_running_statistics_under_autocast_are_the_callers() -> None:
    call = CALLS["refine_masks"]
    plain, low = cast(call, torch.float32, "cpu"), cast(call, torch.bfloat16, "cpu")
    for tensors in (plain, low):
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            weights = ops.MaskWeights(*(tensors[name] for name in ops.MaskWeights._fields))
            ops.refine_masks(tensors["boxes"], weights, (6, 7), training=True, backend="cpu")
    for name in ("running_mean", "running_var"):
        assert not torch.equal(low[name], call.tensors[name].bfloat16())
        assert torch.allclose(low[name].float(), plain[name], atol=2e-2)


@EVERY_GRADIENT
def test_compiled_under_autocast(call: Call) -> None:
    tensors = cast(call, torch.float32, "cpu")
    torch._dynamo.reset()

    def run(given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            return call.run(given, "cpu")

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    got, want = compiled(tensors), call.run(tensors, "cpu")
    assert all(torch.equal(g, w) for g, w in zip(got, want, strict=True))


def loss_of(call: Call, name: str, backend: str = "cpu") -> Callable[[Tensor], Tensor]:
    """A number that depends on one of the tensors, all of it."""

    def loss(value: Tensor) -> Tensor:
        outputs = call.run({**call.tensors, name: value}, backend)
        return sum(((out + 1) ** 2).sum() for out in outputs)  # type: ignore[return-value]

    return loss


@EVERY_GRADIENT
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_reverse_mode_of_torch_func(call: Call, backend: str) -> None:
    for name in call.leaves:
        leaf = call.tensors[name].clone().requires_grad_()
        (want,) = torch.autograd.grad(loss_of(call, name, backend)(leaf), leaf)
        assert torch.allclose(
            torch.func.grad(loss_of(call, name, backend))(leaf.detach()), want, rtol=1e-12, atol=1e-12
        )
    rows = torch.func.jacrev(lambda value: call.run({**call.tensors, name: value}, backend)[0])(leaf.detach())
    outputs = call.run(call.tensors, backend)[0]
    assert rows.shape == (*outputs.shape, *leaf.shape)


@EVERY_GRADIENT
def test_vmap_of_gradients(call: Call) -> None:
    name = call.leaves[0]
    several = torch.stack([call.tensors[name], call.tensors[name] * 0.9])
    want = torch.stack([torch.func.grad(loss_of(call, name))(value) for value in several])
    assert torch.allclose(torch.func.vmap(torch.func.grad(loss_of(call, name)))(several), want, rtol=1e-12, atol=1e-12)


@EVERY_GRADIENT
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_forward_mode_is_refused_in_words(call: Call, backend: str) -> None:
    """Its tangent would be lost, which is a zero that looks like a value."""
    name = call.leaves[0]
    value, loss = call.tensors[name], loss_of(call, name, backend)
    message = r"has no forward-mode derivative .*hmeg\.reference\."
    with pytest.raises(NotImplementedError, match=message):
        torch.func.jvp(loss, (value,), (torch.ones_like(value),))
    with pytest.raises(NotImplementedError, match=message):
        torch.func.jacfwd(loss)(value)
    with pytest.raises(NotImplementedError, match=message):
        torch.func.hessian(loss)(value)
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match=message):
        loss(forward_ad.make_dual(value, torch.ones_like(value)))


@EVERY_GRADIENT
def test_second_derivatives_are_refused_in_words(call: Call) -> None:
    name = call.leaves[0]
    with pytest.raises(NotImplementedError, match="is differentiable once only"):
        torch.func.grad(lambda value: torch.func.grad(loss_of(call, name))(value).sum())(call.tensors[name])


def test_constants_may_stand_beside_dual_numbers() -> None:
    """Forward mode elsewhere in a function does not concern an operator that none of it reaches."""
    call = CALLS["box_soft_mask"]
    masks = call.run(call.tensors, "cpu")[0]
    value, tangent = torch.func.jvp(lambda x: (x * call.run(call.tensors, "cpu")[0]).sum(), (masks,), (masks,))
    assert torch.allclose(tangent, (masks * masks).sum()) and torch.allclose(value, tangent)


@pytest.fixture(scope="module")
def formula() -> Tensor:
    return pixels(hmeg.load("small"))


def pixels(generator: Any) -> Tensor:
    return torch.from_numpy(np.array(generator(["x+1"])[0].image)).double()


def test_generator_under_autocast(formula: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        image = pixels(hmeg.load("small"))
    assert torch.equal(image, formula)  # a generator has a precision of its own


def test_generator_with_another_default_type(formula: Tensor) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        image = pixels(hmeg.load("small"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(image, formula)
