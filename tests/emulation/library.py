"""Compiles kernels/cuda/*.cu with g++ against the emulator and loads the result."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
EMULATOR = ROOT / "tests" / "emulation"
ORDERS = {"ascending": 0, "descending": 1, "random": 2}
# Ubuntu's g++ turns _FORTIFY_SOURCE on, whose longjmp refuses to change stacks.
FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", "-g1", "-fPIC", "-Wall", "-Wextra", "-U_FORTIFY_SOURCE",
         "-D_FORTIFY_SOURCE=0"]  # fmt: skip


def compiler() -> str | None:
    """The C++ compiler ($CXX or g++), or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


def build(sources: Sequence[Path], name: str) -> Path:
    """A shared library of the given .cu files and the emulator, kept in build/emulation until a source changes."""
    cxx = compiler()
    assert cxx is not None
    sources = sorted(sources)
    headers = [*(ROOT / "kernels").glob("*.h"), *(ROOT / "csrc").glob("*.h"), EMULATOR / "emulator.h"]
    digest = hashlib.sha256(repr([cxx, FLAGS]).encode())
    for file in [*sources, EMULATOR / "emulator.cpp", *sorted(headers)]:
        digest.update(file.name.encode() + file.read_bytes())
    folder = ROOT / "build" / "emulation"
    library = folder / f"{name}-{digest.hexdigest()[:16]}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:  # parallel test processes build it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            unfinished = library.with_suffix(".tmp")
            includes = [f"-I{ROOT / 'kernels'}", f"-I{ROOT / 'csrc'}", f"-I{EMULATOR}"]
            inputs = [str(EMULATOR / "emulator.cpp"), *map(str, sources)]
            command = [cxx, *FLAGS, *includes, "-shared", "-x", "c++", *inputs, "-o", str(unfinished)]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                raise RuntimeError(f"{' '.join(command)}\n{result.stderr}")
            if result.stderr:
                raise RuntimeError(f"the kernels compile with warnings:\n{result.stderr}")
            for outdated in folder.glob(f"{name}-*.so"):
                outdated.unlink()
            unfinished.rename(library)
    return library


class Library:
    """A loaded emulator library: its launchers, and the order it runs blocks, warps and lanes in."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.hmeg_emulation_configure.restype = None
        self._library.hmeg_emulation_configure.argtypes = [ctypes.c_int64, ctypes.c_int64]

    def set_order(self, order: str, seed: int = 0) -> None:
        """``ascending``, ``descending`` or ``random``."""
        self._library.hmeg_emulation_configure(ORDERS[order], seed)

    def call(self, symbol: str, *arguments: int | float) -> None:
        """Calls an entry point that returns a message or null; a message becomes a RuntimeError."""
        function = self._library[symbol]
        function.restype = ctypes.c_char_p
        message = function(*(ctypes.c_double(a) if isinstance(a, float) else ctypes.c_int64(a) for a in arguments))
        if message is not None:
            raise RuntimeError(message.decode())
