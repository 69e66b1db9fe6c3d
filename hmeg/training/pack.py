"""Finished runs -> one weights file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from hmeg.model.checkpoint import save_weights
from hmeg.model.config import ModelConfig
from hmeg.model.hmeg import HMEG
from hmeg.model.layout import LayoutGenerator
from hmeg.model.symbol_classifier import SymbolClassifier, save_classifier

from .checkpoints import in_one_line, load_checkpoint
from .loop import CONFIG
from .noted_model import model_of
from .paper import whiten_paper
from .settings import FOLDERS
from .starting import weights_named

PAPER = "paper"  # in metadata: how light it is
TEMPERATURE = "layout_temperature"  # in metadata: what temperature 1 is, as a factor of the noise in training


def _settings(run: Path, *trainers: str) -> dict[str, Any]:
    """A run's settings, fit to be published: of files and folders their names alone.

    ValueError if it is no run of ``hmeg train`` with one of these trainers.
    """
    wanted = " or ".join(f"`hmeg train {trainer}`" for trainer in trainers)
    try:
        settings: dict[str, Any] = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
        trainer = str(settings["trainer"])
        if trainer in trainers and trainer != "classifier":
            settings["model"] = str(settings["model"])
    except FileNotFoundError:
        raise ValueError(f"{run} is no run of `hmeg train`, it has no {CONFIG}; wanted is one of {wanted}") from None
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{run / CONFIG} does not hold the settings of a run: {in_one_line(error)}") from error
    if trainer not in trainers:
        raise ValueError(f"{run} is a run of `hmeg train {trainer}`; wanted is one of {wanted}")
    return {name: Path(value).name if name in FOLDERS and value else value for name, value in settings.items()}


@dataclass(frozen=True)
class _Run:
    """A run of one of some trainers: its settings, fit to be published, and its last checkpoint."""

    folder: Path
    settings: dict[str, Any]
    state: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, *trainers: str) -> _Run:
        """ValueError if it is no run of ``hmeg train`` with one of these trainers, or has no checkpoint."""
        return cls(folder, _settings(folder, *trainers), load_checkpoint(folder))

    @property
    def config(self) -> ModelConfig:
        """Of the model that it trains."""
        named = ModelConfig.named(self.settings["model"])
        return named if self.settings["trainer"] == "image" else model_of(self.state, named)

    def load_average(self, part: nn.Module) -> str:
        """Loads the averaged weights into ``part``; settings and step as JSON. ValueError if they do not fit."""
        try:
            part.load_state_dict(self.state["objects"]["ema"]["weights"])
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"{self.folder} holds no weights of this model: {in_one_line(error)}") from error
        return json.dumps({**self.settings, "step": int(self.state["step"])})


def layout_generator_of(folder: Path) -> tuple[LayoutGenerator, ModelConfig]:
    """The averaged layout generator of a layout or joint run, and its model's configuration.

    ValueError if it has no checkpoint, or is a run of another kind.
    """
    run = _Run.read(folder, "layout", "joint")
    config = run.config
    if run.settings["trainer"] == "joint":
        model = HMEG(config)
        run.load_average(model)
        return model.layout_generator, config
    network = LayoutGenerator(config)
    run.load_average(network)
    return network, config


def pack_joint_run(
    folder: Path, out: Path, licence: str = "", white_paper: bool = True, temperature: float = 1.0
) -> HMEG:
    """Writes the averaged weights of a joint run, with its settings, to ``out`` (safetensors, float16).

    white_paper, temperature  see :func:`pack_runs`

    ValueError if it has no checkpoint, or is a run of another kind.
    """
    run = _Run.read(folder, "joint")
    model = HMEG(run.config)
    metadata = {"joint_training": run.load_average(model), "licence": licence}
    _save(model, out, metadata, white_paper, temperature)
    return model


def pack_classifier_run(folder: Path, out: Path, licence: str = "") -> SymbolClassifier:
    """Writes the averaged weights of a classifier's run, with its settings, to ``out`` (safetensors, float16)."""
    recogniser = SymbolClassifier()
    metadata = {"training": _Run.read(folder, "classifier").load_average(recogniser), "licence": licence}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_classifier(recogniser, out, metadata)
    return recogniser


def pack_runs(
    layout: Path | str,
    image: Path | str,
    out: Path,
    licence: str = "",
    white_paper: bool = True,
    temperature: float = 1.0,
) -> HMEG:
    """Writes both parts, with the settings they were trained with, to ``out`` (safetensors, float16).

    layout, image  folders of runs, whose averaged weights are taken; or weights files, or names of bundled weights,
                   of which that part is taken as it is, in its configuration; glyphs that are never drawn are
                   emptied
    white_paper    see :func:`hmeg.training.paper.whiten_paper`
    temperature    what temperature 1 shall mean from now on: a factor of the noise that boxes are made from

    ValueError if the parts are of differently named models or have no weights.
    """
    sources: dict[str, HMEG | _Run] = {}
    for part, source in (("layout", str(layout)), ("image", str(image))):
        finished = weights_named(source)
        sources[part] = _Run.read(Path(source), part) if finished is None else finished
    of_layout, of_image = sources["layout"].config, sources["image"].config
    if of_layout.name != of_image.name:
        raise ValueError(f"{layout} is of the model {of_layout.name!r}, {image} of {of_image.name!r}")
    model = HMEG(of_image.with_layout_of(of_layout))
    metadata = {"licence": licence}
    for part, network in (("layout", model.layout_generator), ("image", model.image_model)):
        there, noted = sources[part], f"{part}_training"
        if isinstance(there, _Run):
            metadata[noted] = there.load_average(network)
        else:
            taken = there.layout_generator if part == "layout" else there.image_model
            network.load_state_dict(taken.state_dict())
            kept = (noted, TEMPERATURE if part == "layout" else PAPER)
            metadata.update({name: text for name, text in there.metadata.items() if name in kept})
    _save(model, out, metadata, white_paper, temperature)
    return model


def _save(model: HMEG, out: Path, metadata: dict[str, str], white_paper: bool, temperature: float) -> None:
    if model.image_model.glyphs is not None:
        model.image_model.glyphs.forget_unused()  # nobody's handwriting that is not drawn from
    if temperature != 1:
        model.layout_generator.scale_noise(temperature)
        metadata[TEMPERATURE] = f"{temperature * float(metadata.get(TEMPERATURE, 1)):g}"
    if white_paper and PAPER not in metadata:  # whitened once already, and what it was is noted
        levels = whiten_paper(model)
        metadata[PAPER] = "1 at every resolution; as trained " + ", ".join(
            f"{level:.4f} at {resolution}" for resolution, level in levels.items()
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, out, metadata=metadata)
