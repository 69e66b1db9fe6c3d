"""What the backends of triple_message share: checks of indices, and the shape of the signs they keep."""

from __future__ import annotations

import torch
from torch import Tensor


def check_range(operator: str, name: str, indices: Tensor, limit_name: str, limit: int) -> None:
    """On the CPU: IndexError unless all of ``indices`` lie in [0, limit). Looks at values: for running code only."""
    if indices.device.type != "cpu" or not indices.numel():
        return
    low, high = (int(bound) for bound in torch.aminmax(indices))
    if low < 0 or high >= limit:
        raise IndexError(f"{operator}: {name} must lie in [0, {limit_name} = {limit}), got {low if low < 0 else high}")


def check_edges(x: Tensor, edge_attr: Tensor, edge_index: Tensor, edge_type: Tensor | None) -> None:
    """On the CPU: IndexError for an edge whose node or whose type is not there."""
    check_range("triple_message", "edge_index", edge_index, "V", len(x))
    if edge_type is not None:
        check_range("triple_message", "edge_type", edge_type, "R", len(edge_attr))


def sign_words(hidden: int, out: int, return_edges: bool) -> int:
    """int32 words that an edge has in ``signs`` (described in hmeg/ops/triple_message.py)."""
    return 2 * ((hidden + 31) // 32) + ((out + 31) // 32 if return_edges else 0)
