"""Runs an AOTInductor package on torch tensors."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from ..metadata import ExportMetadata
from ..runtime import checked_inputs
from .build import release
from .package import Package, read_package
from .processor import Processor

AGAIN = "`hmeg export aoti` compiles one for this machine"


class AotiRuntime:
    """A decoder in an AOTInductor package: a :class:`hmeg.export.runtime.Runtime`.

    path    of a ``.pt2`` file of `hmeg export aoti`. Loading it runs its code: load those of people you trust
    device  that it was compiled for

    ``FileNotFoundError``, or ``ValueError`` naming the file: see :func:`hmeg.export.aoti.package.read_package`; also
    for a package of another version of torch, for another processor, device or GPU. Its code has not run then.
    """

    def __init__(self, path: str | os.PathLike[str], device: torch.device) -> None:
        self._name = os.fspath(path)
        package = read_package(path)
        _check_machine(self._name, package, device)
        self._metadata, self._largest_batch = package.metadata, package.largest_batch
        self._device = device
        if device.type == "cuda" and device.index is None:
            self._device = torch.device("cuda", torch.cuda.current_device())
        index = -1 if self._device.index is None else self._device.index
        self._model = torch._inductor.aoti_load_package(self._name, device_index=index)

    @property
    def metadata(self) -> ExportMetadata:
        return self._metadata

    @property
    def device(self) -> torch.device:
        return self._device

    def decode(self, layout: Tensor, noise: Tensor, glyphs: Tensor | None = None) -> dict[int, Tensor]:
        """See :class:`hmeg.export.runtime.Runtime`. More images than the code serves are computed part by part."""
        inputs = checked_inputs(self._metadata, self._device, layout, noise, glyphs)
        computed = [
            self._model(*(tensor[start : start + self._largest_batch] for tensor in inputs.values()))
            for start in range(0, len(layout), self._largest_batch)
        ]
        images = computed[0] if len(computed) == 1 else map(torch.cat, zip(*computed, strict=True))
        return dict(zip(self._metadata.sizes, images, strict=True))


def load(path: str | os.PathLike[str], device: torch.device) -> AotiRuntime:
    """For :func:`hmeg.export.runtime.load_runtime`."""
    return AotiRuntime(path, device)


def _check_machine(name: str, package: Package, device: torch.device) -> None:
    if package.device != device.type:
        raise ValueError(f"{name}: compiled for {package.device}, not for {device}; give that device, or {AGAIN}")
    here = release(torch.__version__)
    if package.torch != here:
        raise ValueError(f"{name}: compiled with torch {package.torch}, and here is {here}; {AGAIN}")
    lacking = Processor.here().missing(package.processor)
    if lacking:
        raise ValueError(f"{name}: compiled for a processor with what this one lacks: {lacking}; {AGAIN}")
    if device.type == "cuda":
        gpu = "{}.{}".format(*torch.cuda.get_device_capability(device))
        if package.gpu != gpu:
            raise ValueError(f"{name}: compiled for compute capability {package.gpu}, and here is {gpu}; {AGAIN}")
