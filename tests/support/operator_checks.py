"""What every operator's suite asks of a backend: agreement with the reference, gradients, determinism, compilation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.support.targets import Target
from tests.support.tolerances import tolerance

Outputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Problem:
    """An operator on some inputs.

    operator  its name
    run       (tensors by name, backend name or None) -> outputs, through hmeg.ops
    oracle    (tensors by name) -> outputs, straight from hmeg.reference, differentiable by autograd
    tensors   float64 or int64, on the CPU
    fixed     names of floating tensors that get no gradient
    """

    operator: str
    run: Callable[[Mapping[str, Tensor], str | None], Outputs]
    oracle: Callable[[Mapping[str, Tensor]], Outputs]
    tensors: dict[str, Tensor]
    fixed: tuple[str, ...] = ()

    def leaves(self) -> list[str]:
        """Names of the tensors that get gradients."""
        return [n for n, t in self.tensors.items() if t.is_floating_point() and n not in self.fixed]


def cast(tensors: Mapping[str, Tensor], dtype: torch.dtype, device: str, strided: bool = False) -> dict[str, Tensor]:
    """Copies on a device, floating ones in ``dtype``; with ``strided`` none of them is contiguous."""
    result = {}
    for name, tensor in tensors.items():
        moved = tensor.to(device, dtype if tensor.is_floating_point() else None, copy=True)
        result[name] = torch.stack([moved, moved], dim=-1)[..., 0] if strided else moved
    return result


def cotangents(outputs: Outputs, strided: bool = False) -> list[Tensor]:
    """Random gradients of the outputs, the same for the same shapes, in float64 with few digits: exact in all types."""
    generator = torch.Generator().manual_seed(7)
    grads = [torch.randint(-8, 9, out.shape, generator=generator, dtype=torch.float64) / 4 for out in outputs]
    return [torch.stack([g, g], dim=-1)[..., 0] for g in grads] if strided else grads


def differentiated(
    function: Callable[[Mapping[str, Tensor]], Outputs],
    tensors: Mapping[str, Tensor],
    leaves: list[str],
    strided: bool = False,
) -> tuple[Outputs, dict[str, Tensor]]:
    """Outputs of function, and gradients of the tensors named, given ``cotangents``."""
    inputs = {n: t.detach().requires_grad_(n in leaves) for n, t in tensors.items()}
    outputs = function(inputs)
    grads = [g.to(o.device, o.dtype) for g, o in zip(cotangents(outputs, strided), outputs, strict=True)]
    found = torch.autograd.grad(outputs, [inputs[n] for n in leaves], grads, allow_unused=True, materialize_grads=True)
    return tuple(o.detach() for o in outputs), dict(zip(leaves, found, strict=True))


def assert_close(
    operator: str, dtype: torch.dtype, quantity: str, what: str, got: Tensor, want: Tensor, units: float = 1.0
) -> None:
    """Compares with ``units`` times the tolerance of the table; NaN must meet NaN."""
    assert got.shape == want.shape, f"{operator} {what}: shape {tuple(got.shape)}, want {tuple(want.shape)}"
    assert got.dtype == dtype, f"{operator} {what}: {got.dtype}, want {dtype}"
    got, want = got.detach().cpu().double(), want.detach().cpu().double()
    assert torch.equal(got.isnan(), want.isnan()), f"{operator} {what}: NaN in other places"
    if not want.numel():
        return
    limit = units * tolerance(operator, dtype, quantity) * max(1.0, float(want.nan_to_num().abs().max()))
    worst = float((got - want).nan_to_num().abs().max())
    assert worst <= limit, f"{operator} {what}: off by {worst:.3g}, allowed {limit:.3g}"


def check_agreement(problem: Problem, backend: Target, dtype: torch.dtype, strided: bool = False) -> None:
    """Outputs and all gradients, against the oracle in float64 on the very inputs the backend saw."""
    units = 2.0 if backend.interpreted and dtype == torch.bfloat16 else 1.0
    rounded = cast(problem.tensors, dtype, "cpu")
    want, want_grads = differentiated(problem.oracle, cast(rounded, torch.float64, "cpu"), problem.leaves())
    given = cast(rounded, dtype, backend.device, strided)
    got, got_grads = differentiated(lambda t: problem.run(t, backend.name), given, problem.leaves(), strided)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        assert_close(problem.operator, dtype, "output", f"output {i}", g, w, units)
    for name, w in want_grads.items():
        assert_close(problem.operator, dtype, "gradient", f"gradient of {name}", got_grads[name], w, units)


def check_outputs(problem: Problem, backend: Target, dtype: torch.dtype, strided: bool = False) -> None:
    """Outputs alone, for operators without a gradient of their own; as ``check_agreement`` otherwise."""
    units = 2.0 if backend.interpreted and dtype == torch.bfloat16 else 1.0
    rounded = cast(problem.tensors, dtype, "cpu")
    want = problem.oracle(cast(rounded, torch.float64, "cpu"))
    got = problem.run(cast(rounded, dtype, backend.device, strided), backend.name)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        assert_close(problem.operator, dtype, "output", f"output {i}", g, w, units)


def check_finite(problem: Problem, backend: Target, dtype: torch.dtype) -> None:
    """Outputs and gradients hold no NaN or infinity."""
    outputs, grads = differentiated(
        lambda t: problem.run(t, backend.name), cast(problem.tensors, dtype, backend.device), problem.leaves()
    )
    for tensor in (*outputs, *grads.values()):
        assert torch.isfinite(tensor).all()


def check_gradients(problem: Problem, backend: Target) -> None:
    """torch's gradcheck along random directions, in double: analytic against numeric gradients, twice the same bits."""
    tensors = cast(problem.tensors, torch.float64, backend.device)
    leaves = problem.leaves()

    def function(*values: Tensor) -> Outputs:
        return problem.run({**tensors, **dict(zip(leaves, values, strict=True))}, backend.name)

    inputs = [tensors[n].requires_grad_() for n in leaves]
    assert torch.autograd.gradcheck(function, inputs, eps=1e-7, atol=1e-5, rtol=1e-4, nondet_tol=0.0, fast_mode=True)


