"""The parts of the Ray engine that need no Ray, and what the command says before it needs any."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hmeg.backends import BackendError
from hmeg.cli.generate import command
from hmeg.generation.augmentation.vary import vary
from hmeg.generation.batching import BATCHES_AHEAD, in_buckets
from hmeg.generation.generator import Generator
from hmeg.generation.inputs import Entry, Rejection, pieces
from hmeg.generation.ray_engine.actor import Drawer, packed, unpacked
from hmeg.generation.ray_engine.attempts import MOST, Attempts
from hmeg.generation.ray_engine.blocks import Block, blocks
from hmeg.generation.ray_engine.cluster import ClusterError, _surveyed
from hmeg.generation.ray_engine.drawing import Weights, _fitting_batch_size, _in_words, fitting_batch_size
from hmeg.image_sets.encoding import png
from tests.support.ray_blocks import recipe, settings, task, tiny
from tests.support.samples import sample
from tests.support.tiny_model import tiny_model

ENTRIES = [Entry(n, "x" if n % 5 else r"\hbar") for n in range(1, 61)]


@pytest.fixture(scope="module")
def weights():
    return tiny()[0]


@pytest.mark.parametrize("first_shard", [0, 3])
def test_blocks_are_all_that_is_missing_in_order(first_shard):
    made = list(blocks(iter(ENTRIES), settings(), first_shard, 0, 1))
    missing = list(pieces(ENTRIES, 2, first_shard * 20))
    assert [t for b in made for t in b.tasks] == [p for p in missing if not isinstance(p, Rejection)]
    assert [r for b in made for r in b.rejections] == [p for p in missing if isinstance(p, Rejection)]
    assert [b.shard for b in made] == sorted(b.shard for b in made)
    assert all(p.index // 20 == b.shard for b in made for p in (*b.tasks, *b.rejections))


def test_blocks_hold_the_batches_of_the_local_engine():
    of_shard = [p for p in pieces(ENTRIES, 2) if p.index < 20 and not isinstance(p, Rejection)]

    def batches(tasks):
        drawn = []
        list(
            in_buckets(
                tasks, 2, lambda batch: drawn.append([t.index for t in batch]) or (lambda: [sample(0)] * len(batch))
            )
        )
        return drawn

    cut = [b for b in blocks(ENTRIES, settings(), 0, 0, 2) if b.shard == 0]
    assert [len(b.tasks) for b in cut] == [2 * BATCHES_AHEAD] * (len(cut) - 1) + [len(of_shard) % (2 * BATCHES_AHEAD)]
    assert [batch for b in cut for batch in batches(b.tasks)] == batches(of_shard)


def test_blocks_are_bounded_where_nothing_can_be_used():
    taken = []
    endless = (taken.append(n) or Entry(n, r"\hbar") for n in range(1, 10**9))
    first = next(blocks(endless, settings(count=1, shard_size=10**6), 0, 0, 1))
    assert (len(first.tasks), len(first.rejections)) == (0, BATCHES_AHEAD)
    assert len(taken) == BATCHES_AHEAD


def test_blocks_want_pixels_for_the_contact_sheet_only():
    entries = [Entry(n, "x" if n % 5 else r"\hbar") for n in range(1, 251)]
    indices = [i for i in range(250) if (i + 1) % 5]  # of the samples
    wanted = [indices[number] for number in (*range(64), *range(64, 128, 2), *range(128, 200, 4))]

    def shown(first_shard, samples):
        made = blocks(iter(entries), settings(count=1), first_shard, samples, 1)
        return [b.tasks[place].index for b in made for place in b.shown]

    assert shown(0, 0) == wanted
    assert shown(6, 96) == [index for index in wanted if index >= 120]


def test_drawer_draws_what_the_generator_draws(weights):
    block = Block(0, (task(3), task(4, r"\frac{a}{b}")), (Rejection(5, ENTRIES[4], "why"),), (1,))
    drawn = unpacked(packed(Drawer(recipe(), lambda: weights, "here").draw(unpacked(packed(block)))))
    wanted = tiny()[1].stream(block.tasks, 1, 32)
    assert drawn.rejections == block.rejections
    for place, ((got, encoded), local) in enumerate(zip(drawn.samples, wanted, strict=True)):
        assert got.label() == local.label()
        np.testing.assert_array_equal(got.array, local.array if place in block.shown else np.empty((0, 0)))
        assert encoded == png(local.array)


def test_drawer_varies_what_it_draws(weights):
    block = Block(0, (task(3), task(4, r"\frac{a}{b}")), (), (0, 1))
    varied = recipe(settings=settings(augment="light"))
    drawn = unpacked(packed(Drawer(varied, lambda: weights, "here").draw(block)))
    plain = tiny()[1].stream(block.tasks, 1, 32)
    for (got, encoded), local in zip(drawn.samples, plain, strict=True):
        wanted = vary("light", local.array, local.boxes, 1, local.index)
        np.testing.assert_array_equal(got.array, wanted.array)
        assert got.label()["boxes"] == wanted.boxes.tolist()
        assert json.loads(got.label()["augment"]) == wanted.parameters
        assert encoded == png(wanted.array)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"version": "0.0.0"}, "install the same version everywhere"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"settings": settings(weights="tiny@other")}, "not tiny@other"),
    ],
)
def test_worker_that_cannot_draw_says_where_and_why(weights, changed, wanted):
    threads = torch.get_num_threads()
    result = Drawer(recipe(**changed), lambda: weights, "node 7").draw(Block(0, (task(0),), ()))
    torch.set_num_threads(threads)
    assert result.problem.startswith("the worker on node 7 cannot draw: ")
    assert wanted in result.problem


def test_gpu_that_refuses_recordings_is_a_problem_of_the_block(weights, monkeypatch):
    drawer = Drawer(recipe(cuda_graphs=False), lambda: weights, "here")
    drawer.draw(Block(0, (task(0),), ()))
    assert not drawer._generator.cuda_graphs

    def stream(*_):
        raise BackendError("no recordings; use --no-cuda-graphs")

    monkeypatch.setattr(drawer._generator, "stream", stream)
    assert drawer.draw(Block(0, (task(0),), ())).problem == "no recordings; use --no-cuda-graphs"


def test_damaged_weights():
    model = tiny_model()
    for parameter in model.image_model.decoder.parameters():
        parameter.data.fill_(torch.nan)
    drawer = Drawer(recipe(), lambda: b"", "node 7")
    assert "not a readable weight file" in drawer.draw(Block(0, (task(0),), ())).problem
    drawer._generator = Generator(model, "cpu", "tiny")
    assert "are the weights damaged?" in drawer.draw(Block(0, (task(0),), ())).problem


def test_fitting_batch_size(weights):
    assert _fitting_batch_size(recipe(), weights, 0.5) == 1
    assert "install the same version" in _fitting_batch_size(recipe(version="0.0.0"), weights, 1.0)
    cpus_only = _surveyed("head:1", [NODE], None, 1, None)
    assert fitting_batch_size(cpus_only, Weights("tiny.safetensors", weights), settings()) == 1


def test_attempts():
    attempts = Attempts()
    for _ in range(3 * MOST):  # drawn often, as results on lost nodes are, but always to the end
        assert attempts.begin(1)
        attempts.end(1)
    assert [attempts.begin(2) for _ in range(MOST + 1)] == [True] * MOST + [False]
    assert attempts.begin(1)


NODE = {"Alive": True, "Resources": {"CPU": 16.0, "memory": 1e9}}
GPU_NODE = {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 4.0}}
HEAD = {"Alive": True, "Resources": {}}
LOST = {"Alive": False, "Resources": {"CPU": 100.0}}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "room"),
    [
        ([NODE, HEAD, LOST], 1, None, 16),
        ([NODE, NODE], 3, None, 10),
        ([NODE, GPU_NODE], 1, None, 4),
        ([NODE, GPU_NODE], 1, 0.0, 32),
        ([GPU_NODE], 1, 0.25, 16),
        ([GPU_NODE], 1, 0.3, 12),
        ([GPU_NODE], 8, 0.25, 2),
        ([GPU_NODE], 1, 2.0, 2),
    ],
)
def test_room(nodes, cpus, gpus, room):
    cluster = _surveyed("head:1", nodes, None, cpus, gpus)
    assert (cluster.room, cluster.actors) == (room, room)


def test_more_actors_than_room():
    described = str(_surveyed("head:1", [GPU_NODE, HEAD], 6, 2, 1.0))
    assert described == "Ray at head:1, 2 nodes: 6 actors with 2 CPUs and 1 GPU each; there is room for 4 of them now"


def test_no_room():
    with pytest.raises(ClusterError, match=r"no node .* holds an actor with 1 CPU and 1 GPU .*16 CPUs, 0 GPUs"):
        _surveyed("head:1", [NODE], None, 1, 1.0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("long trace\nModuleNotFoundError: No module named 'hmeg'", "install version"),
        ("long trace\n\nSomething broke\n", "the Ray cluster failed: Something broke"),
        ("", "the Ray cluster failed: RuntimeError"),
    ],
)
def test_errors_of_ray_in_words(text, wanted):
    assert wanted in _in_words(RuntimeError(text))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--engine", "ray", "--device", "cuda"], "--device is for --engine local"),
        (["--engine", "ray", "--workers", "2"], "--workers is for --engine local"),
        (["--engine", "ray", "--gpus-per-actor", "1.5"], "whole GPUs, not 1.5"),
        (["--engine", "ray", "--ray-actors", "0"], "neither a number from 1"),
        (["--engine", "ray", "--weights", "small.onnx"], "small.onnx is for --engine local"),
        (["--ray-actors", "2"], "need --engine ray"),
        (["--ray-address", "head:6379"], "need --engine ray"),
        (["--gpus-per-actor", "0"], "need --engine ray"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, wanted):
    result = CliRunner().invoke(command, ["--latex", "x", "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert wanted in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_standard_input_is_no_file(tmp_path):
    options = ["--input", "-", "--out", str(tmp_path / "out"), "--engine", "ray"]
    result = CliRunner().invoke(command, options, input="x\n")
    assert result.exit_code == 2
    assert "reads a file, not a pipe" in result.stderr


def test_only_the_ray_engine_needs_ray(tmp_path, monkeypatch, weights):
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    file = tmp_path / "tiny.safetensors"
    file.write_bytes(weights)
    options = ["--latex", "x", "--weights", str(file), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(command, [*options, "--device", "cpu", "--size", "64"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(command, [*options, "--size", "64", "--engine", "ray"])
    assert result.exit_code == 1
    assert "pip install 'hmeg[ray]'" in result.stderr
