"""Two finished runs -> one weights file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from hmeg.model.checkpoint import save_weights
from hmeg.model.config import ModelConfig
from hmeg.model.generator import HMEG

from .loop import CONFIG, in_one_line, load_checkpoint


def _settings(run: Path) -> dict[str, Any]:
    """A run's settings, fit to be published: of the run it started from its name alone, no folder of this machine."""
    try:
        settings: dict[str, Any] = json.loads((run / CONFIG).read_text())
        settings["model"] = str(settings["model"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{run / CONFIG} does not hold the settings of a run: {error}") from error
    if settings.get("start_from"):
        settings["start_from"] = Path(settings["start_from"]).name
    return settings


def _load_average(run: Path, part: nn.Module) -> dict[str, Any]:
    """Loads a run's averaged weights into ``part``; returns the run's settings and step."""
    state = load_checkpoint(run)
    prefix = "module."
    try:
        average = state["objects"]["ema"]
        part.load_state_dict({k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)})
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{run} holds no weights of this model: {in_one_line(error)}") from error
    return {**_settings(run), "step": int(state["step"])}


def pack_runs(layout_run: Path, image_run: Path, out: Path, licence: str = "") -> HMEG:
    """Writes the averaged weights of both runs, with their settings, to ``out`` (safetensors, float16).

    ValueError if the runs are of different model configurations or have no checkpoint.
    """
    configured = [_settings(run)["model"] for run in (layout_run, image_run)]
    if configured[0] != configured[1]:
        raise ValueError(f"{layout_run} trains the model {configured[0]!r}, {image_run} {configured[1]!r}")
    model = HMEG(ModelConfig.named(configured[0]))
    metadata = {
        "layout_training": json.dumps(_load_average(layout_run, model.layout_generator)),
        "image_training": json.dumps(_load_average(image_run, model.image_model)),
        "licence": licence,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, out, metadata=metadata)
    return model
