"""Compiles kernels/cuda/*.cu with g++ against the emulator and loads the result."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmeg.backends.native.entry import REAL, EntryPoint

ROOT = Path(__file__).parents[2]
EMULATOR = ROOT / "tests" / "emulation"
MOST_BYTES = 512  # csrc/entry.h: kMostParameterBytes
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
    own = [EMULATOR / "emulator.cpp", ROOT / "csrc" / "entry.cpp"]
    digest = hashlib.sha256(repr([cxx, FLAGS]).encode())
    for file in [*sources, *own, *sorted(headers)]:
        digest.update(file.name.encode() + file.read_bytes())
    folder = ROOT / "build" / "emulation"
    library = folder / f"{name}-{digest.hexdigest()[:16]}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:  # parallel test processes build it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            unfinished = library.with_suffix(".tmp")
            includes = [f"-I{ROOT / 'kernels'}", f"-I{ROOT / 'csrc'}", f"-I{EMULATOR}"]
            inputs = [*map(str, own), *map(str, sources)]
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
    """A loaded emulator library: its entry points, and the order it runs blocks, warps and lanes in.

    entries  as hmeg._C has them for a GPU, by name
    """

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.hmeg_emulation_configure.restype = None
        self._library.hmeg_emulation_configure.argtypes = [ctypes.c_int64, ctypes.c_int64]
        for name in ("entry", "field", "run"):
            getattr(self._library, f"hmeg_emulation_{name}").restype = ctypes.c_char_p
        self._library.hmeg_emulation_workspace.restype = ctypes.c_int64
        self.entries: dict[str, EntryPoint] = {}
        while (name := self._library.hmeg_emulation_entry(ctypes.c_int64(len(self.entries)))) is not None:
            entry = self._entry(len(self.entries), name.decode())
            self.entries[entry.name] = entry

    def set_order(self, order: str, seed: int = 0) -> None:
        """``ascending``, ``descending`` or ``random``."""
        self._library.hmeg_emulation_configure(ORDERS[order], seed)

    def _entry(self, number: int, name: str) -> EntryPoint:
        which = ctypes.c_int64(number)
        fields = self._fields(which, bytes(MOST_BYTES))

        def packed(values: Sequence[float]) -> bytes:
            codes = ("d" if kind == REAL else "q" for _, kind, *_ in fields)
            return struct.pack("=" + "".join(codes), *values)

        def run(
            values: Sequence[float], dtype: int, _threads: int, _variant: int, _stream: int, memory: int
        ) -> int | None:
            given, code = packed(values), ctypes.c_int64(dtype)
            size = 0 if memory else self._library.hmeg_emulation_workspace(which, given, code)
            if size:
                return size
            message = self._library.hmeg_emulation_run(which, given, code, ctypes.c_void_p(memory))
            if message is not None:
                raise RuntimeError(message.decode())
            return None

        def bounds(values: Sequence[float], *_how: int) -> list[tuple[int, int]]:
            return [(field[-2], field[-1]) for field in self._fields(which, packed(values))]

        about = [(name, kind, *flags) for name, kind, *flags, _count, _limit in fields]
        return EntryPoint(name, about, run, bounds)

    def _fields(self, which: ctypes.c_int64, parameters: bytes) -> list[tuple[Any, ...]]:
        fields: list[tuple[Any, ...]] = []
        about = (ctypes.c_int64 * 6)()
        call = self._library.hmeg_emulation_field
        while (name := call(which, ctypes.c_int64(len(fields)), parameters, about)) is not None:
            kind, written, optional, strided, count, limit = about
            fields.append((name.decode(), kind, bool(written), bool(optional), bool(strided), count, limit))
        return fields
