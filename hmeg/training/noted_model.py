"""What checkpoints note of the model that a run trains, so that another version of hmeg does not go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmeg.model.config import ModelConfig

_KEY = "model"  # in a checkpoint


def model_of(state: Mapping[str, Any], named: ModelConfig) -> ModelConfig:
    """The configuration of the model that a layout or joint run trains, by a checkpoint of it.

    named  what a model of that name is now: runs of before checkpoints noted it are like that, without shared noise

    ``ValueError`` if what is noted is no configuration.
    """
    noted = state.get(_KEY)
    return named.changed(layout={"shared_noise": 0}) if noted is None else ModelConfig.from_json(str(noted))


class NotedModel:
    """The configuration of a run's model, as a :class:`hmeg.training.loop.Note`."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def entries(self) -> dict[str, str]:
        return {_KEY: self.config.to_json()}

    def check(self, state: Mapping[str, Any], run: Path) -> None:
        if model_of(state, self.config) != self.config:
            raise ValueError(
                f"{run} was begun by another version of hmeg, in which {self.config.name!r} is another model: "
                "begin anew, or go on with that version"
            )
