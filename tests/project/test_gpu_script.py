"""bench/gpu.sh without a GPU: an interpreter that only says what it is asked stands in for Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "gpu.sh"
PRETENDER = """#!/bin/sh
case "$*" in
  *is_available*) exit 0 ;;
  *get_device_capability*) echo 90 ;;
  *find_spec*) echo "$LACKS" ;;
  *"bench --list"*) echo "raster  all of them" ;;
  *"bench raster"*) echo measuring; sleep "${SLEEP:-0}"; exit "${STATUS:-0}" ;;
  *) echo "asked: $*" ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture
def pretender(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(PRETENDER)
    path.chmod(0o755)
    return path


def gpu(python: Path | str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": str(python), **environment}
    return subprocess.run([str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, timeout=60)


def test_help_names_every_part(pretender: Path) -> None:
    shown = gpu(pretender, "--help")
    assert shown.returncode == 0
    for part in ("build", "ceilings", "test", "sanitize", "raster", "message", "train", "generate", "export"):
        assert part in shown.stdout


def test_unknown_part_is_refused_before_anything_runs(pretender: Path, tmp_path: Path) -> None:
    refused = gpu(pretender, str(tmp_path / "out"), "bluild")
    assert refused.returncode == 2
    assert "no part 'bluild'" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_no_gpu_is_said(tmp_path: Path) -> None:
    blind = tmp_path / "python"
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(0o755)
    refused = gpu(blind, str(tmp_path / "out"), "ceilings")
    assert refused.returncode == 2
    assert "sees a CUDA device" in refused.stderr


def test_packages_that_are_not_there_are_named(pretender: Path, tmp_path: Path) -> None:
    refused = gpu(pretender, str(tmp_path / "out"), "ceilings", LACKS="defusedxml tqdm")
    assert refused.returncode == 2
    assert "lacks: defusedxml tqdm; bring them along" in refused.stderr


def test_packages_asked_for_are_those_that_python_knows() -> None:
    found = re.search('NEEDED="([^"]*)"', SCRIPT.read_text())
    assert found is not None
    modules = {entry.split(":")[-1]: entry.split(":")[0] for entry in found[1].split()}  # by package
    build_alone = {"triton", "pybind11", "setuptools"}  # an extra, and for the build alone
    assert [m for package, m in modules.items() if package not in build_alone and find_spec(m) is None] == []
    project = (SCRIPT.parents[1] / "pyproject.toml").read_text()
    dependencies = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    assert dependencies is not None
    named = set(re.findall(r'"([\w-]+)>', dependencies[1])) - {"torch"}
    assert len(named) > 5 and named <= modules.keys()


def test_parts_leave_logs_and_a_table_and_failures_count(pretender: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = gpu(pretender, str(out), "ceilings", "raster", "message")
    assert done.returncode == 1  # there are no benchmarks named message
    table = done.stdout.splitlines()[-3:]
    assert [line.split()[:2] for line in table] == [["ceilings", "ok"], ["raster", "ok"], ["message", "failed"]]
    assert (out / "raster.log").read_text() == "measuring\n"
    assert "no benchmarks named message" in (out / "message.log").read_text()
    failed = gpu(pretender, str(out), "raster", STATUS="3")
    assert failed.stdout.splitlines()[-1].split()[:3] == ["raster", "failed", "(3)"]


def test_a_part_is_stopped_in_time(pretender: Path, tmp_path: Path) -> None:
    stopped = gpu(pretender, str(tmp_path / "out"), "raster", "ceilings", LIMIT="1", SLEEP="30")
    assert stopped.returncode == 1
    assert "stopped after 1 s" in stopped.stdout
    assert stopped.stdout.splitlines()[-1].split()[:2] == ["ceilings", "ok"]  # the next part runs all the same
