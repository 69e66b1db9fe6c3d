"""Writes a model, or its decoder, as one ONNX file of standard operators."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hmeg.files import check_writable, partial
from hmeg.graph import SymbolGraph
from hmeg.model import HMEG
from hmeg.model.checkpoint import weights_id

from .decoder_part import DecoderPart, example_inputs
from .dense import DensePipeline
from .errors import Unavailable
from .metadata import ExportMetadata
from .padding import padded
from .runtime import DTYPES, image_name
from .seal import sealed

if TYPE_CHECKING:
    import onnx

SUFFIX = ".onnx"
OPSET = 18
OPSET_BF16 = 22  # the first in which convolutions may be of bfloat16
LARGEST_BATCH = 4096
_LARGEST_FILE = 2**31 - 2**20  # what a protocol buffer holds, and some room for the graph
_BATCH, _SYMBOLS = 3, 2  # of the inputs that the graph is traced with; 0 and 1 would be taken for constants


@dataclass(frozen=True)
class Traceable:
    """A module with what torch.export wants to know of it."""

    module: nn.Module
    inputs: dict[str, Tensor]
    dynamic: dict[str, dict[int, Any]]
    outputs: list[str]


def export_onnx(
    model: HMEG,
    path: str | os.PathLike[str],
    *,
    part: str = "decoder",
    precision: str = "fp32",
    max_symbols: int = 64,
    check: Callable[[Path], object] | None = None,
) -> ExportMetadata:
    """Writes ``model`` to one ONNX file: all of it or nothing.

    part         "decoder": inputs and outputs of :mod:`hmeg.export.runtime`; "full": those of
                 :class:`hmeg.export.dense.DensePipeline`, boxes called ``boxes_drawn`` where they come out
    precision    "fp32", "fp16" or "bf16": the type of upsampler and decoder, and of the tensors they read and give.
                 Graph networks, boxes and masks of "full" are float32 always: they are a small share of the work, and
                 a box that is off by a thousandth of the image shows
    max_symbols  most symbols of an expression, for "full"
    check        called with the file before it appears at ``path``; what it raises leaves nothing there
    The batch is dynamic, from 1 on; for "full" so are the symbols, from 1 to ``max_symbols``.

    Folders that are not there are made. ``ValueError`` for a name that does not end in .onnx, for a place where no file
    can be made and for a model beyond the 2 GB that one ONNX file holds; ``Unavailable``, naming the extra that brings
    it, where a library is missing.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"{path}: the name of an ONNX file must end in {SUFFIX}")
    check_writable(path)
    for library in ("onnx", "onnxscript"):
        if importlib.util.find_spec(library) is None:
            raise Unavailable(f"{library} is not installed: pip install 'hmeg[onnx]'")
    metadata = ExportMetadata(
        weights_id=model.weights_id or weights_id(model),
        config=model.config,
        part=part,
        precision=precision,
        licence=model.metadata.get("licence", ""),
        max_symbols=max_symbols if part == "full" else None,
    )
    traceable = _full(model, precision, max_symbols) if part == "full" else _decoder(model, precision)
    size = sum(tensor.nbytes for tensor in traceable.module.state_dict().values())
    if size > _LARGEST_FILE:
        raise ValueError(f"{path}: {size / 1e9:.1f} GB of weights; one ONNX file holds 2 GB. Try --precision float16")
    content = sealed(_as_onnx(traceable, metadata).SerializeToString())
    path.parent.mkdir(parents=True, exist_ok=True)
    part_path = partial(path)
    try:
        part_path.write_bytes(content)
        if check is not None:
            check(part_path)
        os.replace(part_path, path)
    except BaseException:
        part_path.unlink(missing_ok=True)
        raise
    return metadata


def _decoder(model: HMEG, precision: str) -> Traceable:
    dtype = DTYPES[precision]
    module = DecoderPart(model, merged=False).to(dtype)
    inputs = {name: value.to(dtype) for name, value in example_inputs(model.config, _BATCH).items()}
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    return Traceable(module, inputs, {name: {0: batch} for name in inputs}, _images(model))


def _full(model: HMEG, precision: str, max_symbols: int) -> Traceable:
    dtype = DTYPES[precision]
    module = DensePipeline(model, merged=False)
    module.decoder.to(dtype)
    arrays = padded([SymbolGraph(("x",))] * _BATCH, model.config, seed=0, symbols=_SYMBOLS)
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    inputs["image_noise"] = inputs["image_noise"].to(dtype)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    symbols = torch.export.Dim("symbols", min=1, max=max_symbols)
    per_symbol = {name: {1: symbols} for name in inputs if name not in ("counts", "image_noise", "boxes_given")}
    per_symbol["relations"][2] = symbols
    dynamic = {name: {0: batch, **per_symbol.get(name, {})} for name in inputs}
    return Traceable(module, inputs, dynamic, ["boxes_drawn", "masks", *_images(model)])


def _images(model: HMEG) -> list[str]:
    return [image_name(size) for size in model.config.resolutions]


def _as_onnx(traceable: Traceable, metadata: ExportMetadata) -> onnx.ModelProto:
    import onnx

    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            traceable.module.eval(),
            kwargs=traceable.inputs,
            dynamo=True,
            dynamic_shapes=traceable.dynamic,
            input_names=list(traceable.inputs),
            output_names=traceable.outputs,
            opset_version=OPSET_BF16 if metadata.precision == "bf16" else OPSET,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _forget_source(model)
    model.producer_name, model.producer_version = "hmeg", metadata.hmeg_version
    onnx.helper.set_model_props(model, metadata.to_text())
    onnx.checker.check_model(model, full_check=True)
    return model


def _forget_source(model: onnx.ModelProto) -> None:
    """Drops what the exporter notes of Python sources: stack traces with paths of this machine."""
    graph = model.graph
    for noted in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks on its own optimisations, and on torchvision, tell nothing to whoever exports a model."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*axis name.*", category=UserWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
