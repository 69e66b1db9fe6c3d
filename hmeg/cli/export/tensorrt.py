"""``hmeg export tensorrt``: a network as an engine for one GPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import Output, device_option, output_file, precision_option
from hmeg.precisions import SHORT, canonical

if TYPE_CHECKING:
    from hmeg.export.trt.profiles import BatchProfile


def _profiles(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[BatchProfile]:
    from hmeg.export.trt.profiles import DEFAULT_PROFILES, BatchProfile, check_profiles

    try:
        profiles = [BatchProfile.parse(value) for value in values] or list(DEFAULT_PROFILES)
        check_profiles(profiles)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return profiles


@click.command(short_help="A TensorRT engine (.engine), from ONNX or weights.")
@click.option(
    "--onnx",
    "onnx_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of `hmeg export onnx`; its types are the engine's.",
)
@click.option("--weights", metavar="NAME|PATH", help="Or weights, whose decoder is then exported on the way.")
@precision_option("With --weights; an ONNX file has one already.  [default: float32]", tuple(SHORT), default=None)
@output_file("A file ending in .engine.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    callback=_profiles,
    metavar="MIN:BEST:MAX",
    help="Batch sizes to be fast at; may be given many times.  [default: 1:1:4 and 5:32:64]",
)
@click.option("--tf32", is_flag=True, help="Let float32 products be rounded to TF32 (10 bits), TensorRT's own default.")
@click.option(
    "--timing-cache",
    type=Output(dir_okay=False, path_type=Path),
    help="Kernel timings of earlier builds, read and written.  [default: tensorrt-timings.cache beside --out]",
)
@device_option("The GPU to build on and for.", metavar="auto|cuda|cuda:1")
def command(
    onnx_path: Path | None,
    weights: str | None,
    precision: str | None,
    out: Path,
    profiles: list[BatchProfile],
    tf32: bool,
    timing_cache: Path | None,
    device: str,
) -> None:
    """Build a TensorRT engine from an ONNX file, or from weights.

    \b
      hmeg export tensorrt --weights small --precision float16 --out small.engine
      hmeg generate --weights small --decoder small.engine --random 64 --out out/r

    An engine runs on this GPU with this version of TensorRT (10 or 11) only. OUT.json beside it says what it is; keep
    the two together. TensorRT trusts engines: use those of people you trust. Needs `pip install 'hmeg[tensorrt]'` and
    an NVIDIA GPU; takes minutes, fewer with a timing cache.
    """
    if (onnx_path is None) == (weights is None):
        raise click.UsageError("give one of --onnx and --weights")
    if onnx_path is not None and precision is not None:
        raise click.UsageError(f"--precision goes with --weights; the types of {onnx_path} are what they are")
    if out.suffix != ".engine":
        raise click.UsageError(f"--out must end in .engine, got {out}")
    device = "cuda" if device == "auto" else device
    if not device.startswith("cuda"):
        raise click.UsageError(f"--device must be a GPU such as cuda or cuda:1, got {device}")

    from hmeg.export.trt.library import require_tensorrt

    with errors_in_words(out):
        require_tensorrt()
        with tempfile.TemporaryDirectory() as folder:
            if onnx_path is None:
                assert weights is not None
                onnx_path = _export(weights, precision or "float32", Path(folder))
            _build(onnx_path, out, profiles, tf32, timing_cache or out.with_name("tensorrt-timings.cache"), device)


def _export(weights: str, precision: str, folder: Path) -> Path:
    from hmeg.export.onnx_export import export_onnx
    from hmeg.weights import load_model

    model, name = load_model(weights)
    click.echo(f"exporting the decoder of {name} to ONNX, {precision}", err=True)
    export_onnx(model, folder / "decoder.onnx", precision=SHORT[precision])
    return folder / "decoder.onnx"


def _build(
    onnx_path: Path, out: Path, profiles: list[BatchProfile], tf32: bool, timing_cache: Path, device: str
) -> None:
    from hmeg.devices import select_device
    from hmeg.export.trt.build import build_engine
    from hmeg.export.trt.sidecar import sidecar_path
    from hmeg.export.trt.source import decoder_metadata

    sidecar = build_engine(
        onnx_path,
        decoder_metadata(onnx_path),
        out,
        profiles=profiles,
        timing_cache=timing_cache,
        tf32=tf32,
        device=select_device(device),
        tell=lambda message: click.echo(message, err=True),
    )
    metadata = sidecar.metadata
    click.echo(
        f"{out}: decoder of {metadata.config.name}@{metadata.weights_id}, {canonical(metadata.precision)}, "
        f"{sidecar.engine_bytes / 1e6:.1f} MB, with {sidecar_path(out).name}"
    )
