"""Exported decoders by ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import Unavailable
from .metadata import ExportMetadata
from .runtime import DTYPES, checked_inputs, image_name
from .seal import is_sealed

if TYPE_CHECKING:
    import onnxruntime

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# ONNX's numbers of element types (TensorProto.DataType); numpy, the other way to name them, has no bfloat16.
_ELEMENT_TYPES = {torch.float32: 1, torch.float16: 10, torch.bfloat16: 16}


class OnnxRuntime:
    """A decoder of ``hmeg export onnx``: a :class:`hmeg.export.runtime.Runtime`.

    path     a file of ``--part decoder``
    device   "cpu", or "cuda" with the package onnxruntime-gpu
    threads  for one image on the CPU; None: as many as torch uses

    Tensors are read and written where they are, without copies, if they are of the file's precision and contiguous.
    ``ValueError``, beginning with the path, for a file that is truncated, corrupt, foreign, changed since it was
    exported or no decoder, and for one whose precision this device does not compute in; ``Unavailable`` where
    onnxruntime, or its part for the device, is missing.
    """

    def __init__(
        self, path: str | os.PathLike[str], device: str | torch.device = "cpu", threads: int | None = None
    ) -> None:
        self.device = torch.device(device)
        self._session, self.metadata = open_session(path, self.device, threads)
        if self.metadata.part != "decoder":
            raise ValueError(
                f"{os.fspath(path)}: holds the {self.metadata.part} model, not the decoder alone; "
                "make one by `hmeg export onnx --part decoder`"
            )

    def decode(self, layout: Tensor, noise: Tensor, glyphs: Tensor | None = None) -> dict[int, Tensor]:
        inputs = checked_inputs(self.metadata, self.device, layout, noise, glyphs)
        config, dtype = self.metadata.config, DTYPES[self.metadata.precision]
        images = {
            size: torch.empty((len(layout), config.image.channels, size, size), dtype=dtype, device=self.device)
            for size in self.metadata.sizes
        }
        binding = self._session.io_binding()
        place, element = (self.device.type, self.device.index or 0), _ELEMENT_TYPES[dtype]
        for name, value in inputs.items():
            binding.bind_input(name, *place, element, list(value.shape), value.data_ptr())
        for size, image in images.items():
            binding.bind_output(image_name(size), *place, element, list(image.shape), image.data_ptr())
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()  # onnxruntime computes on a stream of its own
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return images


def load(path: str | os.PathLike[str], device: torch.device) -> OnnxRuntime:
    """As :func:`hmeg.export.runtime.load_runtime` calls it."""
    return OnnxRuntime(path, device)


def open_session(
    path: str | os.PathLike[str], device: torch.device, threads: int | None = None
) -> tuple[onnxruntime.InferenceSession, ExportMetadata]:
    """A file of ``hmeg export onnx``, of either part, ready to run; errors as :class:`OnnxRuntime` has them."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors
    except ImportError as error:
        raise Unavailable(f"onnxruntime cannot be imported ({error}): pip install 'hmeg[onnx]'") from None
    name, provider = os.fspath(path), _PROVIDERS[device.type]
    if provider not in onnxruntime.get_available_providers():
        raise Unavailable(
            f"onnxruntime {onnxruntime.__version__} here has no {provider}; for GPUs: pip install onnxruntime-gpu, "
            "in place of onnxruntime; or use --device cpu"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"{name}: no such file")
    intact = is_sealed(Path(path).read_bytes())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
    options.log_severity_level = 3  # errors: they come as exceptions
    provider_options = {"device_id": str(device.index or 0)} if device.type == "cuda" else {}
    try:
        session = onnxruntime.InferenceSession(name, options, providers=[(provider, provider_options)])
    except errors.NotImplemented as error:
        raise ValueError(f"{name}: onnxruntime's {provider} cannot compute it ({error})") from None
    except (errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail, errors.InvalidArgument) as error:
        raise ValueError(f"{name}: not a readable ONNX file, truncated or corrupt ({error})") from None
    if provider not in session.get_providers():  # it falls back to the CPU where libraries of CUDA do not load
        raise Unavailable(f"onnxruntime cannot start its {provider}: are CUDA and cuDNN there? Or use --device cpu")
    metadata = ExportMetadata.from_text(session.get_modelmeta().custom_metadata_map, name)
    if not intact:
        raise ValueError(f"{name}: damaged, or changed since `hmeg export onnx` wrote it; export it again")
    return session, metadata
