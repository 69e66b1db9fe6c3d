"""An ONNX file becomes a TensorRT engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import hmeg
from hmeg.files import check_writable, write_whole

from ..errors import Unavailable
from ..metadata import ExportMetadata
from .library import indexed_gpu, last_words, new_logger, require_tensorrt, sides, tensorrt_major
from .profiles import DEFAULT_PROFILES, BatchProfile, check_profiles
from .sidecar import SUFFIX, EngineTensor, Gpu, Sidecar, write_engine

if TYPE_CHECKING:
    import tensorrt as trt


def build_engine(
    onnx_path: Path,
    metadata: ExportMetadata,
    out: Path,
    *,
    profiles: Sequence[BatchProfile] = DEFAULT_PROFILES,
    timing_cache: Path | None = None,
    tf32: bool = False,
    device: torch.device | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> Sidecar:
    """Build an engine for the GPU at hand and write it, with its sidecar, to ``out``.

    onnx_path     the network; its types are the engine's (networks are strongly typed, in TensorRT 11 always)
    metadata      what the ONNX file says of itself
    profiles      batch sizes to be fast at; one must begin at 1
    timing_cache  what TensorRT measured of its kernels in earlier builds, read if it is there and written after: the
                  next build on the same GPU takes a fraction of the time
    tf32          let float32 products be rounded to TF32 (10 bits of mantissa), as TensorRT does unless told not to
    device        the GPU to build on and for; None: the current one
    tell          called with a line for every step, and for what TensorRT complains about

    ``Unavailable`` if TensorRT or a GPU is missing, or if TensorRT cannot build this network; ``ValueError`` for
    profiles that do not serve, for a place where no file can be made and for an ONNX file that TensorRT's parser
    refuses. Takes minutes.
    """
    require_tensorrt()
    check_profiles(profiles)
    if out.suffix != SUFFIX:
        raise ValueError(f"an engine's name ends in {SUFFIX}, got {out}")
    check_writable(out)
    device = indexed_gpu(torch.device("cuda") if device is None else device)
    with torch.cuda.device(device):
        return _build(onnx_path, metadata, out, profiles, timing_cache, tf32, device, tell)


def _build(
    onnx_path: Path,
    metadata: ExportMetadata,
    out: Path,
    profiles: Sequence[BatchProfile],
    timing_cache: Path | None,
    tf32: bool,
    device: torch.device,
    tell: Callable[[str], None],
) -> Sidecar:
    import tensorrt as trt

    logger, said = new_logger()
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags())
    _parse(trt.OnnxParser(network, logger), onnx_path)
    config = builder.create_builder_config()
    if not tf32:  # TensorRT's default is on
        config.clear_flag(trt.BuilderFlag.TF32)
    _add_profiles(builder, config, network, profiles)
    if timing_cache is not None:
        tell(_use_timing_cache(config, timing_cache))
    gpu = Gpu.of(device)
    tell(f"TensorRT {trt.__version__} builds for {gpu}, batch sizes {', '.join(map(str, profiles))}; it takes minutes")
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise Unavailable(f"TensorRT cannot build {onnx_path}: {last_words(said)}")
    for message in said:
        tell(f"TensorRT: {message}")
    engine = bytes(serialized)
    sidecar = Sidecar(
        metadata=metadata,
        tensorrt=trt.__version__,
        gpu=gpu,
        tf32=tf32,
        profiles=tuple(profiles),
        tensors=_tensors(network),
        onnx_sha256=hashlib.sha256(onnx_path.read_bytes()).hexdigest(),
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        engine_bytes=len(engine),
        cuda=str(torch.version.cuda),
        torch=torch.__version__,
        hmeg=hmeg.__version__,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_engine(out, engine, sidecar)
    if timing_cache is not None:  # last: minutes of building must not be lost to a cache that cannot be written
        write_whole(timing_cache, bytes(config.get_timing_cache().serialize()))
    return sidecar


def _network_flags() -> int:
    """Strongly typed: TensorRT 10 must be told, 11 knows nothing else."""
    import tensorrt as trt

    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if tensorrt_major() == 10 else 0


def _parse(parser: trt.OnnxParser, path: Path) -> None:
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise ValueError(f"{path}: TensorRT's parser refuses it: {'; '.join(errors) or 'it does not say why'}")


def _inputs(network: trt.INetworkDefinition) -> list[trt.ITensor]:
    return [network.get_input(i) for i in range(network.num_inputs)]


def _add_profiles(
    builder: trt.Builder,
    config: trt.IBuilderConfig,
    network: trt.INetworkDefinition,
    profiles: Sequence[BatchProfile],
) -> None:
    import tensorrt as trt

    for profile in profiles:
        added = builder.create_optimization_profile()
        for tensor in _inputs(network):
            batch, *shape = sides(tensor.shape)
            if batch != -1 or -1 in shape:
                found = sides(tensor.shape)
                raise ValueError(f"input {tensor.name} is {found}: the batch, and only it, must be dynamic")
            smallest, best, largest = (trt.Dims([n, *shape]) for n in (profile.smallest, profile.best, profile.largest))
            added.set_shape(tensor.name, min=smallest, opt=best, max=largest)
        if config.add_optimization_profile(added) < 0:
            raise Unavailable(f"TensorRT refuses the profile {profile}")


def _use_timing_cache(config: trt.IBuilderConfig, path: Path) -> str:
    """Sets the cache of an earlier build, or an empty one; returns what to tell about it."""
    earlier = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(earlier)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return f"timing cache {path}: {'read' if earlier else 'new'}"
    # Another version or GPU, or damaged: the measurements in it are of no use here.
    if not config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False):
        raise Unavailable("TensorRT refuses an empty timing cache")
    return f"timing cache {path}: of another TensorRT or GPU, or damaged; it begins anew"


def _tensors(network: trt.INetworkDefinition) -> tuple[EngineTensor, ...]:
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    described = [(tensor, True) for tensor in _inputs(network)] + [(tensor, False) for tensor in outputs]
    return tuple(
        EngineTensor(tensor.name, is_input, tensor.dtype.name, sides(tensor.shape)) for tensor, is_input in described
    )
