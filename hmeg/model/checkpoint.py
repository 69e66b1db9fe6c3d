"""Our own weight files: safetensors with the configuration and free metadata in the header."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hmeg.files import write_whole

from .config import ModelConfig
from .hmeg import HMEG

FORMAT = "hmeg-weights-1"
ID_LENGTH = 12
_RESERVED = ("format", "config", "digest")


def save_weights(
    model: HMEG,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``model`` to ``path``, all of it or nothing.

    Weights are stored as ``dtype``; running statistics, few and of any magnitude, as float32. ``metadata`` (licence,
    steps, ...: text to text) comes back as ``load_weights(path).metadata``. ``ValueError`` if a weight is not finite or
    too large for ``dtype``, or if metadata uses a reserved name.
    """
    free = dict(metadata or {})
    for key, value in free.items():
        if key in _RESERVED or not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"metadata must map text to text and not use {', '.join(_RESERVED)}; got {key!r}")
    tensors = {}
    for name, value in model.state_dict().items():
        stored = value.detach().cpu()
        if stored.is_floating_point():
            stored = stored.to(torch.float32 if "running_" in name else dtype)
            if not torch.isfinite(stored).all():
                raise ValueError(f"weight {name} is not finite, or too large for {dtype}")
        tensors[name] = stored.contiguous()
    as_loaded = {key: _widened(value) for key, value in tensors.items()}
    digest = _file_digest(_digest(model.config, as_loaded), free)
    header = {"format": FORMAT, "config": model.config.to_json(), "digest": digest}
    content = save(tensors, metadata={**free, **header})
    write_whole(Path(path), content)


def load_weights(path: str | os.PathLike[str]) -> HMEG:
    """The model in a file of :func:`save_weights`: on the CPU, float32, in evaluation mode.

    ``model.metadata`` has the free metadata, ``model.weights_id`` a short hash (:func:`weights_id`). ``ValueError``,
    naming the file, for a file that is truncated, corrupt, of another kind, or whose tensors do not fit its own
    configuration; ``FileNotFoundError`` where there is none.
    """
    name = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{name}: no such weight file")
    try:
        with safe_open(name, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            if metadata.pop("format", None) != FORMAT:
                raise ValueError(f"a safetensors file, but not one of hmeg's weights (format {FORMAT})")
            config = ModelConfig.from_json(metadata.pop("config", "null"))
            tensors = {key: _widened(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 - not a dict
        expected = metadata.pop("digest", None)
        digest = _digest(config, tensors)
        if expected != _file_digest(digest, metadata):
            raise ValueError("corrupt: weights, configuration or metadata are not those that were saved")
        model = _build(config, tensors)
    except SafetensorError as error:
        raise ValueError(f"{name}: not a readable weight file, truncated or corrupt ({error})") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    model.metadata = metadata
    model.weights_id = digest[:ID_LENGTH]
    return model


def _build(config: ModelConfig, tensors: Mapping[str, Tensor]) -> HMEG:
    # On the meta device first: sizes are compared before memory is asked for.
    with torch.device("meta"):
        model = HMEG(config).float()  # as stored weights are widened, whatever torch's default type
    wanted = model.state_dict()
    problems = [f"missing {key}" for key in wanted if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in wanted]
    for key in wanted.keys() & tensors.keys():
        if tensors[key].shape != wanted[key].shape:
            problems.append(f"{key} is {tuple(tensors[key].shape)}, not {tuple(wanted[key].shape)}")
        elif tensors[key].dtype != wanted[key].dtype:
            problems.append(f"{key} is of type {tensors[key].dtype}")
    if problems:
        raise ValueError(f"weights do not fit the file's own configuration: {'; '.join(sorted(problems)[:8])}")
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(True).eval()


def weights_id(model: HMEG) -> str:
    """Twelve hexadecimal digits that depend on configuration and weights alone, not on file or metadata.

    Saving as float16 rounds the weights, so a model and its reloaded self differ unless it was loaded before.
    """
    return _digest(model.config, model.state_dict())[:ID_LENGTH]


def _widened(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def _file_digest(weights_digest: str, metadata: Mapping[str, str]) -> str:
    return hashlib.sha256(f"{weights_digest} {json.dumps(metadata, sort_keys=True)}".encode()).hexdigest()


def _digest(config: ModelConfig, state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(config.identity(), sort_keys=True).encode())
    for key, value in sorted(state.items()):
        digest.update(f"{key} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
