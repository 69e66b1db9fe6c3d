"""Runs an engine on torch tensors, without copies, on torch's stream."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import Unavailable
from ..metadata import ExportMetadata
from ..runtime import DTYPES, checked_inputs, image_name
from .library import indexed_gpu, last_words, new_logger, require_tensorrt, sides
from .profiles import parts
from .sidecar import EngineTensor, Gpu, check_tensors, checked_engine

if TYPE_CHECKING:
    import tensorrt as trt

ALIGNMENT = 256  # bytes, of every address that TensorRT is given


class TensorRTRuntime:
    """A decoder in a TensorRT engine: a :class:`hmeg.export.runtime.Runtime`.

    path    of an ``.engine`` file with its sidecar; see :mod:`hmeg.export.trt.sidecar` for what is refused
    device  the GPU it was built for

    Work is queued on torch's current stream, and images are ready when that stream is. One thread at a time: there is
    one execution context for each profile. ``Unavailable`` where TensorRT or a GPU is missing.
    """

    def __init__(self, path: str | os.PathLike[str], device: torch.device) -> None:
        require_tensorrt()
        import tensorrt as trt

        self._name = os.fspath(path)
        if device.type != "cuda":
            raise ValueError(f"{self._name}: an engine runs on an NVIDIA GPU, not on {device}")
        self._device = indexed_gpu(device)
        with torch.cuda.device(self._device):
            self._sidecar, content = checked_engine(path, trt.__version__, Gpu.of(self._device))
            if self.metadata.part != "decoder":
                raise ValueError(f"{self._name}: holds the part {self.metadata.part!r}; only decoders can be run here")
            logger, self._said = new_logger()
            self._runtime = trt.Runtime(logger)
            engine = self._runtime.deserialize_cuda_engine(content)
            if engine is None:
                raise ValueError(f"{self._name}: TensorRT cannot read this engine: {last_words(self._said)}")
            self._engine = engine
            check_tensors(self._name, self.metadata, _tensors(engine))
            stream = torch.cuda.current_stream()
            self._contexts = [self._context(i, stream) for i in range(len(self._sidecar.profiles))]
            stream.synchronize()  # contexts are used on other streams later on

    @property
    def metadata(self) -> ExportMetadata:
        return self._sidecar.metadata

    @property
    def device(self) -> torch.device:
        return self._device

    def _context(self, profile: int, stream: torch.cuda.Stream) -> trt.IExecutionContext:
        context = self._engine.create_execution_context()
        if context is None or not context.set_optimization_profile_async(profile, stream.cuda_stream):
            raise Unavailable(f"{self._name}: no context for profile {profile}: {last_words(self._said)}")
        return context

    def decode(self, layout: Tensor, noise: Tensor, glyphs: Tensor | None = None) -> dict[int, Tensor]:
        """See :class:`hmeg.export.runtime.Runtime`. More images than a profile takes are computed part by part."""
        inputs = checked_inputs(self.metadata, self._device, layout, noise, glyphs)
        batch = len(inputs["layout"])
        with torch.cuda.device(self._device):
            computed = [
                self._run(profile, {name: _aligned(tensor[rows]) for name, tensor in inputs.items()})
                for profile, rows in parts(self._sidecar.profiles, batch)
            ]
        if len(computed) == 1:
            return computed[0]
        return {size: torch.cat([images[size] for images in computed]) for size in computed[0]}

    def _run(self, profile: int, inputs: dict[str, Tensor]) -> dict[int, Tensor]:
        context = self._contexts[profile]
        config = self.metadata.config
        batch = len(inputs["layout"])
        images = {
            size: torch.empty(
                batch, config.image.channels, size, size, dtype=DTYPES[self.metadata.precision], device=self._device
            )
            for size in config.resolutions
        }
        outputs = {image_name(size): image for size, image in images.items()}
        ready = all(context.set_input_shape(name, tuple(tensor.shape)) for name, tensor in inputs.items())
        ready = ready and all(
            context.set_tensor_address(name, tensor.data_ptr()) for name, tensor in (inputs | outputs).items()
        )
        if not ready or not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise Unavailable(f"{self._name}: TensorRT could not compute {batch} images: {last_words(self._said)}")
        return images


def load(path: str | os.PathLike[str], device: torch.device) -> TensorRTRuntime:
    """For :func:`hmeg.export.runtime.load_runtime`."""
    return TensorRTRuntime(path, device)


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor itself, or, where its address suits TensorRT not, a copy: a part of a batch of small images."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _tensors(engine: trt.ICudaEngine) -> list[EngineTensor]:
    import tensorrt as trt

    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    return [
        EngineTensor(
            name,
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            engine.get_tensor_dtype(name).name,
            sides(engine.get_tensor_shape(name)),
        )
        for name in names
    ]
