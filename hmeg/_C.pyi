"""The native extension; see csrc/bindings.cpp. Arrays cross as addresses; hmeg/backends/native/entry.py takes them."""

from typing import Any

# Entry points by device and name: fields, run, bounds.
entries: dict[str, dict[str, tuple[Any, ...]]]

def build_info() -> dict[str, Any]: ...
def triple_message_by_matrix_unit(*, dtype: int, edges: int, variant: int) -> bool: ...
def triple_message_gradient_row(*, hidden: int) -> int: ...
