"""The native extension; see csrc/bindings.cpp. Arrays cross as addresses of contiguous memory."""

from types import ModuleType
from typing import Any

cpu: ModuleType
# Present when the CUDA kernels were compiled in.
cuda: ModuleType

def build_info() -> dict[str, Any]: ...
