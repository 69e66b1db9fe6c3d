"""What a run may start from: the weights of another run, or finished weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from hmeg.model.config import ModelConfig
from hmeg.model.hmeg import HMEG
from hmeg.model.layout import LayoutGenerator
from hmeg.weights import bundled_weights, load_model

from .checkpoints import in_one_line, load_checkpoint
from .noted_model import model_of


def weights_named(source: str) -> HMEG | None:
    """The model in a weights file, or of bundled weights of that name; None for a folder: of a run, it should be.

    A folder of that name comes first. ValueError, naming it, for what is nothing of all that, and for damaged files.
    """
    if Path(source).is_dir():
        return None
    if Path(source).exists() or source in bundled_weights():
        return load_model(source)[0]
    bundled = ", ".join(bundled_weights())
    raise ValueError(f"{source} is neither the folder of a run, nor a weights file, nor bundled weights ({bundled})")


def _check_layout(source: str, ours: ModelConfig, theirs: ModelConfig) -> None:
    """``ValueError`` if a layout generator would read noise otherwise than its weights are used to."""
    if ours.layout.shared_noise != theirs.layout.shared_noise:
        raise ValueError(
            f"{source} holds weights of another configuration: layout.shared_noise is {theirs.layout.shared_noise} "
            f"there, {ours.layout.shared_noise} here"
        )


def start_from(source: str, networks: Mapping[str, nn.Module], part: Callable[[HMEG], nn.Module]) -> None:
    """Loads weights into ``networks``, by the names that a run's checkpoint has for them.

    source  a run's folder, a weights file or the name of bundled weights. The latter two have no discriminators
    part    what of finished weights the network ``model`` is

    Discriminators that the source does not have stay as they are. ValueError if it holds no such weights.
    """
    finished, model = weights_named(source), networks["model"]
    ours = model.config if isinstance(model, (LayoutGenerator, HMEG)) else None  # of what makes boxes
    try:
        if finished is not None:
            if ours is not None:
                _check_layout(source, ours, finished.config)
            model.load_state_dict(part(finished).state_dict())
            return
        state = load_checkpoint(Path(source))
        if ours is not None:
            _check_layout(source, ours, model_of(state, ours))
        for name, network in networks.items():
            network.load_state_dict(state["objects"][name], strict=name != "discriminators")
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{source} holds weights of another configuration: {in_one_line(error)}") from error
