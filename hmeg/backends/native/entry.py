"""The one place where tensors become arguments of native code.

An entry point takes a structure of parameters, which lists its fields (csrc/parameters.h). Here its values are given by
name. Every tensor is checked (device, type, contiguity; with HMEG_DEBUG=1 also sizes and indices), its address is
taken, and the workspace that the entry point asks for is allocated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from ..base import accumulator

# csrc/dtype.h: DType
DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}

# csrc/entry.h: Kind. Numbers, arrays of the call's own type and of the type sums are made in, and of fixed types.
INTEGER, REAL, SCALARS, SUMS = range(4)
FIXED_TYPES = {4: torch.int64, 5: torch.int32, 6: torch.float32}

# Whether sizes of arrays and values of indices are checked at every call; on a GPU that waits for the device.
DEBUG = os.environ.get("HMEG_DEBUG", "0") not in ("", "0")


class Field(NamedTuple):
    """A field of an entry point's structure, as the extension describes it."""

    name: str
    kind: int
    written: bool  # by the entry point; otherwise only read
    optional: bool  # may be None
    strided: bool  # may have any strides, which are among the numbers


class EntryPoint:
    """A function of the extension, prepared once: calls look up nothing by name but their values.

    run, bounds  take a list of values in the order of the fields, a code of DTYPE_CODES, threads, variant, stream, and
                 the address of the workspace. ``run`` without a workspace does nothing where it needs one, and gives
                 its bytes; on the CPU little is at hand in the extension. ``bounds`` gives for every field how many
                 items are reached and the limit of indices (-1: none)
    """

    def __init__(
        self,
        name: str,
        fields: list[tuple[Any, ...]],
        run: Callable[..., int | None],
        bounds: Callable[..., list[tuple[int, int]]],
    ) -> None:
        self.name = name
        self.fields = [Field(*field) for field in fields]
        self._run, self._bounds = run, bounds
        self._ordered = itemgetter(*(field.name for field in self.fields))
        arrays = [i for i, field in enumerate(self.fields) if field.kind not in (INTEGER, REAL)]
        certain = [i for i in arrays if not self.fields[i].optional]
        self._first = certain[0]  # its device is everybody's
        self._scalars = next((i for i in certain if self.fields[i].kind == SCALARS), None)  # its type is the call's
        # For every type of call: position, type and description of each array.
        self._arrays = {
            dtype: tuple((i, self._type(self.fields[i], dtype), self.fields[i]) for i in arrays)
            for dtype in DTYPE_CODES
        }

    @staticmethod
    def _type(field: Field, scalars: torch.dtype) -> torch.dtype:
        if field.kind == SCALARS:
            return scalars
        return accumulator(scalars) if field.kind == SUMS else FIXED_TYPES[field.kind]

    def device(self, values: Mapping[str, Any]) -> torch.device:
        """The device of a call with these values."""
        tensor = values.get(self.fields[self._first].name)
        if not isinstance(tensor, Tensor):
            self._refuse(values)
        return tensor.device

    def __call__(self, values: Mapping[str, Any], threads: int = 1, variant: int = -1, stream: int = 0) -> None:
        """Runs it on tensors and numbers by the names of the fields.

        A tensor that is only read may have any strides: it is copied where the entry point wants it contiguous.
        threads  on the CPU
        variant  of the CPU's instruction sets: a position in build_info()["cpu_variants"], -1 for the best
        stream   on a GPU, whose address it is

        Raises TypeError for a name that is missing or unknown and for a value of another type, ValueError for a tensor
        on another device than the others, or that is not contiguous and written to.
        """
        try:
            arguments = list(self._ordered(values))
        except KeyError:
            self._refuse(values)
        if len(arguments) != len(values):
            self._refuse(values)
        copies = []
        try:
            place = arguments[self._first].get_device()
            scalars = torch.float32 if self._scalars is None else arguments[self._scalars].dtype
            for position, dtype, field in self._arrays[scalars]:
                tensor = arguments[position]
                if tensor is None and field.optional:
                    arguments[position] = 0
                    continue
                if tensor.dtype is not dtype or tensor.get_device() != place:
                    self._refuse(values)
                if not tensor.is_contiguous() and not field.strided:
                    if field.written:
                        self._refuse(values)
                    tensor = tensor.contiguous()
                    copies.append(tensor)
                address = tensor.data_ptr()
                if address == 0 and tensor.numel():  # a tensor without memory
                    self._refuse(values)
                arguments[position] = address
        except (AttributeError, KeyError):  # what is no tensor, or of a type that no kernel takes
            self._refuse(values)
        code = DTYPE_CODES[scalars]
        if DEBUG:
            self._check_bounds(values, self._bounds(arguments, code, threads, variant, stream, 0))
        size = self._run(arguments, code, threads, variant, stream, 0)
        if size is not None:
            memory = self.allocate(size, self.device(values))
            self._run(arguments, code, threads, variant, stream, memory.data_ptr())

    def allocate(self, size: int, device: torch.device) -> Tensor:
        """Workspace of so many bytes."""
        return torch.empty(size, dtype=torch.uint8, device=device)

    def _refuse(self, values: Mapping[str, Any]) -> NoReturn:
        """Says what is wrong with these values."""
        names = [field.name for field in self.fields]
        missing, unknown = sorted(set(names) - set(values)), sorted(set(values) - set(names))
        if missing:
            raise TypeError(f"{self.name}: no value for {', '.join(missing)}")
        if unknown:
            raise TypeError(f"{self.name} has no {', '.join(unknown)}; it has {', '.join(names)}")
        scalars = torch.float32 if self._scalars is None else getattr(values[names[self._scalars]], "dtype", None)
        first = values[names[self._first]]
        for field in self.fields:
            value = values[field.name]
            if field.kind in (INTEGER, REAL) or (value is None and field.optional):
                continue
            if not isinstance(value, Tensor):
                raise TypeError(f"{self.name}: {field.name} must be a tensor, got {type(value).__name__}")
            if scalars in DTYPE_CODES and value.dtype != self._type(field, scalars):
                raise TypeError(
                    f"{self.name}: {field.name} must be {self._type(field, scalars)} in a call of {scalars}, "
                    f"got {value.dtype}"
                )
            if value.device != first.device:
                raise ValueError(f"{self.name}: {field.name} must be on {first.device}, got {value.device}")
            if field.written and not field.strided and not value.is_contiguous():
                raise ValueError(f"{self.name}: {field.name} is written to and must be contiguous")
        raise TypeError(f"{self.name} takes {', '.join(map(str, DTYPE_CODES))}, not {scalars}")

    def _check_bounds(self, values: Mapping[str, Any], bounds: list[tuple[int, int]]) -> None:
        """ValueError for an array that is shorter than what is reached, IndexError for an index out of range."""
        for field, (count, limit) in zip(self.fields, bounds, strict=True):
            tensor = values[field.name]
            if not isinstance(tensor, Tensor):
                continue
            size = tensor.numel()
            if field.strided:  # all that is left of its memory
                size = tensor.untyped_storage().nbytes() // tensor.element_size() - int(tensor.storage_offset())
            if size < count:
                raise ValueError(f"{self.name}: {field.name} has {size} items, {count} are reached")
            if limit >= 0 and tensor.numel():
                low, high = (int(bound) for bound in torch.aminmax(tensor))
                if low < 0 or high >= limit:
                    wrong = low if low < 0 else high
                    raise IndexError(f"{self.name}: {field.name} must lie in [0, {limit}), got {wrong}")
