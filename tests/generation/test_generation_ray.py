"""hmeg generate --engine ray on a cluster of two worker nodes: the files of the local engine, whatever happens.

The cluster is real (three raylets on this machine: a head without CPUs, where the command runs, and two nodes of one
CPU), and one for all tests here.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from hmeg.cli.generate import command
from hmeg.generation.run import Run
from tests.support.tiny_model import save_tiny

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

LINES = ["x + 1", r"\frac{a}{b}", r"\hbar", "y", r"x ^ { 2 }", "", "1 2", r"\nonsense", "z", "b - c", "3"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As many as the actors have, for the same rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cluster():
    # Before Ray is imported, which reads them then.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DISABLE_IMPORT_WARNING"] = "1"
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray: pip install 'hmeg[ray]'")
    store = 100 * 2**20
    head = {"num_cpus": 0, "object_store_memory": store, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=store)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    weights = save_tiny(folder / "tiny.safetensors")
    (folder / "formulas.txt").write_text("\n".join(LINES * 3) + "\n")
    return [
        "--input",
        folder / "formulas.txt",
        "--weights",
        weights,
        "--size",
        64,
        "--count",
        3,
        "--shard-size",
        20,
        "--temperature",
        0.5,
    ]


def where(cluster, engine):
    return {"ray": ["--engine", "ray", "--ray-address", cluster.address], "local": ["--device", "cpu"]}[engine]


# hmeg generate in a process of its own, which sends itself the signal named first when it has written 25 samples.
STOPPED = """
import os, signal, sys
import torch
from hmeg.cli.generate import command
from hmeg.generation.run import Run

write, written = Run.write, []

def counting(self, sample, encoded):
    write(self, sample, encoded)
    written.append(sample.index)
    if len(written) == 25:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have left it ignored
    torch.set_num_threads(1)
    Run.write = counting
    command(sys.argv[2:])
"""


def told_to_stop(signal_name, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "stopped.py"
        script.write_text(STOPPED)
        call = [sys.executable, script, signal_name, *map(str, arguments)]
        return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def generate(cluster):
    def run(*arguments, engine="ray"):
        return CliRunner().invoke(command, [str(a) for a in (*arguments, *where(cluster, engine))])

    return run


def contents(folder):
    """All files by name; those that tell how long it took only as present."""
    timed = ("timing.jsonl", "report.html")
    return {path.name: b"" if path.name in timed else path.read_bytes() for path in folder.iterdir()}


def drawing_workers(cluster):
    """Process ids of the cluster's actors that draw."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            title = (process / "cmdline").read_bytes()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if title.startswith(b"ray::MapWorker") and parent in raylets:
            found.append(int(process.name))
    return found


def all_gone(cluster):
    """Whether the actors end with the command; Ray takes a moment for it."""
    deadline = time.monotonic() + 20
    while drawing_workers(cluster) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not drawing_workers(cluster)


def after_samples(monkeypatch, count, do):
    """Calls ``do`` once, when the run has written that many samples."""
    write, written = Run.write, []

    def counting(self, sample, encoded):
        write(self, sample, encoded)
        written.append(sample.index)
        if len(written) == count:
            do()

    monkeypatch.setattr(Run, "write", counting)


def test_same_files_with_a_worker_killed_on_the_way(generate, cluster, job, tmp_path, monkeypatch):
    assert generate(*job, "--out", tmp_path / "local", engine="local").exit_code == 0
    killed = []

    def kill():
        workers = drawing_workers(cluster)
        assert len(workers) == 2
        killed.append(workers[0])
        os.kill(workers[0], signal.SIGKILL)

    after_samples(monkeypatch, 10, kill)
    result = generate(*job, "--out", tmp_path / "ray")
    assert result.exit_code == 0, result.output
    assert killed
    assert "3 nodes: 2 actors with 1 CPU each" in result.stdout
    assert "72 images in" in result.stdout
    assert "rejected line 3" in result.stderr
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert all_gone(cluster)


def test_one_engine_goes_on_where_the_other_was_stopped(generate, cluster, job, tmp_path, monkeypatch):
    job = [*job, "--format", "can"]
    assert generate(*job, "--out", tmp_path / "whole", engine="local").exit_code == 0
    stopped = [*job, "--out", tmp_path / "stopped"]

    for signal_name, engine, finished in (("SIGINT", "local", 1), ("SIGTERM", "ray", 2)):
        result = told_to_stop(signal_name, *stopped, *where(cluster, engine))
        assert result.returncode == 1, result.stderr
        assert result.stderr.splitlines()[-1].startswith("Error: interrupted")
        assert len(list((tmp_path / "stopped").glob("*.images"))) == finished
    assert all_gone(cluster)

    result = generate(*stopped, engine="local")
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_nothing_reads_any_more_when_ray_is_shut_down(generate, job, tmp_path, monkeypatch):
    """A thread of Ray Data that ends in that moment may take the whole process with it."""
    import ray

    shutdown, others, left = ray.shutdown, set(threading.enumerate()), []

    def watched():
        left.extend(thread.name for thread in set(threading.enumerate()) - others)
        shutdown()

    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "shutdown", watched)
    after_samples(monkeypatch, 25, stop)
    handler = signal.getsignal(signal.SIGTERM)
    result = generate(*job, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: interrupted")
    # Ray Data leaves the first waiting for ever, Ray ends two itself, and the last one draws the progress bar.
    assert set(left) - {"Prefetcher", "ray_listen_error_messages", "PythonGCThread", "tqdm_monitor"} == set()
    assert signal.getsignal(signal.SIGTERM) == handler


def test_actor_that_has_no_room(generate, job, tmp_path):
    out = ["--out", tmp_path / "out"]
    assert generate(*job, *out, engine="local").exit_code == 0
    before = contents(tmp_path / "out")
    result = generate(*job, *out, "--overwrite", "--cpus-per-actor", 2)
    assert result.exit_code == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith("Error: no node of the Ray cluster at ")
    assert "holds an actor with 2 CPUs" in error
    assert "1 CPUs" in error
    assert contents(tmp_path / "out") == before


def test_workers_of_another_version(generate, job, tmp_path, monkeypatch):
    monkeypatch.setattr("hmeg.__version__", "0.0.0")
    result = generate(*job, "--out", tmp_path / "out")
    assert result.exit_code == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith("Error: this is hmeg 0.0.0, but ")
    assert error.count(" has hmeg ") == 2
    assert not (tmp_path / "out").exists()


def test_block_that_every_worker_dies_over(cluster):
    import ray

    from hmeg.generation.ray_engine.attempts import MOST, Attempts
    from hmeg.generation.ray_engine.blocks import Block
    from hmeg.generation.ray_engine.drawing import _Worker
    from tests.support.ray_blocks import recipe, task

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        attempts = ray.remote(Attempts).options(num_cpus=0).remote()
        for _ in range(MOST):
            assert ray.get(attempts.begin.remote(7))
        worker = _Worker(recipe(), ray.put(b""), attempts)
        given_up = worker._drawn(Block(0, (task(7), task(8)), ()))
        assert given_up.problem.startswith(f"samples 7 to 8 were given up: {MOST} workers died")
    finally:
        ray.shutdown()


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.mark.parametrize("address", ["nonsense", "ray://head:10001", "host:port", "127.0.0.1:{free}"])
def test_no_cluster(job, tmp_path, address):
    address = address.format(free=free_port())
    options = [*job, "--out", tmp_path / "out", "--engine", "ray", "--ray-address", address]
    result = CliRunner().invoke(command, [str(option) for option in options])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert address in line
    assert "ray start" in line
    assert not (tmp_path / "out").exists()
