"""The native build: what the extension is made of, that every kernel compiles for GPUs, how it behaves as a guest."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hmeg
from hmeg import backends, ops
from tests.support import boxes as some

ROOT = Path(__file__).parents[2]
CAPABILITIES = ("80", "90")

# Not importorskip: an extension that cannot be imported is a failure, not a reason to look away.
native = importlib.import_module("hmeg._C")


def test_build_info() -> None:
    info = native.build_info()
    assert info["version"] == hmeg.__version__
    assert info["compiler"]
    assert info["cpu_variants"][0] == "portable"
    assert info["cpu_variant"] == info["cpu_variants"][-1]
    if info["cuda"] is None:
        assert info["cuda_archs"] == []
    else:
        assert info["cuda_archs"]


def test_a_matrix_unit_is_used() -> None:
    """Where the processor and the compiler have it: it must not be lost without anybody noticing."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    if not {"amx_tile", "amx_bf16", "avx512_bf16"} <= set(flags):
        pytest.skip("this processor has no AMX")
    kind, _, version = native.build_info()["compiler"].partition(" ")
    if int(version.partition(".")[0]) < {"GNU": 11, "Clang": 12}.get(kind, 99):
        pytest.skip(f"{kind} {version} does not know AMX")
    assert native.build_info()["cpu_variant"] == "amx"


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
def test_extension_needs_neither_torch_nor_cuda_libraries() -> None:
    listed = subprocess.run(["readelf", "-d", native.__file__], check=True, capture_output=True, text=True).stdout
    needed = re.findall(r"NEEDED.*\[(.*?)\]", listed)
    assert needed
    assert not [name for name in needed if re.search("torch|c10|cuda|python", name)]


def test_import_without_torch() -> None:
    script = (
        "import sys, importlib.util as u; sys.modules['torch'] = None\n"
        f"s = u.spec_from_file_location('hmeg._C', {native.__file__!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m); assert m.build_info()['version']\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_bindings_alone_include_pybind11_and_nothing_includes_torch() -> None:
    sources = [p for folder in ("csrc", "kernels") for p in (ROOT / folder).rglob("*.*") if p.suffix != ".pyc"]
    assert len(sources) > 10
    for source in sources:
        includes = re.findall(r'^\s*#include [<"](.*?)[>"]', source.read_text(), re.M)
        assert not [i for i in includes if i.startswith(("torch", "ATen", "c10"))], source
        if source.name != "bindings.cpp":
            assert not [i for i in includes if "pybind11" in i or i == "Python.h"], source


def test_constants_agree_across_languages() -> None:
    from hmeg.reference.box_soft_mask import MIN_SIDE

    header = (ROOT / "csrc" / "box_soft_mask.h").read_text()
    assert float(re.search(r"kBoxSoftMaskMinSide = (\S+);", header)[1]) == MIN_SIDE
    kernel = (ROOT / "kernels" / "triton" / "soft_ramp.py").read_text()
    assert float(re.search(r"MIN_SIDE = tl.constexpr\((\S+)\)", kernel)[1]) == MIN_SIDE


@pytest.mark.compiler
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("source", sorted(p.name for p in (ROOT / "kernels" / "cuda").glob("*.cu")))
def test_nvcc_compiles(source: str, tmp_path: Path) -> None:
    archs = [f"-gencode=arch=compute_{c},code=sm_{c}" for c in CAPABILITIES]
    command = ["nvcc", "-std=c++17", "-cubin" if len(archs) == 1 else "-fatbin", "-Werror", "all-warnings", *archs]
    includes = ["-I", str(ROOT / "kernels"), "-I", str(ROOT / "csrc")]
    output = tmp_path / "kernel.fatbin"
    subprocess.run([*command, *includes, str(ROOT / "kernels" / "cuda" / source), "-o", str(output)], check=True)
    assert output.stat().st_size > 1000


@pytest.mark.compiler
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
def test_triton_kernels_compile_ahead_of_time(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    script = [sys.executable, str(ROOT / "tests" / "support" / "aot_triton.py"), *CAPABILITIES]
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernels = sum(len(re.findall(r"^def \w+_kernel\(", p.read_text(), re.M)) for p in KERNEL_FILES)
    assert len(done.stdout.splitlines()) == kernels * len(CAPABILITIES), "a kernel is missing from aot_triton.py"


KERNEL_FILES = sorted((ROOT / "kernels" / "triton").glob("*.py"))


def test_kernels_package_is_found_from_a_bare_checkout(tmp_path: Path) -> None:
    """Even where they are not installed."""
    script = (
        "import sys\n"
        "sys.meta_path = [f for f in sys.meta_path if '__editable__' not in getattr(f, '__module__', '')]\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from hmeg.backends.triton.launcher import import_kernels\n"
        "print(import_kernels().__file__)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert Path(done.stdout.strip()).parts[-2:] in {("triton", "__init__.py"), ("kernels", "__init__.py")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_survive_a_fork(tmp_path: Path) -> None:
    script = (
        "import os, sys, torch\n"
        f"sys.path[:0] = [{str(ROOT)!r}]\n"
        "from tests.support.threads import masks_on_threads\n"
        "before = masks_on_threads(3)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if masks_on_threads(3) == before else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=120).returncode == 0


def test_many_python_threads_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    boxes = some.ordinary(64)
    want = ops.box_soft_mask(boxes, (64, 64), backend="cpu")
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: ops.box_soft_mask(boxes, (64, 64), backend="cpu"), range(64)):
            assert torch.equal(got, want)


def test_explain_tells_the_instruction_set() -> None:
    assert native.build_info()["cpu_variant"] in backends.explain()["cpu"]["details"]
