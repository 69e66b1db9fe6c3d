"""The JSON file beside an engine: what the engine is, so that a wrong one is refused before TensorRT reads it.

An engine file is code for one GPU model and one version of TensorRT. TensorRT does not check what it is given as
carefully as an untrusted file would need, so nothing reaches it whose digest is not the one written down here. That
catches damage and mistakes, not malice: who can change an engine can change its sidecar. Use engines of people you
trust only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hmeg.files import write_whole
from hmeg.model.composition import decoder_input_shapes

from ..metadata import ExportMetadata
from ..runtime import image_name
from .profiles import BatchProfile, check_profiles

FORMAT = "hmeg-engine-1"
SUFFIX = ".engine"
TYPES = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16"}  # precision -> name of TensorRT's data type
REBUILD = "`hmeg export tensorrt` builds one for this machine"


@dataclass(frozen=True)
class Gpu:
    """The GPU that an engine is for, as torch calls it, and its compute capability ("9.0")."""

    name: str
    capability: str

    @classmethod
    def of(cls, device: torch.device) -> Gpu:
        major, minor = torch.cuda.get_device_capability(device)
        return cls(torch.cuda.get_device_name(device), f"{major}.{minor}")

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.capability})"


@dataclass(frozen=True)
class EngineTensor:
    """An input or output: its name, its TensorRT type ("FLOAT", "HALF", "BF16"), its shape with -1 for the batch."""

    name: str
    is_input: bool
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Sidecar:
    """What an engine is.

    metadata    which network of which weights
    tensorrt    version that built it, all four numbers
    gpu         that it was built on
    tf32        whether float32 products may be rounded to TF32
    profiles    batch sizes it was made for
    tensors     inputs and outputs
    onnx_sha256, engine_sha256, engine_bytes   of the file it was built from, and of the engine
    cuda, torch, hmeg                          versions it was built with
    """

    metadata: ExportMetadata
    tensorrt: str
    gpu: Gpu
    tf32: bool
    profiles: tuple[BatchProfile, ...]
    tensors: tuple[EngineTensor, ...]
    onnx_sha256: str
    engine_sha256: str
    engine_bytes: int
    cuda: str
    torch: str
    hmeg: str

    def to_json(self) -> str:
        """For the file; :func:`read_sidecar` reads it."""
        plain = {**asdict(self), "metadata": self.metadata.to_text()}
        return json.dumps({"format": FORMAT, **plain}, indent=1) + "\n"


def sidecar_path(engine: str | os.PathLike[str]) -> Path:
    """Where the sidecar of an engine is: ``model.engine.json`` beside ``model.engine``."""
    path = Path(engine)
    return path.with_name(path.name + ".json")


def write_engine(path: Path, engine: bytes | memoryview, sidecar: Sidecar) -> None:
    """Both files. Each appears whole or not at all; between the two, the digest tells that they do not belong."""
    write_whole(path, bytes(engine))
    write_whole(sidecar_path(path), sidecar.to_json().encode())


def read_sidecar(engine: str | os.PathLike[str]) -> Sidecar:
    """``ValueError``, naming the sidecar, if it is missing or is none of ours."""
    path = sidecar_path(engine)
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"{os.fspath(engine)}: its sidecar {path.name} is missing, so nobody knows which weights, TensorRT and GPU "
            f"it is for; copy both files, or {REBUILD}"
        ) from None
    except ValueError:
        raise ValueError(f"{path}: not the sidecar of an engine: it is not JSON") from None
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise ValueError(f"{path}: not the sidecar of an engine of hmeg's (of the format {FORMAT})")
    try:
        metadata = dict(values.pop("metadata"))
        rest = _rest(values)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: damaged, or of another version of hmeg ({error})") from None
    return Sidecar(metadata=ExportMetadata.from_text(metadata, str(path)), **rest)


def _rest(values: dict[str, Any]) -> dict[str, Any]:
    """What is not metadata, in the types of :class:`Sidecar`."""
    profiles = tuple(BatchProfile(**profile) for profile in values["profiles"])
    check_profiles(profiles)
    tensors = tuple(
        EngineTensor(str(t["name"]), bool(t["is_input"]), str(t["dtype"]), tuple(int(side) for side in t["shape"]))
        for t in values["tensors"]
    )
    texts = ("tensorrt", "onnx_sha256", "engine_sha256", "cuda", "torch", "hmeg")
    return {
        **{key: str(values[key]) for key in texts},
        "gpu": Gpu(str(values["gpu"]["name"]), str(values["gpu"]["capability"])),
        "tf32": bool(values["tf32"]),
        "profiles": profiles,
        "tensors": tensors,
        "engine_bytes": int(values["engine_bytes"]),
    }


def checked_engine(path: str | os.PathLike[str], tensorrt: str, gpu: Gpu) -> tuple[Sidecar, bytes]:
    """Sidecar and content of an engine that this version of TensorRT may read for this GPU.

    ``FileNotFoundError`` where there is no engine; ``ValueError``, naming the file, for one whose sidecar is missing or
    damaged, that is truncated, not the one that was built, or made for another version or GPU. TensorRT has seen
    nothing of it then.
    """
    name = os.fspath(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{name}: no such engine")
    sidecar = read_sidecar(path)
    problems = []
    if sidecar.tensorrt != tensorrt:
        problems.append(f"with TensorRT {sidecar.tensorrt}, and here is {tensorrt}")
    if sidecar.gpu != gpu:
        problems.append(f"for {sidecar.gpu}, and here is {gpu}")
    if problems:
        raise ValueError(f"{name}: built {'; '.join(problems)}. Engines do not travel: {REBUILD}")
    content = Path(path).read_bytes()
    if len(content) != sidecar.engine_bytes:
        raise ValueError(f"{name}: {len(content)} bytes, not the {sidecar.engine_bytes} that were built; truncated?")
    if hashlib.sha256(content).hexdigest() != sidecar.engine_sha256:
        raise ValueError(f"{name}: not the engine that was built: {sidecar_path(path).name} has another sha256")
    return sidecar, content


def check_tensors(name: str, metadata: ExportMetadata, found: Sequence[EngineTensor]) -> None:
    """``ValueError`` unless an engine's inputs and outputs are those of the decoder it is said to be."""
    config, dtype = metadata.config, TYPES[metadata.precision]
    wanted = {(key, True): shape for key, shape in decoder_input_shapes(config).items()}
    wanted |= {(image_name(r), False): (config.image.channels, r, r) for r in config.resolutions}
    there = {(tensor.name, tensor.is_input): tensor for tensor in found}
    for (key, is_input), shape in wanted.items():
        tensor = there.pop((key, is_input), None)
        if tensor is None or tensor.dtype != dtype or tensor.shape != (-1, *shape):
            what = "missing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
            raise ValueError(
                f"{name}: {'input' if is_input else 'output'} {key} should be {dtype} {(-1, *shape)}, and is {what}"
            )
    if there:
        raise ValueError(f"{name}: has more inputs or outputs than its decoder: {', '.join(key for key, _ in there)}")
