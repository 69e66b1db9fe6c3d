"""What the processor can do: compiled code uses all of it, and stops the process on one that can do less."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Beginnings of the names (in /proc/cpuinfo) of what compilers make use of; the rest is for operating systems.
_INSTRUCTIONS = (
    "sse", "ssse", "avx", "amx", "fma", "f16c", "bmi", "abm", "popcnt", "movbe", "aes", "vaes", "pclmul", "vpclmul",
    "sha", "gfni", "adx", "cldemote", "movdir",
    "asimd", "sve", "bf16", "i8mm", "crc32", "atomics", "fphp",
)  # fmt: skip


@dataclass(frozen=True)
class Processor:
    """Its architecture ("x86_64") and the instruction sets it has, sorted."""

    machine: str
    features: tuple[str, ...]

    @classmethod
    def here(cls, cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
        """Of this machine, as Linux tells it."""
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                return cls(platform.machine(), relevant(value.split()))
        return cls(platform.machine(), ())

    def missing(self, wanted: Processor) -> str:
        """What this one lacks to run code compiled for ``wanted``, in words; empty if it lacks nothing."""
        if self.machine != wanted.machine:
            return f"an architecture {wanted.machine} (this is {self.machine})"
        return ", ".join(sorted(set(wanted.features) - set(self.features)))


def relevant(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are of instruction sets, sorted."""
    return tuple(sorted({name for name in names if name.startswith(_INSTRUCTIONS)}))
