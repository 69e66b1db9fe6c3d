"""Where entry points run: the CPU, a GPU, or in the tests the emulator."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from .extension import entry_points, missing, native_extension

BEST_VARIANT = -1


class Device(Protocol):
    """Where entry points run: the CPU, a GPU, or in the tests the emulator."""

    type: str  # of the tensors
    gpu: bool  # whether entry points are those of kernels/cuda

    def unavailable(self) -> str | None: ...
    def details(self) -> str: ...
    def call(self, entry: str, /, **values: Any) -> None:
        """Runs an entry point on tensors and numbers by the names of its fields; see EntryPoint."""
        ...


class Cpu:
    """The C++ kernels in csrc/cpu: as many threads as torch.get_num_threads().

    variant  position in build_info()["cpu_variants"] of the instruction set to use; the best one by default
    """

    type = "cpu"
    gpu = False

    def __init__(self, variant: int = BEST_VARIANT) -> None:
        self.extension, self._reason = native_extension()
        self.variant = variant
        self._entries = entry_points("cpu")

    def unavailable(self) -> str | None:
        return self._reason or None

    def details(self) -> str:
        assert self.extension is not None
        return f"C++, {self.extension.build_info()['cpu_variant']}"

    def call(self, entry: str, /, **values: Any) -> None:
        run = self._entries.get(entry) or missing(entry)
        run(values, torch.get_num_threads(), self.variant)


class Gpu:
    """The CUDA kernels in hmeg._C, on torch's current stream."""

    type = "cuda"
    gpu = True

    def __init__(self) -> None:
        self._extension, self._reason = native_extension()
        self._entries = entry_points("cuda")

    def unavailable(self) -> str | None:
        if self._extension is None:
            return self._reason
        if self._extension.build_info()["cuda"] is None:
            return "hmeg._C was built without CUDA kernels (no nvcc, or HMEG_CUDA=off)"
        if not torch.cuda.is_available():
            return "torch sees no CUDA device"
        return None

    def details(self) -> str:
        assert self._extension is not None
        info = self._extension.build_info()
        return f"CUDA {info['cuda']} for {' '.join(info['cuda_archs'])}, {torch.cuda.get_device_name()}"

    def call(self, entry: str, /, **values: Any) -> None:
        run = self._entries.get(entry) or missing(entry)
        device = run.device(values)
        stream = torch.cuda.current_stream(device).cuda_stream
        if device.index == torch.cuda.current_device():
            run(values, stream=stream)
        else:
            with torch.cuda.device(device):
                run(values, stream=stream)
