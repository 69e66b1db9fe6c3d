"""refine_layout beside its published formulation: stored masks times features, added up symbol by symbol."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from hmeg import ops, reference
from hmeg.ops import MaskWeights

from .bench_refine_masks import SIZE, published, weights
from .measure import Case, measure
from .subjects import DEVICE, SUBJECTS, implementation
from .workloads import crohme

CHANNELS = 128
WORKLOADS = {f"crohme{graphs}": crohme(graphs) for graphs in (32, 1)}


def composed(boxes: Tensor, bundle: MaskWeights, features: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Each symbol's layout of its own, then their sum by expression."""
    masks = published(boxes, bundle, training=False)
    layouts = masks * features[:, :, None, None]
    result = torch.zeros(num_graphs, features.shape[1], *SIZE, device=boxes.device)
    return result.index_add_(0, batch, layouts)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_refine_layout(benchmark: Any, workload: str, subject: str) -> None:
    work = WORKLOADS[workload]
    boxes, batch, graphs = work.boxes.to(DEVICE), work.batch.to(DEVICE), work.num_graphs
    features = torch.randn(len(boxes), CHANNELS, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    inputs = (boxes, weights(), features, batch)
    eager = partial(composed, num_graphs=graphs)
    function = implementation(
        subject,
        "refine_layout",
        eager=eager,
        reference=partial(reference.refine_layout, size=SIZE, num_graphs=graphs),
        op=partial(ops.refine_layout, size=SIZE, num_graphs=graphs),
    )
    case = Case(f"refine_layout/{workload}/forward", lambda: [eager(*inputs)], tolerance=1e-5)
    measure(benchmark, case, subject, lambda: [function(*inputs)])
