"""What the machine can do at best, measured: floors of kernels are stated against these numbers.

    python -m bench.ceilings [--json FILE]

copy      bytes read plus bytes written per second, of a copy far larger than any cache
products  operations per second (two for a multiplication and an addition) of a square matrix product on random numbers
launch    the time of the smallest kernel, host and device (GPU only)
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROUNDS = 20


def median_seconds(function: Callable[[], object], device: str) -> float:
    """Median over ROUNDS runs, after three to warm up; by device events on a GPU."""
    for _ in range(3):
        function()
    seconds = []
    for _ in range(ROUNDS):
        if device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            function()
            end.record()
            end.synchronize()
            seconds.append(begin.elapsed_time(end) / 1e3)
        else:
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def copy_rate(device: str) -> float:
    """Bytes read plus bytes written per second."""
    source = torch.rand((2**30 if device == "cuda" else 2**27) // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / median_seconds(lambda: target.copy_(source), device)


def product_rate(device: str, dtype: torch.dtype, tf32: bool = False) -> float:
    """Operations per second of a product of two square matrices."""
    side = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        return 2 * side**3 / median_seconds(lambda: a @ b, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def ceilings(device: str) -> dict[str, Any]:
    """All of them, with the device they were measured on."""
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "copy_bytes_per_second": copy_rate(device),
        "float32_operations_per_second": product_rate(device, torch.float32),
        "bfloat16_operations_per_second": product_rate(device, torch.bfloat16),
    }
    if device == "cuda":
        result["tf32_operations_per_second"] = product_rate(device, torch.float32, tf32=True)
        one = torch.zeros(1, device=device)
        result["launch_seconds"] = median_seconds(one.zero_, device)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ceilings", description="Measure what this machine can do.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    arguments = parser.parse_args()
    found = ceilings("cuda" if torch.cuda.is_available() else "cpu")
    for name, value in found.items():
        text = f"{value:.4g}" if isinstance(value, float) else value
        print(f"{name:32} {text}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
