"""The recipe of docs/adding-an-operator.md, followed in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "docs" / "adding-an-operator.md"
COPIED = (
    "CMakeLists.txt",
    "cmake",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "csrc",
    "kernels",
    "hmeg",
    "tests",
    "bench",
)


def files() -> dict[str, str]:
    """Path -> contents of every block of the recipe that is a file."""
    return dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", RECIPE.read_text(), re.M | re.S))


def test_fewer_than_ten_files_all_of_them_new() -> None:
    assert 5 < len(files()) < 10
    assert not [path for path in files() if (ROOT / path).exists()]


def test_blocks_are_formatted(tmp_path: Path) -> None:
    for path, text in files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for name in ("pyproject.toml", ".clang-format"):
        shutil.copy(ROOT / name, tmp_path)
    ruff, clang = (shutil.which(tool, path=tool_path()) for tool in ("ruff", "clang-format"))
    if ruff is None or clang is None:
        pytest.skip("needs ruff and clang-format")
    subprocess.run([ruff, "format", "--check", "."], cwd=tmp_path, check=True)
    native = [path for path in files() if not path.endswith(".py")]
    subprocess.run([clang, "--dry-run", "--Werror", *native], cwd=tmp_path, check=True)


def tool_path() -> str:
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.skipif(shutil.which("cmake", path=tool_path()) is None, reason="needs cmake")
def test_recipe_works(tmp_path: Path) -> None:
    """Builds the extension for the CPU and the CUDA source for the emulator, runs the tests and the benchmark."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name, **({"ignore": ignored} if copy is shutil.copytree else {}))
    for path, text in files().items():
        (tmp_path / path).write_text(text)
    # Without pytest-xdist's: pytest-benchmark times nothing where it sees them.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**outside, "HMEG_CUDA": "off", "PATH": tool_path(), "PYTHONPATH": str(tmp_path)}

    def run(*arguments: str, **more: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment | more, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    run("setup.py", "build_ext", "--inplace")
    where = run("-c", "import hmeg.ops.scale, hmeg._C as c; print(hmeg.ops.scale.__file__, *c.entries['cpu'])")
    assert str(tmp_path) in where and "scale" in where.split()
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ops/test_scale.py", HMEG_DEBUG="1")
    for target in ("cpu-portable", "emulated-random", "reference"):
        assert target in run("-m", "pytest", "--collect-only", "-q", "tests/ops/test_scale.py"), tested
    assert int(re.search(r"(\d+) passed", tested)[1]) > 50
    assert "A tensor times a number" in run("-m", "bench", "--list")
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "bench/bench_scale.py", "-k", "cpu and not avx2")


def ignored(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("__pycache__", "weights") or name.endswith(".so")]
