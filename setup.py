"""Drives the native build described in CMakeLists.txt; everything else is in pyproject.toml.

Environment: HMEG_CUDA=auto|on|off (default auto: CUDA kernels are built when a usable nvcc is found; never looks for a
GPU), HMEG_CUDA_ARCHS (default TORCH_CUDA_ARCH_LIST, else "80;90"), CMAKE_BUILD_PARALLEL_LEVEL.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import setuptools
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
OLDEST_SETUPTOOLS = 77  # the first that reads a licence expression in pyproject.toml
ISOLATION = "or build with build isolation (pip install . without --no-build-isolation)"


def demand_setuptools(version: str) -> None:
    """Ends the build where setuptools would refuse pyproject.toml in words that name neither cause nor way out."""
    if int(version.split(".")[0]) < OLDEST_SETUPTOOLS:
        remedy = f"install a newer one (pip install 'setuptools>={OLDEST_SETUPTOOLS}')"
        sys.exit(f"hmeg: setuptools {version} is too old; {remedy} {ISOLATION}")


def program(name: str) -> str:
    """The path of a program that builds; ends the build where it is missing."""
    path = shutil.which(name)
    if path is None:
        sys.exit(f"hmeg: {name} was not found on PATH; install it (pip install {name}) {ISOLATION}")
    return path


def pybind11_directory() -> str:
    """Where CMake finds pybind11; ends the build where it is missing."""
    try:
        import pybind11
    except ImportError:
        sys.exit(f"hmeg: pybind11 was not found; install it (pip install pybind11) {ISOLATION}")
    return str(pybind11.get_cmake_dir())


class CMakeBuild(build_ext):
    """Configures and builds the CMake target ``_C`` into the place setuptools wants it in."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        cmake, ninja = program("cmake"), program("ninja")
        build = Path(self.build_temp).resolve() / "cmake"
        build.mkdir(parents=True, exist_ok=True)
        # Every path below may live in a temporary build environment, so all are given anew on each configure.
        configure = [
            cmake,
            "-S", str(ROOT),
            "-B", str(build),
            "-G", "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11_directory()}",
            f"-DHMEG_VERSION={self.distribution.get_version()}",
            f"-DHMEG_CUDA={os.environ.get('HMEG_CUDA') or 'auto'}",
            f"-DHMEG_CUDA_ARCHS={os.environ.get('HMEG_CUDA_ARCHS', '')}",
        ]  # fmt: skip
        subprocess.run(configure, check=True)
        subprocess.run([cmake, "--build", str(build), "--target", "_C"], check=True)


demand_setuptools(setuptools.__version__)
setup(
    packages=[*find_packages(include=["hmeg", "hmeg.*"]), "hmeg.backends.triton.kernels"],
    package_dir={"hmeg.backends.triton.kernels": "kernels/triton"},
    package_data={
        "hmeg": ["py.typed", "*.pyi", "**/*.safetensors", "**/*.md", "**/*.json", "graph/*.txt", "reports/*.html"]
    },
    ext_modules=[Extension("hmeg._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
