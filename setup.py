"""Drives the native build described in CMakeLists.txt; everything else is in pyproject.toml.

Environment: HMEG_CUDA=auto|on|off (default auto: CUDA kernels are built when nvcc is found; never looks for a
GPU), HMEG_CUDA_ARCHS (default "80;90"), CMAKE_BUILD_PARALLEL_LEVEL.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Configures and builds the CMake target ``_C`` into the place setuptools wants it in."""

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = Path(self.build_temp).resolve() / "cmake"
        build.mkdir(parents=True, exist_ok=True)
        ninja = shutil.which("ninja")
        if ninja is None:
            sys.exit("hmeg: ninja was not found; install it (pip install ninja) or build with build isolation")
        # Every path below may live in a temporary build environment, so all are given anew on each configure.
        configure = [
            "cmake",
            "-S", str(ROOT),
            "-B", str(build),
            "-G", "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DHMEG_VERSION={self.distribution.get_version()}",
            f"-DHMEG_CUDA={os.environ.get('HMEG_CUDA', 'auto')}",
            f"-DHMEG_CUDA_ARCHS={os.environ.get('HMEG_CUDA_ARCHS', '80;90')}",
        ]  # fmt: skip
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "_C"], check=True)


setup(
    packages=[*find_packages(include=["hmeg", "hmeg.*"]), "hmeg.backends.triton.kernels"],
    package_dir={"hmeg.backends.triton.kernels": "kernels/triton"},
    package_data={"hmeg": ["py.typed", "*.pyi", "**/*.safetensors", "**/*.md", "**/*.json", "reports/*.html"]},
    ext_modules=[Extension("hmeg._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
