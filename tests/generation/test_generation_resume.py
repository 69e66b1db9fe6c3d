"""hmeg generate, killed at any moment and started again: the files of an uninterrupted run, bit by bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hmeg.generation.manifest import Manifest
from hmeg.image_sets.formats import FORMATS
from tests.support.tiny_model import save_tiny

ROOT = Path(__file__).parents[2]

# A process that has imported everything, but computed nothing yet, and starts a fork of itself for every line it reads:
# milliseconds to live (0: as long as it takes), then the arguments of hmeg generate. It answers with the exit code.
STARTER = """
import os, signal, sys, time, threading
import torch
import hmeg.generation.engine, hmeg.generation.loading
from hmeg.cli.generate import command
torch.set_num_threads(1)
for line in sys.stdin:
    life, *arguments = line.split()
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        code = 0
        try:
            command(arguments, standalone_mode=False)
        except BaseException:
            code = 1
        os._exit(code)
    if int(life):
        timer = threading.Timer(int(life) / 1000, os.kill, (child, signal.SIGKILL))
        timer.start()
    _, status = os.waitpid(child, 0)
    if int(life):
        timer.cancel()
        timer.join()
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture(scope="module")
def start():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    ) as process:

        def run(life, *arguments):
            process.stdin.write(" ".join([str(life), *map(str, arguments)]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        process.stdin.close()


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    weights = save_tiny(folder / "tiny.safetensors")
    lines = ["x + 1", r"\frac{a}{b}", r"\hbar", "y", r"x ^ { 2 }", "", "1 2", r"\nonsense", "z", "b - c", "3"]
    (folder / "formulas.txt").write_text("\n".join(lines * 3) + "\n")
    return ["--input", folder / "formulas.txt", "--weights", weights, "--device", "cpu", "--size", 32,
            "--count", 2, "--shard-size", 7]  # fmt: skip


def contents(folder):
    """All files by name; those that tell how long it took only as present."""
    return {
        path.relative_to(folder).as_posix(): b"" if path.name in ("timing.jsonl", "report.html") else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_killed_and_started_again(start, job, tmp_path, file_format):
    options = [*job, "--format", file_format]
    assert start(0, *options, "--out", tmp_path / "whole") == 0
    wanted = contents(tmp_path / "whole")
    lives = [300, 20, 450, 150, 700, 60, 1000, 350, 2000]  # milliseconds; a machine of any speed is hit somewhere
    killed = 0
    for life in lives:
        code = start(life, *options, "--out", tmp_path / "killed")
        if code == 0:
            break
        assert code == -9
        killed += 1
    assert killed >= 2
    assert start(0, *options, "--out", tmp_path / "killed") == 0
    got = contents(tmp_path / "killed")
    assert got.keys() == wanted.keys()
    for name in got:
        assert got[name] == wanted[name], name


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
import torch
torch.set_num_threads(1)
from hmeg.cli import main
main(sys.argv[2:])
"""


@pytest.mark.slow
def test_file_that_cannot_grow(start, job, tmp_path):
    """The system refuses to write: one line of error, finished shards stay, and the same command goes on later."""
    options = [str(o) for o in [*job, "--format", "can", "--size", 64, "--count", 20]]
    assert start(0, *options, "--out", tmp_path / "whole") == 0
    wanted = contents(tmp_path / "whole")
    limit = len(wanted["train_images.pkl"]) - 1  # longer than any other file, contact sheets on the way too
    out = tmp_path / "limited"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), "generate", *options, "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"Error: {out}: File too large"
    assert not list(out.glob("*.part"))
    shards = Manifest.load(out).shards
    assert sum(shard.samples for shard in shards) == 8 * 3 * 20
    assert len(list(out.glob("*.images"))) == sum(shard.samples > 0 for shard in shards)
    assert start(0, *options, "--out", out) == 0
    assert contents(out) == wanted


@pytest.mark.slow
def test_folder_that_cannot_be_written(start, job, tmp_path):
    options = [str(o) for o in job]
    if os.geteuid() == 0:
        # root may write anywhere, except where nobody can: /proc takes no folders
        out = "/proc/hmeg"
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        out = str(tmp_path / "locked" / "out")
    done = subprocess.run(
        [sys.executable, "-m", "hmeg", "generate", *options, "--out", out], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {out}: ")
