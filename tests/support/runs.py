"""Runs in their folders, drawn without networks."""

from __future__ import annotations

import dataclasses

from hmeg.generation.manifest import Settings
from tests.support.samples import sample

SETTINGS = Settings(
    weights="tiny@0123456789ab",
    precision="float32",
    seed=11,
    count=1,
    size=32,
    source="9 random expressions",
    format="folder",
    split="train",
    shard_size=4,
)


def settings(file_format="folder", **changes):
    return dataclasses.replace(SETTINGS, format=file_format, **changes)


def write_shard(run, indices, commit=True):
    run.begin(run.next_shard)
    for index in indices:
        drawn = sample(index)
        run.write(drawn, run.format.encode(drawn.array))
    if commit:
        run.commit()
