"""Checkpoints of CAN: the authors', those of ``hmeg train can``, and what it writes at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmeg.devices import select_device
from hmeg.model.safe_pickle import read_pickle
from hmeg.training.checkpoints import checkpoints, in_one_line, save_tensors

from .config import CanConfig
from .model import CAN
from .preparation import Preparation
from .recogniser import Recogniser
from .words import Words, read_words

FORMAT = "hmeg-can-1"
BEST, LAST = "best.pt", "last.pt"
_WANTED = f"give a run of `hmeg train can`, its {BEST} or {LAST}, or a checkpoint of CAN's authors"
_WRAPPED = "module."  # DataParallel's, in front of every key


class Facts:
    """What a checkpoint says beside the weights; saved with every checkpoint of a run, and compared on going on.

    isolated  whether it was trained as if each image were alone in its batch; checkpoints that do not say were not
    """

    def __init__(self, words: Words, preparation: Preparation, isolated: bool = False) -> None:
        self.words, self.preparation, self.isolated = words, preparation, isolated

    def state_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "words": list(self.words.words),
            "preparation": asdict(self.preparation),
            "isolated": self.isolated,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """ValueError for other facts than these."""
        if {"isolated": False, **state} != self.state_dict():
            raise ValueError("it was trained with another dictionary or on otherwise prepared images")


def save(path: Path, model: CAN, facts: Facts) -> None:
    """Writes weights and facts to a file, all of it or nothing: the authors' form, with our facts beside ``model``."""
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, {"model": state, **facts.state_dict()})


def load(
    path: str | os.PathLike[str],
    device: str = "auto",
    words: str | os.PathLike[str] | None = None,
    precision: str = "float32",
) -> Recogniser:
    """The recogniser in a checkpoint.

    path    a file of ``hmeg train can`` or of the authors' (a dict with the key ``model``), or a run's folder: then its
            best.pt, else its last.pt, else its latest checkpoint
    device  auto, cpu, cuda or cuda:1
    words   dictionary file, for checkpoints that hold none (the authors' do not)
    Nothing in the file is run. ValueError of one line, naming the file, for one that is foreign, damaged or misfitting.
    """
    file = file_of(Path(path))
    where = select_device(device)
    content = _read(file)
    if isinstance(content.get("objects"), Mapping):  # a checkpoint to go on from
        objects = content["objects"]
        averaged = objects.get("ema")
        state = averaged.get("weights") if isinstance(averaged, Mapping) else None
        facts = objects.get("facts")
    else:
        state, facts = content.get("model"), content
    weights = _weights(state, file)
    config = _config(weights, file)
    model = CAN(config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{file}: the weights do not fit together ({in_one_line(error)})") from None
    dictionary, preparation = _facts(facts, file, words)
    if len(dictionary) != config.words:
        raise ValueError(f"{file} knows {config.words} words, {words or 'its dictionary'} has {len(dictionary)}")
    return Recogniser(model.to(where), dictionary, preparation, precision)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return read_pickle(file)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror or error}; {_WANTED}") from None
    except ValueError as error:
        raise ValueError(f"{error}; {_WANTED}") from None


def file_of(path: Path) -> Path:
    """The file that :func:`load` reads for ``path``."""
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).exists():
            return path / name
    if found := checkpoints(path):
        return found[-1]
    raise ValueError(f"{path} holds no checkpoint of hmeg train can ({BEST}, {LAST} or checkpoint-*.pt); {_WANTED}")


def _weights(state: Any, file: Path) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{file} is no checkpoint of CAN: no tensors by name under the key 'model'; {_WANTED}")
    return {str(name).removeprefix(_WRAPPED): value for name, value in state.items()}


def _config(weights: Mapping[str, Tensor], file: Path) -> CanConfig:
    """The sizes of the network that the weights are of, by their shapes."""

    def shape(name: str, dimensions: int) -> torch.Size:
        if name not in weights or weights[name].ndim != dimensions:
            raise ValueError(f"{file} is no checkpoint of CAN: {name} is missing or of another shape; {_WANTED}")
        return weights[name].shape

    words, hidden = shape("decoder.embedding.weight", 2)
    layers = 0
    while f"encoder.dense1.{layers}.conv2.weight" in weights:
        layers += 1
    growth = shape("encoder.dense1.0.conv2.weight", 4)[0]
    attention = shape("decoder.encoder_feature_conv.weight", 4)[0]
    counting = shape("counting_decoder1.trans_layer.0.weight", 4)[0]
    try:
        return CanConfig(words, growth, layers, hidden, attention, counting)
    except ValueError as error:
        raise ValueError(f"{file} is no checkpoint of CAN that can be read here: {error}") from None


def _facts(facts: Any, file: Path, words: str | os.PathLike[str] | None) -> tuple[Words, Preparation]:
    if not isinstance(facts, Mapping) or facts.get("format") != FORMAT:
        if words is None:
            raise ValueError(f"{file} holds no dictionary: give the words_dict.txt it was trained with (--words)")
        return read_words(Path(words)), Preparation()
    try:
        own = Words([str(word) for word in facts["words"]], f"the dictionary in {file}")
        preparation = Preparation(**facts["preparation"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged: {error!r}") from None
    if words is not None and read_words(Path(words)) != own:
        raise ValueError(f"{file} holds a dictionary of its own, and {words} is another; leave --words out")
    return own, preparation
