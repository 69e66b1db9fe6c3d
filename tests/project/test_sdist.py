"""The source distribution is complete: it holds what the checkout holds, and the tests pass from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Made by tools, or here for one machine; none of it is in a checkout.
LOCAL = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "out", "runs", "*.egg-info", "*.so", "__pycache__", ".*_cache", ".hypothesis",
    ".benchmarks", ".cache",
)  # fmt: skip
BUILD = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
# The fast tests, but those of operators: the extension is the one that they are tested on already.
SELECTION = ["-m", "not (slow or ray or browser or compiler or gpu)", "--ignore", "tests/ops"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sdist")]  # one process, for it is built once a process


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree without what builds and tools leave in it."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("checkout") / "hmeg", ignore=LOCAL))


@pytest.fixture(scope="module")
def unpacked(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the copy, unpacked."""
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools>=77")
    pytest.importorskip("pybind11", reason="needs pybind11")
    folder = tmp_path_factory.mktemp("sdist")
    before = {path.relative_to(checkout) for path in checkout.rglob("*")}
    done = subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for path in sorted(checkout.rglob("*"), reverse=True):  # the package's metadata, which setuptools leaves there
        if path.relative_to(checkout) not in before:
            path.rmdir() if path.is_dir() else path.unlink()
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_holds_every_file(checkout: Path, unpacked: Path) -> None:
    assert len(files(checkout)) > 500
    assert files(checkout) - files(unpacked) == set()
    made = {name for name in files(unpacked) - files(checkout) if not name.startswith("hmeg.egg-info/")}
    assert made <= {"PKG-INFO", "setup.cfg"}


def test_passes_its_fast_tests(unpacked: Path) -> None:
    native = pytest.importorskip("hmeg._C").__file__
    shutil.copy(native, unpacked / "hmeg")  # as built here: this is about files, not about the compiler
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    where = [sys.executable, "-c", "import hmeg; print(hmeg.__file__)"]
    package = subprocess.run(where, cwd=unpacked, env=environment, check=True, capture_output=True, text=True).stdout
    assert Path(package.strip()).parents[1] == unpacked
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SELECTION]
    done = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    # Modules of operators' tests at least find all that they import.
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "tests/ops"]
    done = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
