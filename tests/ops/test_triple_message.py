"""triple_message on every backend."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmeg import backends, ops
from hmeg.ops import TripleWeights
from hmeg.reference.triple_message import edge_activations, pool
from tests.support.operator_checks import (
    cast,
    check_agreement,
    check_compiled,
    check_gradients,
    check_registration,
    check_repeatable,
)
from tests.support.targets import Target, targets
from tests.support.triple_messages import FORMS, complete, problem, weights

EVERYWHERE = pytest.mark.parametrize("backend", targets("triple_message"), indirect=True)


def arbitrary(nodes: int, edges: int) -> Tensor:
    """Edges in no order, some more than once; some nodes have none."""
    generator = torch.Generator().manual_seed(edges)
    return torch.randint(0, max(nodes - 2, 1), (2, edges), generator=generator)


SELF_PAIRS = torch.tensor([[0, 1, 2, 2, 0, 1], [0, 1, 2, 2, 1, 1]])

GRAPHS = {
    "complete": (8, complete([3, 5])),
    "one symbol": (1, complete([1])),
    "one symbol without edges": (1, torch.zeros(2, 0, dtype=torch.int64)),
    "no edges": (4, torch.zeros(2, 0, dtype=torch.int64)),
    "no symbols": (0, torch.zeros(2, 0, dtype=torch.int64)),
    "arbitrary": (9, arbitrary(9, 20)),
    "self-pairs": (3, SELF_PAIRS),
    "isolated": (7, SELF_PAIRS + 2),
    "repeated": (4, arbitrary(4, 3).repeat(1, 4)),
    "large": (60, complete([20, 1, 9, 30])),
    "complete, out of order": (8, complete([3, 5]).flip(1)),
}
SMALLER = {"large": (24, complete([9, 1, 14]))}  # for Triton's interpreter, which takes its time


def graph_for(backend: Target, name: str) -> tuple[int, Tensor]:
    """The graph of that name: number of nodes and edge_index."""
    interpreted = backend.name == "triton" and backend.device == "cpu"
    return SMALLER.get(name, GRAPHS[name]) if interpreted else GRAPHS[name]


@EVERYWHERE
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("pooling", ["avg", "sum"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_agrees_with_the_reference(backend: Target, dtype: torch.dtype, graph: str, pooling: str) -> None:
    check_agreement(problem(*graph_for(backend, graph), pooling=pooling), backend, dtype)


@EVERYWHERE
@pytest.mark.parametrize("graph", ["complete", "one symbol without edges", "no symbols", "arbitrary", "large"])
@pytest.mark.parametrize("form", list(FORMS)[1:])
def test_forms_agree_with_the_reference(backend: Target, graph: str, form: str) -> None:
    check_agreement(problem(*graph_for(backend, graph), **FORMS[form]), backend, torch.float64)


@EVERYWHERE
@pytest.mark.parametrize(("channels", "hidden", "out"), [(32, 64, 32), (5, 33, 40), (1, 1, 1)], ids=str)
def test_widths(backend: Target, channels: int, hidden: int, out: int) -> None:
    """Of whole vectors and of less, and parts of signs that fill their words or do not."""
    check_agreement(problem(*GRAPHS["complete"], channels, hidden, out), backend, torch.float32)


@EVERYWHERE
def test_two_thousand_symbols(backend: Target) -> None:
    nodes, edges = 2000, 6000
    if backend.name.startswith("emulated"):
        edges = 300  # the emulator is slow
    if backend.name == "triton" and backend.device == "cpu":
        nodes, edges = 100, 300  # and the interpreter slower
    check_agreement(problem(nodes, arbitrary(nodes, edges), 6, 8, 5), backend, torch.float32)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(backend: Target, dtype: torch.dtype) -> None:
    """Away from ReLU's kinks: a rounded number on the other side of one has another gradient, rightly so."""
    given = problem(*GRAPHS["complete"], 32, 64, 32)
    generator = torch.Generator().manual_seed(1)
    for name in TripleWeights._fields:
        tensor = given.tensors[name]
        bias = torch.randint(0, 2, tensor.shape, generator=generator).double() * 2 - 1
        given.tensors[name] = bias if tensor.dim() == 1 else tensor / 4
    if dtype not in backend.dtypes:
        tensors = cast(given.tensors, dtype, backend.device)
        with pytest.raises(backends.BackendError, match=f"not {str(dtype).removeprefix('torch.')}"):
            given.run(tensors, backend.name)
        return
    check_agreement(given, backend, dtype)


