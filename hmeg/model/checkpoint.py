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

from .config import ModelConfig
from .generator import HMEG

FORMAT = "hmeg-weights-1"
_RESERVED = ("format", "config")


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
            raise ValueError(f"metadata must map text to text and not use {' or '.join(_RESERVED)}; got {key!r}")
    tensors = {}
    for name, value in model.state_dict().items():
        stored = value.detach().cpu()
        if stored.is_floating_point():
            stored = stored.to(torch.float32 if "running_" in name else dtype)
            if not torch.isfinite(stored).all():
                raise ValueError(f"weight {name} is not finite, or too large for {dtype}")
        tensors[name] = stored.contiguous()
    content = save(tensors, metadata={**free, "format": FORMAT, "config": model.config.to_json()})
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    os.replace(partial, path)


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
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        model = _build(config, tensors)
    except SafetensorError as error:
        raise ValueError(f"{name}: not a readable weight file, truncated or corrupt ({error})") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    model.metadata = metadata
    model.weights_id = weights_id(model)
    return model


def _build(config: ModelConfig, tensors: Mapping[str, Tensor]) -> HMEG:
    # On the meta device first: sizes are compared before memory is asked for.
    with torch.device("meta"):
        model = HMEG(config)
    wanted = model.state_dict()
    problems = [f"missing {key}" for key in wanted if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in wanted]
    for key in wanted.keys() & tensors.keys():
        if tensors[key].shape != wanted[key].shape:
            problems.append(f"{key} is {tuple(tensors[key].shape)}, not {tuple(wanted[key].shape)}")
        elif tensors[key].is_floating_point() != wanted[key].is_floating_point():
            problems.append(f"{key} is of type {tensors[key].dtype}")
    if problems:
        raise ValueError(f"weights do not fit the file's own configuration: {'; '.join(sorted(problems)[:8])}")
    model.load_state_dict({key: value.to(wanted[key].dtype) for key, value in tensors.items()}, assign=True)
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"weight {key} is not finite")
    return model.requires_grad_(True).eval()


def weights_id(model: HMEG) -> str:
    """Twelve hexadecimal digits that depend on configuration and weights alone, not on file or metadata."""
    digest = hashlib.sha256(json.dumps(json.loads(model.config.to_json()), sort_keys=True).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
