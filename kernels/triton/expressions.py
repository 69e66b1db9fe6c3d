"""Which symbols belong to an expression: neighbours, for ``batch`` is sorted; the device finds where they begin."""

from __future__ import annotations

import triton
import triton.language as tl

# Places looked at at once: up to 128 symbols take one round, up to 16,000 two.
_PROBES = tl.constexpr(128)


@triton.jit
def first_symbol(batch, symbols, graph):
    """The number of symbols of expressions before ``graph``, from non-decreasing batch (symbols,). int32."""
    probes = tl.arange(0, _PROBES)
    low = graph * 0
    high = low + symbols
    while low < high:
        step = tl.cdiv(high - low, _PROBES)
        places = low + step * (probes + 1) - 1
        owners = tl.load(batch + places, mask=places < high, other=graph)
        before = tl.sum((owners < graph).to(tl.int32), axis=0)
        # The next place looked at, if there was one, is not before ``graph`` any more.
        low = low + before * step
        high = tl.minimum(high, low + step - 1)
    return low
