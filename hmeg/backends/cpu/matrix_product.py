"""Products of matrices by the processor's matrix unit (csrc/cpu/amx), or by torch's BLAS."""

from __future__ import annotations

import torch
from torch import Tensor

from .launcher import Launcher


def float32_parts() -> int:
    """Parts of bfloat16 that a float32 is multiplied in by a matrix unit: 3, all 24 bits of it, unless the precision
    of float32 products (``torch.set_float32_matmul_precision``, or oneDNN's own) allows 2 (17 bits) or 1 (8 bits)."""
    # Not torch.get_float32_matmul_precision, which raises where oneDNN's was set alone.
    precision = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    return {"bf16": 1, "tf32": 2}.get(precision, 3)


class Products(Launcher):
    """Products of one call of an operator.

    by_matrix_unit  whether float32 tensors are multiplied by it; else by torch
    """

    def __init__(self, variant: int, by_matrix_unit: bool) -> None:
        super().__init__(variant)
        self._parts = float32_parts() if by_matrix_unit else 0

    def mm(self, a: Tensor, b: Tensor, bias: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        """a (M, K) times b (K, N), either of them transposed or not.

        bias  (N,): added to every row
        onto  (M, N), contiguous: added to in place, and returned
        """
        if not self._parts:
            if onto is not None:
                return onto.addmm_(a, b)
            return torch.mm(a, b) if bias is None else torch.addmm(bias, a, b)
        (rows, depth), columns = a.shape, b.shape[1]
        a, b = (t if 1 in t.stride() else t.contiguous() for t in (a, b))
        out = onto
        if out is None:
            out = a.new_empty((rows, columns)) if bias is None else bias.repeat(rows, 1)
        workspace = self._workspace("matrix_product", depth, columns, self._parts, self._variant)
        self._run("matrix_product", a.data_ptr(), *a.stride(), b.data_ptr(), *b.stride(), out.data_ptr(), rows, depth,
                  columns, int(onto is not None or bias is not None), workspace.data_ptr(), self._parts)  # fmt: skip
        return out
