"""How a backend is chosen, and what is told about those that cannot be."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

from hmeg import backends, ops
from hmeg.backends import BackendError
from hmeg.backends.base import Backend
from hmeg.backends.cpu import CpuBackend
from hmeg.backends.reference import ReferenceBackend
from tests.support import boxes as some
from tests.support.operator_checks import cast, differentiated

ROOT = Path(__file__).parents[2]


class Recorder(ReferenceBackend):
    """The reference under another name, noting what it was asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[str] = []

    def box_soft_mask(self, *arguments: object) -> torch.Tensor:
        self.calls.append("forward")
        return super().box_soft_mask(*arguments)  # type: ignore[arg-type]

    def box_soft_mask_backward(self, *arguments: object) -> torch.Tensor:
        self.calls.append("backward")
        return super().box_soft_mask_backward(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    monkeypatch.setattr(backends, "_backends", dict(backends._backends))
    monkeypatch.delenv(backends.ENVIRONMENT_VARIABLE, raising=False)
    found = {name: Recorder(name) for name in ("argument", "context", "environment")}
    for recorder in found.values():
        backends.register(recorder)
    return found


BOXES = some.ordinary(2)


def chosen(requested: str | None = None) -> str:
    return backends.select("box_soft_mask", [BOXES], requested).name


def test_order_of_wishes(recorders: dict[str, Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() in ("cpu", "reference")
    monkeypatch.setenv("HMEG_BACKEND", "environment")
    assert chosen() == "environment"
    with backends.using("context"):
        assert chosen() == "context"
        assert chosen("argument") == "argument"
        with backends.using("reference"):
            assert chosen() == "reference"
        assert chosen() == "context"
    assert chosen() == "environment"


def test_operators_obey(recorders: dict[str, Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    ops.box_soft_mask(BOXES, (4, 4), backend="argument")
    with backends.using("context"):
        ops.box_soft_mask(BOXES, (4, 4))
    monkeypatch.setenv("HMEG_BACKEND", "environment")
    ops.box_soft_mask(BOXES, (4, 4))
    assert [recorder.calls for recorder in recorders.values()] == [["forward"]] * 3


def test_backward_runs_where_forward_ran(recorders: dict[str, Recorder]) -> None:
    leaf = BOXES.clone().requires_grad_()
    with backends.using("context"):
        masks = ops.box_soft_mask(leaf, (4, 4))
    masks.sum().backward()
    assert recorders["context"].calls == ["forward", "backward"]


def test_compiled_code_looks_at_the_context_when_it_runs(recorders: dict[str, Recorder]) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda b: ops.box_soft_mask(b, (4, 4)), fullgraph=True, backend="aot_eager")
    compiled(BOXES)
    with backends.using("context"):
        compiled(BOXES)
    assert recorders["context"].calls == ["forward"]


def test_context_is_per_thread(recorders: dict[str, Recorder]) -> None:
    seen: list[str] = []
    with backends.using("context"):
        thread = threading.Thread(target=lambda: seen.append(chosen()))
        thread.start()
        thread.join()
    assert seen != ["context"]


def test_context_ends_with_an_error(recorders: dict[str, Recorder]) -> None:
    with pytest.raises(KeyError), backends.using("context"):
        raise KeyError
    assert chosen() != "context"


@pytest.mark.parametrize("way", ["argument", "context", "environment"])
def test_unknown_name(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> str:
        if way == "context":
            with backends.using("fast"):
                return chosen()
        return chosen("fast" if way == "argument" else None)

    if way == "environment":
        monkeypatch.setenv("HMEG_BACKEND", "fast")
    with pytest.raises(ValueError, match="there is no backend 'fast'; choose one of reference, cpu, cuda, triton"):
        ask()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_named_backend_never_falls_back() -> None:
    with pytest.raises(BackendError, match=r"backend 'cuda' cannot run box_soft_mask: (torch sees no|hmeg._C was)"):
        ops.box_soft_mask(BOXES, (4, 4), backend="cuda")
    with backends.using("cuda"), pytest.raises(BackendError, match="backend 'cuda' cannot run box_soft_mask"):
        ops.box_soft_mask(BOXES, (4, 4))


def test_missing_kernel_is_named() -> None:
    class Nothing(Backend):
        name, device_types, dtypes = "nothing", ("cpu",), (torch.float64,)

    assert Nothing().why_not("box_soft_mask", [BOXES]) == "it has no kernel for it yet"


def test_extension_of_earlier_sources_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CpuBackend()
    monkeypatch.setattr(backend.device, "_entries", {})
    with pytest.raises(BackendError, match="has no box_soft_mask_forward: it was built from earlier sources; build it"):
        backend.box_soft_mask(BOXES, 4, 4)


def test_wrong_device_and_dtype_are_named() -> None:
    reference = ReferenceBackend()
    assert reference.why_not("box_soft_mask", [BOXES.to("meta")]) == "it takes tensors on cpu or cuda, not on meta"
    reason = backends._backends["cpu"].why_not("box_soft_mask", [BOXES.half()])
    assert reason in ("it takes float32, float64, not float16", backends.explain()["cpu"]["reason"])


def test_automatic_choice_skips_what_cannot_run() -> None:
    assert backends.select("box_soft_mask", [BOXES.half()]).name == "reference"
    with pytest.raises(BackendError, match="no backend runs box_soft_mask on device 'meta'"):
        backends.select("box_soft_mask", [BOXES.to("meta")])


def test_no_warning_where_kernels_do_not_take_the_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_warned", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.box_soft_mask(BOXES.half(), (4, 4))
        ops.box_soft_mask(BOXES, (4, 4), backend="reference")


def test_explain_covers_every_backend() -> None:
    told = backends.explain()
    assert {"reference", "cpu", "cuda", "triton"} <= set(told)
    for status in told.values():
        assert status["available"] == (not status["reason"])
        assert set(status["operators"]) <= set(backends.OPERATORS)
    assert told["reference"]["operators"] == backends.OPERATORS


def test_low_precision_reference_computes_in_float32() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        boxes = BOXES.to(dtype)
        tensors = cast({"boxes": boxes}, dtype, "cpu")
        (masks,), grads = differentiated(
            lambda t: (ops.box_soft_mask(t["boxes"], (9, 9), backend="reference"),), tensors, ["boxes"]
        )
        wide = ops.box_soft_mask(boxes.float(), (9, 9), backend="reference")
        assert torch.equal(masks, wide.to(dtype))
        assert grads["boxes"].dtype == dtype


def test_without_the_extension_and_triton_the_reference_serves() -> None:
    script = """
import sys
sys.modules["hmeg._C"] = None
sys.modules["triton"] = None
import torch
from hmeg import backends, ops
told = backends.explain()
assert "hmeg._C cannot be imported" in told["cpu"]["reason"], told
assert "hmeg._C cannot be imported" in told["cuda"]["reason"], told
assert not told["triton"]["available"] and "riton" in told["triton"]["reason"], told
import warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(3):
        assert ops.box_soft_mask(torch.tensor([[0.0, 0, 1, 1]]), (4, 4)).sum() > 0
(warning,) = told
assert warning.category is backends.ReferenceWarning
assert "plain PyTorch on cpu" in str(warning.message) and "hmeg._C cannot be imported" in str(warning.message)
try:
    ops.box_soft_mask(torch.tensor([[0.0, 0, 1, 1]]), (4, 4), backend="cpu")
except backends.BackendError as error:
    assert "build it with" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