GPU_TARGETS = [name for name in targets("triple_message") if name.startswith(("emulated", "triton", "cuda"))]
ON_A_GPU = pytest.mark.parametrize("backend", GPU_TARGETS, indirect=True)


@ON_A_GPU
@pytest.mark.parametrize("form", ["plain", "table, structured, no edges returned"])
def test_many_ranges_of_edges(backend: Target, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes whose edges lie in several ranges, and in none of some."""
    monkeypatch.setattr("hmeg.backends.triple_message.RANGE_BYTES", 8192)
    check_agreement(problem(*GRAPHS["arbitrary"], **FORMS[form]), backend, torch.float64)
    given = problem(10, complete([2, 1, 7]), **FORMS[form])
    check_agreement(given, backend, torch.float32)
    check_repeatable(given, backend, torch.float32)


@EVERYWHERE
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_in_its_graph(backend: Target, value: float) -> None:
    given = problem(*GRAPHS["complete"])
    clean = given.run(cast(given.tensors, torch.float32, backend.device), backend.name)
    given.tensors["x"][1, 3] = value
    spoilt = given.run(cast(given.tensors, torch.float32, backend.device), backend.name)
    assert not torch.isfinite(spoilt[0][:3]).all()
    # Not the same bits: Triton adds up a tile that holds such numbers in another way.
    assert torch.allclose(spoilt[0][3:], clean[0][3:], rtol=1e-5, atol=1e-6)
    assert torch.allclose(spoilt[1][9:], clean[1][9:], rtol=1e-5, atol=1e-6)


@EVERYWHERE
@pytest.mark.parametrize("form", ["plain", "table"])
def test_non_contiguous(backend: Target, form: str) -> None:
    check_agreement(problem(*GRAPHS["arbitrary"], **FORMS[form]), backend, torch.float64, strided=True)


@EVERYWHERE
def test_gradcheck_and_repeatable(backend: Target) -> None:
    check_gradients(problem(*GRAPHS["complete"]), backend)
    check_gradients(problem(*GRAPHS["arbitrary"], pooling="sum", table=True, return_edges=False), backend)
    check_repeatable(problem(*graph_for(backend, "large")), backend, torch.float32)
    check_repeatable(problem(*GRAPHS["arbitrary"], table=True, structured=True), backend, torch.float32)


CPU_TARGETS = [name for name in targets("triple_message") if name.startswith("cpu")]


@pytest.mark.parametrize("backend", CPU_TARGETS, indirect=True)
@pytest.mark.parametrize("form", ["plain", "table, structured, no edges returned"])
@pytest.mark.parametrize("sizes", [[3, 5], [20, 1, 9, 30]], ids=["one tile", "many tiles"])
def test_any_number_of_threads_gives_the_same(
    backend: Target, sizes: list[int], form: str, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: torch's products over nodes stay on one thread. 8 is more threads than there are panels."""
    given = problem(sum(sizes), complete(sizes), 20, 160, 130, **FORMS[form])
    results = []
    for threads in (1, 2, 8):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        check_agreement(given, backend, torch.float64)
        leaves = cast(given.tensors, torch.float32, backend.device)
        differentiable = [t.requires_grad_() for t in leaves.values() if t.is_floating_point()]
        outputs = [t for t in given.run(leaves, backend.name) if t.numel()]
        gradients = torch.autograd.grad([t.sum() for t in outputs], differentiable)
        results.append([t.detach() for t in outputs] + list(gradients))
    for other in results[1:]:
        for got, want in zip(other, results[0], strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("backend", CPU_TARGETS, indirect=True)
def test_zeros_are_passed_over(backend: Target) -> None:
    """What a hidden unit that no edge activates is multiplied by does not matter, were it not a number."""
    given = problem(*GRAPHS["complete"], 6, 40, 8)
    given.tensors["b1"][3] = -1e6
    clean = given.run(given.tensors, backend.name)
    given.tensors["w2"][:, 3] = torch.nan
    for got, want in zip(given.run(given.tensors, backend.name), clean, strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("backend", CPU_TARGETS, indirect=True)
def test_dense_activations(backend: Target) -> None:
    """Every hidden unit and every output active, so that no bit of any mask is clear."""
    given = problem(*GRAPHS["complete"], 12, 70, 40)
    for name in ("b1", "b2"):
        given.tensors[name][:] = 20
    check_agreement(given, backend, torch.float64)


@EVERYWHERE
@pytest.mark.parametrize("return_edges", [True, False])
def test_kept_for_the_backward_pass(backend: Target, return_edges: bool) -> None:
    """All backends leave the same, so that a backward pass may run on another one."""
    nodes, edge_index = graph_for(backend, "large")
    hidden, out = 33, 40
    given = problem(nodes, edge_index, 12, hidden, out).tensors
    bundle = TripleWeights(*(given[n] for n in TripleWeights._fields))
    parts = edge_activations(given["x"], given["edge_attr"], edge_index, bundle, None)
    arguments = [given["x"], given["edge_attr"], edge_index, None, [], *bundle, "avg", return_edges]
    arguments = [a.to(backend.device) if isinstance(a, Tensor) else a for a in arguments]
    _new_x, edges, pooled, signs = torch.ops.hmeg.triple_message(*arguments, True, backend.name)
    assert edges.shape == (edge_index.shape[1] if return_edges else 0, out)
    assert torch.allclose(pooled.cpu(), pool(parts[0], parts[2], edge_index, nodes, "avg"), atol=1e-12)
    columns = [parts[0], parts[2], parts[1]] if return_edges else [parts[0], parts[2]]
    assert (signs.dtype, signs.shape) == (torch.int32, (edge_index.shape[1], 2 * 2 + 2 * return_edges))
    bits = (signs.cpu()[:, :, None] >> torch.arange(32)) & 1
    for i, part in enumerate(columns):
        got = bits[:, 2 * i : 2 * i + 2].flatten(1)
        assert torch.equal(got[:, : part.shape[1]].bool(), part > 0)
        assert not got[:, part.shape[1] :].any()
    for got, shape in zip(
        torch.ops.hmeg.triple_message(*arguments, False, backend.name)[2:], ((0, hidden), (0, signs.shape[1])),
        strict=True,
    ):  # fmt: skip
        assert got.shape == shape


@EVERYWHERE
@pytest.mark.parametrize("edge", [-1, 9, 2**40, -(2**63)])
@pytest.mark.parametrize("of", ["edge_index", "edge_type"])
def test_edges_out_of_range(backend: Target, of: str, edge: int) -> None:
    if backend.device != "cpu":
        pytest.skip("on a GPU nothing looks at values")
    given = problem(*GRAPHS["arbitrary"], table=True)
    given.tensors[of] = given.tensors[of].clone()
    given.tensors[of].view(-1)[-1] = edge
    limit = "V = 9" if of == "edge_index" else "R = 5"
    with pytest.raises(IndexError, match=rf"triple_message: {of} must lie in \[0, {limit}\), got {edge}"):
        given.run(given.tensors, backend.name)


def test_self_pair_counts_twice() -> None:
    given = problem(2, torch.tensor([[0, 1, 0], [0, 1, 1]])).tensors
    bundle = TripleWeights(*(given[n] for n in TripleWeights._fields))
    triples = torch.cat([given["x"][[0, 1, 0]], given["edge_attr"], given["x"][[0, 1, 1]]], dim=1)
    hidden = torch.relu(torch.relu(triples @ bundle.w1.T + bundle.b1) @ bundle.w2.T + bundle.b2)
    for_subject, edges, for_object = hidden[:, :14], hidden[:, 14:24], hidden[:, 24:]
    pooled = torch.stack(
        [
            (for_subject[0] + for_object[0] + for_subject[2]) / 3,
            (for_subject[1] + for_object[1] + for_object[2]) / 3,
        ]
    )
    nodes = torch.relu(torch.relu(pooled @ bundle.w3.T + bundle.b3) @ bundle.w4.T + bundle.b4)
    got = ops.triple_message(given["x"], given["edge_attr"], given["edge_index"], bundle)
    assert torch.allclose(got[0], nodes, atol=1e-12)
    assert torch.allclose(got[1], edges, atol=1e-12)


def registered(form: dict[str, bool], backend: str) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """Arguments of the registered forward and backward operators."""
    given = problem(*GRAPHS["complete"], channels=4, hidden=5, out=3, **form).tensors
    nodes, edge_index = GRAPHS["complete"]
    floating = {n: t.float().requires_grad_() for n, t in given.items() if t.is_floating_point()}
    bundle = [floating[n] for n in TripleWeights._fields]
    structure = list(ops.edge_structure(edge_index, nodes)) if form.get("structured") else []
    return_edges = form.get("return_edges", True)
    inputs = [floating["x"], floating["edge_attr"], edge_index, given.get("edge_type"), structure, *bundle]
    forward = (*inputs, "avg", return_edges, True, backend)
    new_x, edges, pooled, signs = (t.detach() for t in torch.ops.hmeg.triple_message(*forward))
    plain = [t.detach() if isinstance(t, Tensor) else t for t in inputs]
    grads = torch.randn_like(new_x), torch.randn_like(edges)
    return forward, (*grads, new_x, pooled, signs, *plain, "avg", return_edges, backend)


@pytest.mark.parametrize("backend", ["reference", "cpu-portable"], indirect=True)
@pytest.mark.parametrize("form", FORMS)
def test_registered(backend: Target, form: str) -> None:
    forward, backward = registered(FORMS[form], backend.name)
    check_registration("triple_message", forward)
    check_registration("triple_message_backward", backward)


@pytest.mark.compiler
@pytest.mark.parametrize(("backend", "compiler"), [("reference", "aot_eager"), ("cpu-portable", "inductor")],
                         indirect=["backend"])  # fmt: skip
def test_compiled(backend: Target, compiler: str) -> None:
    check_compiled(problem(*GRAPHS["complete"], channels=4, hidden=5, out=3), backend, compiler)
    every = FORMS["table, structured, no edges returned"]
    check_compiled(problem(*GRAPHS["complete"], channels=4, hidden=5, out=3, **every), backend, compiler)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x": torch.zeros(2)}, ValueError, r"triple_message: x must have shape \(V, C\), got \(2,\)"),
        ({"edge_attr": torch.zeros(3, 5)}, ValueError, r"edge_attr must have shape \(E = 3, C = 4\), got \(3, 5\)"),
        (
            {"edge_index": torch.zeros(2, 4).long()},
            ValueError,
            r"edge_attr must have shape \(E = 4, C = 4\), got \(3, 4\)",
        ),
        ({"edge_index": torch.zeros(2, 3).int()}, TypeError, "edge_index must be int64, got torch.int32"),
        ({"w1": torch.zeros(6, 11)}, ValueError, r"weights.w1 must have shape \(K = 6, 3 C = 12\), got \(6, 11\)"),
        ({"w2": torch.zeros(18, 6)}, ValueError, r"weights.w2 must have shape \(2 K \+ C' = 17, K = 6\)"),
        ({"b4": torch.zeros(6)}, ValueError, r"weights.b4 must have shape \(C' = 5\), got \(6,\)"),
        ({"edge_type": torch.zeros(2).long()}, ValueError, r"edge_type must have shape \(E = 3\), got \(2,\)"),
        ({"edge_type": torch.zeros(3)}, TypeError, "edge_type must be int64, got torch.float32"),
        (
            {"structure": ops.edge_structure(torch.zeros(2, 3).long(), 4)},
            ValueError,
            r"structure.subject_rows must have shape \(V \+ 1 = 3\), got \(5,\)",
        ),
        (
            {"structure": ops.edge_structure(torch.zeros(2, 7).long(), 2)},
            ValueError,
            r"structure.subject_edges must have shape \(E = 3\), got \(7,\)",
        ),
        ({"pooling": "max"}, ValueError, "pooling must be one of avg, sum, got 'max'"),
    ],
)
def test_bad_arguments(changed: dict[str, object], error: type[Exception], message: str) -> None:
    values: dict[str, object] = {n: t.float() for n, t in weights(4, 6, 5).items()}
    values |= {"x": torch.zeros(2, 4), "edge_attr": torch.zeros(3, 4), "edge_index": torch.zeros(2, 3).long()}
    values |= {"pooling": "avg", **changed}
    bundle = TripleWeights(*(values.pop(n) for n in TripleWeights._fields))  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        ops.triple_message(weights=bundle, **values)  # type: ignore[arg-type]
