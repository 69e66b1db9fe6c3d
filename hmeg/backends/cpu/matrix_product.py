"""Products of matrices by the processor's matrix unit (csrc/cpu/amx), or by torch's BLAS."""

from __future__ import annotations

import torch
from torch import Tensor

from ..native.device import Device


def float32_parts() -> int:
    """Parts of bfloat16 that a float32 is multiplied in by a matrix unit: 3, all 24 bits of it, unless the precision
    of float32 products (``torch.set_float32_matmul_precision``, or oneDNN's own) allows 2 (17 bits) or 1 (8 bits)."""
    # Not torch.get_float32_matmul_precision, which raises where oneDNN's was set alone.
    precision = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    return {"bf16": 1, "tf32": 2}.get(precision, 3)


class Products:
    """Products of one call of an operator, on the CPU.

    by_matrix_unit  whether float32 tensors are multiplied by it; else by torch
    """

    def __init__(self, device: Device, by_matrix_unit: bool) -> None:
        self._device = device
        self.by_matrix_unit = by_matrix_unit
        self.parts = float32_parts() if by_matrix_unit else 3

    def mm(
        self, a: Tensor, b: Tensor, bias: Tensor | None = None, onto: Tensor | None = None, out: Tensor | None = None
    ) -> Tensor:
        """a (M, K) times b (K, N), either of them transposed or not.

        bias  (N,): added to every row
        onto  (M, N) with rows of neighbours: added to in place, and returned
        out   (M, N) with rows of neighbours: written to, and returned
        """
        if not self.by_matrix_unit:
            if onto is not None:
                return onto.addmm_(a, b)
            return torch.mm(a, b, out=out) if bias is None else torch.addmm(bias, a, b, out=out)
        a, b = (t if 1 in t.stride() else t.contiguous() for t in (a, b))
        result = onto if out is None else out
        if result is None:
            result = a.new_empty((len(a), b.shape[1]))
        if bias is not None:
            result.copy_(bias)
        (a_row, a_column), (b_row, b_column) = a.stride(), b.stride()
        self._device.call(
            "matrix_product", a=a, a_row=a_row, a_column=a_column, b=b, b_row=b_row, b_column=b_column, out=result,
            out_row=result.stride(0), rows=len(a), depth=a.shape[1], columns=b.shape[1],
            add=int(onto is not None or bias is not None), parts=self.parts,
        )  # fmt: skip
        return result
