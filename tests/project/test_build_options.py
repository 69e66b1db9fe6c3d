"""What the build makes of the machine and of its environment: GPUs to compile for, an nvcc that does not work, tools
that are missing. Nothing is compiled for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = str(ROOT / "setup.py")
COMPLAINT = "host_config.h:143:2: error: #error -- unsupported GNU version! later than 12; see the manual"
needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")


def run_cmake(script: str, folder: Path, environment: dict[str, str], **variables: str) -> tuple[int, str]:
    """Runs a CMake script in ``folder`` without TORCH_CUDA_ARCH_LIST and the like; its status and words, unwrapped."""
    file = folder / "script.cmake"
    file.write_text(f"cmake_minimum_required(VERSION 3.24)\n{script}\n")
    unset = ("TORCH_CUDA_ARCH_LIST", "CUDACXX", "CUDA_HOME", "CUDA_PATH", "CUDAHOSTCXX", "CUDAFLAGS")
    environment = {key: value for key, value in os.environ.items() if key not in unset} | environment
    options = [f"-D{name}={value}" for name, value in variables.items()]
    command = ["cmake", *options, "-P", str(file)]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, " ".join(done.stdout.split())


def architectures(folder: Path, archs: str = "", torch_archs: str | None = None) -> tuple[int, str]:
    script = f'include("{ROOT}/cmake/cuda_architectures.cmake")\nhmeg_cuda_architectures(list origin)\n'
    environment = {} if torch_archs is None else {"TORCH_CUDA_ARCH_LIST": torch_archs}
    return run_cmake(script + 'message("(${list})")', folder, environment, HMEG_CUDA_ARCHS=archs)


def find_cuda(folder: Path, nvcc: str, cuda: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """hmeg_find_cuda with a fake nvcc of the given shell lines, or without any where they are empty."""
    directory = folder / "bin"
    directory.mkdir()
    if nvcc:
        (directory / "nvcc").write_text(f"#!/bin/sh\n{nvcc}\n")
        (directory / "nvcc").chmod(0o755)
    script = f'include("{ROOT}/cmake/find_cuda.cmake")\nhmeg_find_cuda(nvcc list)\nmessage("(${{nvcc}})(${{list}})")'
    cmake = shutil.which("cmake")
    assert cmake is not None
    (directory / "cmake").symlink_to(cmake)
    environment = {"PATH": f"{directory}:/usr/bin:/bin", "HMEG_PROBE": str(folder)} | (environment or {})
    return run_cmake(script, folder, environment, HMEG_CUDA=cuda)


@needs_cmake
@pytest.mark.parametrize(
    ("archs", "meaning"),
    [
        ("", "80-real;90"),
        (" ", "80-real;90"),
        ("8.6", "86"),
        ("80,90", "80-real;90"),
        ("80;90", "80-real;90"),
        ("90 80", "80-real;90"),
        ("sm_90", "90"),
        ("compute_90", "90-virtual"),
        ("12.0+PTX", "120"),
        ("9.0+PTX;100", "90;100-real"),
        ("80-real;90-real", "80-real;90-real"),
        ("80;90-virtual", "80-real;90-virtual"),
        ("9.0a", "90a"),
        ("80;8.0;sm_80", "80"),
        ("90;120", "90-real;120"),
    ],
)
def test_architectures(archs: str, meaning: str, tmp_path: Path) -> None:
    assert architectures(tmp_path, archs) == (0, f"({meaning})")


@needs_cmake
@pytest.mark.parametrize(
    ("archs", "words"),
    [
        ("75", "HMEG_CUDA_ARCHS: '75' is older than 80"),
        ("80;7.5+PTX", "HMEG_CUDA_ARCHS: '7.5+PTX' is older than 80"),
        ("native", "HMEG_CUDA_ARCHS: 'native' is no compute capability"),
        ("80;hopper", "HMEG_CUDA_ARCHS: 'hopper' is no compute capability"),
        ("9", "HMEG_CUDA_ARCHS: '9' is no compute capability"),
    ],
)
def test_architectures_are_refused_by_name(archs: str, words: str, tmp_path: Path) -> None:
    status, said = architectures(tmp_path, archs)
    assert status != 0 and words in said


@needs_cmake
@pytest.mark.parametrize(
    ("torch_archs", "meaning"),
    [
        ("8.0;9.0+PTX", "80-real;90"),
        ("8.6", "86-real"),
        ("8.0 8.6", "80-real;86-real"),
        ("Ampere Hopper", "80-real;86;90"),
        ("", "80-real;90"),
    ],
)
def test_torchs_architectures_are_honoured(torch_archs: str, meaning: str, tmp_path: Path) -> None:
    assert architectures(tmp_path, "", torch_archs) == (0, f"({meaning})")
    assert architectures(tmp_path, "100", torch_archs) == (0, "(100)")


@needs_cmake
def test_torchs_old_architectures_are_left_out(tmp_path: Path) -> None:
    status, said = architectures(tmp_path, "", "7.0;7.5+PTX;8.6")
    assert status == 0
    assert said.endswith("(86-real)") and "TORCH_CUDA_ARCH_LIST, 7.0 7.5+PTX left out: older than 80" in said
    status, said = architectures(tmp_path, "", "8.0;sometime")
    assert status != 0 and "TORCH_CUDA_ARCH_LIST: 'sometime' is no compute capability" in said


@needs_cmake
@pytest.mark.parametrize("cuda", ["auto", ""])
def test_an_unusable_nvcc_gives_a_build_for_the_cpu(cuda: str, tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, f"echo 'In file included from x'; echo '{COMPLAINT}' >&2; exit 1", cuda)
    assert status == 0 and said.endswith("()()")
    assert COMPLAINT in said and "CPU only" in said
    assert "HMEG_CUDA=on" in said and "HMEG_CUDA=off" in said and "CUDAHOSTCXX" in said


@needs_cmake
def test_an_unusable_nvcc_that_is_asked_for_ends_the_build(tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, f"echo '{COMPLAINT}' >&2; exit 1", "on")
    assert status != 0
    assert COMPLAINT in said and "HMEG_CUDA=off" in said


@needs_cmake
def test_an_nvcc_without_words(tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, "exit 3", "auto")
    assert status == 0 and "ended with status 3" in said


@needs_cmake
def test_no_nvcc(tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, "", "auto")
    assert (status, said[-4:]) == (0, "()()")
    assert "nvcc was not found on PATH" in said


@needs_cmake
def test_no_nvcc_where_it_is_asked_for(tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, "", "on")
    assert status != 0 and "HMEG_CUDA=on, but nvcc was not found on PATH" in said


@needs_cmake
def test_off_runs_no_nvcc(tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, 'touch "$HMEG_PROBE/ran"', "OFF")
    assert status == 0 and said.endswith("()()")
    assert not (tmp_path / "ran").exists()


@needs_cmake
def test_a_usable_nvcc(tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, 'echo "$@" > "$HMEG_PROBE/arguments"', "auto", {"CUDAHOSTCXX": "g++-12"})
    assert (status, said) == (0, f"({tmp_path}/bin/nvcc)(80-real;90)")
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[:2] == ["-ccbin", "g++-12"]
    assert [a for a in arguments if "gencode" in a] == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_90,code=compute_90",
    ]


@needs_cmake
def test_an_architecture_that_nvcc_does_not_know(tmp_path: Path) -> None:
    nvcc = 'case "$*" in *compute_90*) echo "nvcc fatal : Unsupported gpu architecture" >&2; exit 1;; esac'
    status, said = find_cuda(tmp_path, nvcc, "auto", {"TORCH_CUDA_ARCH_LIST": "9.0"})
    assert status != 0
    assert "TORCH_CUDA_ARCH_LIST:" in said and "nvcc fatal : Unsupported gpu architecture" in said


@needs_cmake
@pytest.mark.parametrize("cuda", ["auto", "on"])
def test_only_architectures_that_are_too_old(cuda: str, tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, "exit 0", cuda, {"TORCH_CUDA_ARCH_LIST": "7.0"})
    assert (status == 0) == (cuda == "auto")
    assert "TORCH_CUDA_ARCH_LIST='7.0' is as new as 80" in said and "HMEG_CUDA_ARCHS" in said


@needs_cmake
def test_another_word_is_refused(tmp_path: Path) -> None:
    status, said = find_cuda(tmp_path, "", "maybe")
    assert status != 0 and "HMEG_CUDA must be auto, on or off, got 'maybe'" in said


@pytest.mark.slow
@needs_cmake
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_build_is_configured_without_a_usable_nvcc(tmp_path: Path) -> None:
    pybind11 = pytest.importorskip("pybind11")
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho '{COMPLAINT}' >&2; exit 1\n")
    nvcc.chmod(0o755)
    options = [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", f"-DPython_EXECUTABLE={sys.executable}"]
    command = ["cmake", "-S", str(ROOT), "-B", str(tmp_path / "build"), *options]
    done = subprocess.run(command, env=os.environ | {"CUDACXX": str(nvcc)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert COMPLAINT in done.stderr


def build(folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """``setup.py build_ext`` into ``folder``; status and words on standard error."""
    command = [sys.executable, SETUP, "-q", "build_ext", "--build-lib", str(folder), "--build-temp", str(folder / "t")]
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("missing", ["cmake", "ninja"])
def test_a_missing_tool_is_named(missing: str, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    directory = tmp_path / "bin"
    directory.mkdir()
    for tool in {"cmake", "ninja"} - {missing}:
        (directory / tool).write_text("#!/bin/sh\nexit 1\n")
        (directory / tool).chmod(0o755)
    status, said = build(tmp_path, {"PATH": str(directory)})
    assert status == 1
    assert f"hmeg: {missing} was not found on PATH; install it (pip install {missing}) or build with" in said


def test_a_missing_pybind11_is_named(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    for tool in ("cmake", "ninja"):
        (tmp_path / tool).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    (tmp_path / "pybind11.py").write_text("raise ImportError\n")
    status, said = build(tmp_path, {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)})
    assert status == 1
    assert "hmeg: pybind11 was not found; install it (pip install pybind11) or build with" in said


OLD_SETUPTOOLS = """
__version__ = "65.5.0"
Extension = find_packages = None
def setup(**_): raise SystemExit("configuration error: project.license must be valid exactly by one definition")
"""


def test_an_old_setuptools_is_told_so(tmp_path: Path) -> None:
    package = tmp_path / "setuptools"
    (package / "command").mkdir(parents=True)
    (package / "__init__.py").write_text(OLD_SETUPTOOLS)
    (package / "command" / "__init__.py").write_text("")
    (package / "command" / "build_ext.py").write_text("class build_ext: pass\n")
    status, said = build(tmp_path, {"PYTHONPATH": str(tmp_path)})
    assert status == 1
    assert said.strip() == (
        "hmeg: setuptools 65.5.0 is too old; install a newer one (pip install 'setuptools>=77') or build with build "
        "isolation (pip install . without --no-build-isolation)"
    )