def check_repeatable(problem: Problem, backend: Target, dtype: torch.dtype) -> None:
    """Two runs give the same bits."""
    tensors = cast(problem.tensors, dtype, backend.device)
    runs = [differentiated(lambda t: problem.run(t, backend.name), tensors, problem.leaves()) for _ in range(2)]
    for first, second in zip((*runs[0][0], *runs[0][1].values()), (*runs[1][0], *runs[1][1].values()), strict=True):
        assert torch.equal(first, second)


def check_threads(problem: Problem, backend: Target) -> None:
    """The number of torch's threads changes no bit of a result."""
    tensors = cast(problem.tensors, torch.float32, backend.device)
    before, runs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            runs.append(differentiated(lambda t: problem.run(t, backend.name), tensors, problem.leaves()))
    finally:
        torch.set_num_threads(before)
    for outputs, grads in runs[1:]:
        assert all(torch.equal(got, want) for got, want in zip(outputs, runs[0][0], strict=True))
        assert all(torch.equal(grads[name], want) for name, want in runs[0][1].items())


def check_compiled(problem: Problem, backend: Target, compiler: str = "aot_eager") -> None:
    """torch.compile(fullgraph=True), with dynamic shapes, gives what eager mode gives, forward and backward."""
    tensors = cast(problem.tensors, torch.float32, backend.device)
    torch._dynamo.reset()
    compiled = torch.compile(lambda t: problem.run(t, backend.name), fullgraph=True, dynamic=True, backend=compiler)
    eager = differentiated(lambda t: problem.run(t, backend.name), tensors, problem.leaves())
    traced = differentiated(compiled, tensors, problem.leaves())
    for i, (g, w) in enumerate(zip(traced[0], eager[0], strict=True)):
        assert_close(problem.operator, torch.float32, "output", f"compiled output {i}", g, w)
    for name, w in eager[1].items():
        assert_close(problem.operator, torch.float32, "gradient", f"compiled gradient of {name}", traced[1][name], w)


def check_registration(operator: str, arguments: tuple[Any, ...]) -> None:
    """torch.library.opcheck: schema, autograd registration, fake tensors, AOT dispatch with dynamic shapes."""
    torch.library.opcheck(getattr(torch.ops.hmeg, operator).default, arguments)
