"""A decoder becomes an AOTInductor package."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch

from hmeg.files import check_writable, write_whole
from hmeg.model import HMEG
from hmeg.model.checkpoint import weights_id

from ..decoder_part import DecoderPart, example_inputs
from ..errors import Unavailable
from ..metadata import ExportMetadata
from ..runtime import DTYPES
from .package import SUFFIX, Package, seal
from .processor import Processor

PRECISIONS = ("fp32", "bf16")
LARGEST_BATCH = 1024
_BATCH = 2  # that it is traced with; one would be taken for a constant


def release(version: str) -> str:
    """A version of torch without what follows a "+": "2.13.0+cpu" is "2.13.0"."""
    return version.split("+", 1)[0]


def build_package(
    model: HMEG, out: Path, *, precision: str = "fp32", device: torch.device | None = None, largest_batch: int = 256
) -> Package:
    """Compile the decoder of ``model`` for this machine and write it to ``out``, all of it or nothing.

    precision      "fp32" or "bf16", of arithmetic, inputs and images
    device         that the code is for; None: the CPU
    largest_batch  most images computed at a time, from 2 on; the code serves any number from 1 to it

    ``ValueError`` for another precision, batch or suffix, and for a place where no file can be made. ``Unavailable``,
    in words, where there is no compiler. Takes half a minute and more.
    """
    device = torch.device("cpu") if device is None else device
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if not _BATCH <= largest_batch <= LARGEST_BATCH:
        raise ValueError(f"the largest batch must be in {_BATCH}..{LARGEST_BATCH}, got {largest_batch}")
    if out.suffix != SUFFIX:
        raise ValueError(f"an AOTInductor package's name ends in {SUFFIX}, got {out}")
    check_writable(out)
    package = Package(
        metadata=ExportMetadata(
            weights_id=model.weights_id or weights_id(model),
            config=model.config,
            part="decoder",
            precision=precision,
            licence=model.metadata.get("licence", ""),
        ),
        device=device.type,
        largest_batch=largest_batch,
        torch=release(torch.__version__),
        processor=Processor.here(),
        gpu="" if device.type == "cpu" else "{}.{}".format(*torch.cuda.get_device_capability(device)),
    )
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / f"decoder{SUFFIX}"
        _compile(model, compiled, precision, device, largest_batch)
        seal(compiled, package)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, compiled.read_bytes())
    return package


def _compile(model: HMEG, path: Path, precision: str, device: torch.device, largest_batch: int) -> None:
    from torch._inductor.exc import InductorError

    part = DecoderPart(model).to(device, DTYPES[precision])
    inputs = {
        name: tensor.to(device, DTYPES[precision]) for name, tensor in example_inputs(model.config, _BATCH).items()
    }
    batch = torch.export.Dim("batch", min=1, max=largest_batch)
    shapes = {name: {0: batch} for name in inputs}
    options = {"cpp.dynamic_threads": True}  # as many as torch uses where it runs, not where it was compiled
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch to itself
            exported = torch.export.export(part, tuple(inputs.values()), dynamic_shapes=shapes)
            torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs=options)
    except InductorError as error:
        raise Unavailable(
            f"AOTInductor cannot compile the decoder here: {first_line(error)}. It needs a C++ compiler: g++, or what "
            "the environment variable CXX names"
        ) from error


def first_line(error: Exception) -> str:
    """What an error of the compiler says first; all of it is thousands of lines."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
