"""Peak memory of a call beyond what its results keep."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

# Pages come in 4 KiB and a thread's first use of its stack or of the heap takes some: what the process as a whole
# grows by is trusted from here on.
RESIDENT_NOISE = 256 * 1024


def extra_bytes(function: Callable[[], Sequence[Tensor]], device: str) -> int:
    """Largest memory held during a call of ``function``, beyond its results.

    On a GPU what torch's allocator handed out. On the CPU likewise, counted from its allocation events; that does not
    see what native code takes for itself, so the growth of the whole process is looked at too and counts where it
    is the larger.
    """
    if device == "cuda":
        return max(0, _cuda(function))
    by_torch, by_process = _allocated(function), _resident(function)
    return max(0, by_process if by_process > by_torch + RESIDENT_NOISE else by_torch)


def _cuda(function: Callable[[], Sequence[Tensor]]) -> int:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    results = function()
    return torch.cuda.max_memory_allocated() - before - _kept(results)


def _allocated(function: Callable[[], Sequence[Tensor]]) -> int:
    """By the events of torch's CPU allocator."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with _quiet(), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        results = function()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak - _kept(results)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drops what is written to standard error: torch's profiler tells of every start and stop there."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _resident(function: Callable[[], Sequence[Tensor]]) -> int:
    """By the pages that the process comes to hold (Linux with glibc); 0 where the system does not tell."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        return 0
    gc.collect()
    libc.malloc_trim(0)  # freed memory goes back, so that taking it again shows
    try:
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")  # the peak starts anew
    except OSError:
        return 0
    before = _status("VmRSS")
    results = function()
    return _status("VmHWM") - before - _kept(results)


def _status(field: str) -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _kept(results: Sequence[Tensor]) -> int:
    return sum(result.numel() * result.element_size() for result in results)
