"""TensorRT itself: whether it is here, in a version we know, with a GPU; and what it has to say."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import torch

from ..errors import Unavailable

if TYPE_CHECKING:
    import tensorrt as trt

VERSIONS = (10, 11)
INSTALL = "pip install 'hmeg[tensorrt]'"


def require_tensorrt() -> None:
    """``Unavailable`` that says all that is missing and how to get it, unless TensorRT can run here."""
    missing = [problem for problem in (_library_problem(), _gpu_problem()) if problem]
    if missing:
        raise Unavailable("TensorRT cannot run here: " + "; and ".join(missing))


def _library_problem() -> str | None:
    try:
        module = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            return f"the Python package tensorrt is incomplete ({error}); {INSTALL} brings all of it"
        return f"the Python package tensorrt is not installed; {INSTALL} brings it"
    except ImportError as error:
        return f"the Python package tensorrt cannot be loaded ({error}); {INSTALL} brings its libraries along"
    if not hasattr(module, "Builder"):  # a folder of type stubs is importable too
        return f"there is a folder named tensorrt, but not TensorRT's Python package; {INSTALL} brings it"
    if _major(module.__version__) not in VERSIONS:
        return f"tensorrt is {module.__version__}, and hmeg knows 10 and 11; {INSTALL} brings one of them"
    return None


def _gpu_problem() -> str | None:
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} is a build without CUDA; install one with CUDA (https://pytorch.org) on a "
            "machine with an NVIDIA GPU"
        )
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU; `nvidia-smi` tells whether there are a GPU and a driver"
    return None


def _major(version: str) -> int | None:
    first = version.split(".", 1)[0]
    return int(first) if first.isdecimal() else None


def indexed_gpu(device: torch.device) -> torch.device:
    """The GPU with its number: "cuda" is whichever is current, and an engine must not move when that changes."""
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def tensorrt_major() -> int:
    """10 or 11."""
    import tensorrt as trt

    major = _major(trt.__version__)
    assert major in VERSIONS, "require_tensorrt() comes first"
    return major


def new_logger() -> tuple[trt.ILogger, list[str]]:
    """A logger, and the list it puts warnings and errors into: TensorRT's calls return None and say why there."""
    import tensorrt as trt

    said: list[str] = []

    class Collecting(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR, trt.ILogger.WARNING):
                said.append(msg)

    return Collecting(), said


def last_words(said: list[str]) -> str:
    """The last few messages on one line, for an error."""
    return "; ".join(" ".join(message.split()) for message in said[-3:]) or "it does not say why"


def sides(dims: trt.Dims) -> tuple[int, ...]:
    """TensorRT's dimensions as a tuple; -1 is a dynamic one."""
    return tuple(dims[i] for i in range(len(dims)))
