"""Graph convolutions of the published sizes (five layers, 128 channels, 512 hidden) beside their published formulation:
everything an edge knows is put in one row, and rows are added up with scatter_add. And the read-out by attention.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hmeg import ops, reference
from hmeg.ops import TripleWeights

from .measure import Case, measure
from .subjects import DEVICE, SUBJECTS, implementation
from .workloads import Workload, crohme, long

LAYERS, CHANNELS, HIDDEN, RELATIONS = 5, 128, 512, 13
WORKLOADS = {"crohme32": crohme(32), "crohme1": crohme(1), "long": long()}
FIELDS = len(TripleWeights._fields)


class Edges:
    """Edges of a batch of complete graphs, ordered by expression, subject and object; one in six has a relation."""

    def __init__(self, workload: Workload) -> None:
        generator = torch.Generator().manual_seed(0)
        batch = workload.batch
        index = (batch[:, None] == batch[None, :]).nonzero().T.contiguous()
        kinds = torch.randint(1, RELATIONS, (index.shape[1],), generator=generator)
        related = torch.rand(index.shape[1], generator=generator) < 1 / 6
        self.structure = ops.edge_structure(index, len(batch)).to(DEVICE)
        self.index, self.type = index.to(DEVICE), torch.where(related, kinds, 0).to(DEVICE)


def weights_of(layer: int) -> TripleWeights:
    """Weights that keep the signal's size through all layers."""
    generator = torch.Generator().manual_seed(layer)
    shapes = [(HIDDEN, 3 * CHANNELS), (2 * HIDDEN + CHANNELS, HIDDEN), (HIDDEN, HIDDEN), (CHANNELS, HIDDEN)]
    linears = [(torch.randn(shape, generator=generator) * (2 / shape[1]) ** 0.5, 0.1 * torch.randn(shape[0],
               generator=generator)) for shape in shapes]  # fmt: skip
    return TripleWeights(*(tensor.to(DEVICE) for tensor in itertools.chain.from_iterable(linears)))


def inputs_of(workload: Workload) -> list[Tensor]:
    """Node features (V, C), relation features (13, C), and the weights of all layers."""
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(count, CHANNELS, generator=generator).to(DEVICE) for count in (len(workload.batch), RELATIONS)]
    return [*rows, *itertools.chain.from_iterable(weights_of(layer) for layer in range(LAYERS))]


def layers_of(weights: tuple[Tensor, ...]) -> list[TripleWeights]:
    return [TripleWeights(*weights[i : i + FIELDS]) for i in range(0, len(weights), FIELDS)]


def published(edges: Edges, x: Tensor, relations: Tensor, *weights: Tensor) -> Tensor:
    """Node features after all layers."""
    subject, object_ = edges.index
    edge_attr = F.embedding(edges.type, relations)
    for layer in layers_of(weights):
        triples = torch.cat([x[subject], edge_attr, x[object_]], dim=1)
        hidden = F.relu(F.linear(triples, layer.w1, layer.b1))
        hidden = F.relu(F.linear(hidden, layer.w2, layer.b2))
        for_subject, edge_attr, for_object = hidden.split([HIDDEN, CHANNELS, HIDDEN], dim=1)
        pooled = x.new_zeros(len(x), HIDDEN)
        pooled = pooled.scatter_add(0, subject[:, None].expand_as(for_subject), for_subject)
        pooled = pooled.scatter_add(0, object_[:, None].expand_as(for_object), for_object)
        ones = x.new_ones(len(subject))
        count = x.new_zeros(len(x)).scatter_add(0, subject, ones).scatter_add(0, object_, ones)
        pooled = pooled / count.clamp(min=1)[:, None]
        x = F.relu(F.linear(F.relu(F.linear(pooled, layer.w3, layer.b3)), layer.w4, layer.b4))
    return x


def textbook(edges: Edges, x: Tensor, relations: Tensor, *weights: Tensor) -> Tensor:
    """The same by hmeg.reference."""
    edge_attr, types = relations, edges.type
    for layer in layers_of(weights):
        x, edge_attr = reference.triple_message(x, edge_attr, edges.index, layer, edge_type=types)
        types = None
    return x


def operators(edges: Edges, x: Tensor, relations: Tensor, *weights: Tensor, backend: str) -> Tensor:
    """The same by hmeg.ops, as hmeg.model does it."""
    edge_attr, types, layers = relations, edges.type, layers_of(weights)
    for i, layer in enumerate(layers):
        x, edge_attr = ops.triple_message(
            x, edge_attr, edges.index, layer, edge_type=types, structure=edges.structure,
            return_edges=i + 1 < len(layers), backend=backend,
        )  # fmt: skip
        types = None
    return x


def attention(batch: Tensor, graphs: int, x: Tensor, weight: Tensor) -> Tensor:
    """The read-out, with the context of each expression copied to its symbols."""

    def summed(rows: Tensor) -> Tensor:
        return rows.new_zeros(graphs, rows.shape[1]).scatter_add(0, batch[:, None].expand_as(rows), rows)

    count = x.new_zeros(graphs).scatter_add(0, batch, x.new_ones(len(batch)))
    context = torch.tanh(summed(x) / count.clamp(min=1)[:, None] @ weight)
    return summed(torch.sigmoid((x * context[batch]).sum(dim=1, keepdim=True)) * x)


def calls(
    baseline: Callable[..., Tensor], function: Callable[..., Tensor], inputs: list[Tensor], direction: str
) -> tuple[Callable[[], list[Tensor]], Callable[[], list[Tensor]]]:
    """What is timed, of the baseline and of a subject."""
    if direction == "forward":
        return lambda: [baseline(*inputs)], lambda: [function(*inputs)]
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]

    def step(of: Callable[..., Tensor]) -> list[Tensor]:
        output = of(*leaves)
        grad = torch.linspace(-1, 1, output.numel(), device=DEVICE).view_as(output)
        return [output.detach(), *torch.autograd.grad(output, leaves, grad)]

    return partial(step, baseline), partial(step, function)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("direction", ["forward", "train"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_triple_message(benchmark: Any, workload: str, direction: str, subject: str) -> None:
    edges, inputs = Edges(WORKLOADS[workload]), inputs_of(WORKLOADS[workload])
    eager = partial(published, edges)
    function = implementation(
        subject, "triple_message", eager=eager, reference=partial(textbook, edges), op=partial(operators, edges)
    )
    baseline, timed = calls(eager, function, inputs, direction)
    exact = calls(eager, function, [tensor.double() for tensor in inputs], direction)
    case = Case(f"triple_message/{workload}/{direction}", baseline, tolerance=1e-9, agreement=exact)
    measure(benchmark, case, subject, timed)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("direction", ["forward", "train"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_attention_readout(benchmark: Any, workload: str, direction: str, subject: str) -> None:
    batch, graphs = WORKLOADS[workload].batch.to(DEVICE), WORKLOADS[workload].num_graphs
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(len(batch), CHANNELS, generator=generator).to(DEVICE)
    weight = (torch.randn(CHANNELS, CHANNELS, generator=generator) / CHANNELS**0.5).to(DEVICE)
    eager = partial(attention, batch, graphs)
    function = implementation(
        subject,
        "attention_readout",
        eager=eager,
        reference=partial(reference.attention_readout, batch=batch, num_graphs=graphs),
        op=partial(ops.attention_readout, batch=batch, num_graphs=graphs),
    )
    baseline, timed = calls(eager, function, [x, weight], direction)
    measure(benchmark, Case(f"attention_readout/{workload}/{direction}", baseline, tolerance=1e-4), subject, timed)
