"""``hmeg info``: what is installed, how it was built, what runs here and which weights there are."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import click

_LIBRARIES = ("torch", "triton", "numpy", "pillow", "latex2mathml", "safetensors")


def collect() -> dict[str, Any]:
    """Everything ``hmeg info`` tells, fit for JSON.

    version, python, platform, libraries (name -> version or None), build (``hmeg._C.build_info()``, or ``{"missing":
    reason}``), gpus (names), backends (:func:`hmeg.backends.explain`), weights (name -> bytes, id, configuration and
    metadata, or ``{"damaged": reason}``).
    """
    import torch

    import hmeg
    from hmeg import backends

    return {
        "version": hmeg.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "build": _build(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "backends": {name: dict(status) for name, status in backends.explain().items()},
        "weights": _weights(),
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option("--symbols", is_flag=True, help="The table of symbols instead, and which of them all weights know.")
def command(as_json: bool, symbols: bool) -> None:
    """Version, build, backends with the reasons where one cannot run, and the weights that are bundled."""
    if symbols:
        known = symbol_records()
        click.echo(json.dumps(known, indent=2, ensure_ascii=False) if as_json else "\n".join(_symbol_lines(known)))
        return
    found = collect()
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_text(found)))


def symbol_records() -> list[dict[str, Any]]:
    """The table of symbols, fit for JSON: name, kind, characters, spellings, id, and whether it is one of CROHME's."""
    from hmeg.graph.vocabulary import Vocabulary

    crohme = Vocabulary.crohme()
    return [
        {
            "id": number,
            "name": symbol.name,
            "kind": symbol.kind,
            "characters": symbol.characters,
            "spellings": list(symbol.spellings),
            "crohme": symbol.name in crohme,
        }
        for number, symbol in enumerate(Vocabulary.open(), start=1)
    ]


def _symbol_lines(symbols: list[dict[str, Any]]) -> Iterator[str]:
    of_all = sum(symbol["crohme"] for symbol in symbols)
    yield f"{len(symbols)} symbols can be read; the first {of_all} are CROHME's, which all weights know"
    yield f"{'id':>4}  {'name':<22}{'kind':<13}also"
    for symbol in symbols:
        also = " ".join([*symbol["characters"], *symbol["spellings"]])
        yield f"{symbol['id']:>4}  {symbol['name']:<22}{symbol['kind']:<13}{also}".rstrip()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _build() -> dict[str, Any]:
    try:
        extension = importlib.import_module("hmeg._C")
    except ImportError as error:
        return {"missing": f"the native extension hmeg._C cannot be imported ({error}); `pip install .` builds it"}
    return dict(extension.build_info())


def _weights() -> dict[str, dict[str, Any]]:
    from hmeg.model.checkpoint import load_weights
    from hmeg.weights import bundled_weights, weights_file

    found: dict[str, dict[str, Any]] = {}
    for name in bundled_weights():
        with weights_file(name) as path:
            try:
                model = load_weights(path)
            except ValueError as error:
                found[name] = {"damaged": str(error)}
                continue
            found[name] = {
                "bytes": path.stat().st_size,
                "id": model.weights_id,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "config": json.loads(model.config.to_json()),
                "metadata": model.metadata,
            }
    return found


def _text(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"hmeg {found['version']}"
    libraries = [f"{name} {version}" for name, version in found["libraries"].items() if version]
    absent = [name for name, version in found["libraries"].items() if not version]
    yield f"  python {found['python']} on {found['platform']}"
    yield f"  {', '.join(libraries)}" + (f"; not installed: {', '.join(absent)}" if absent else "")
    yield f"  GPUs: {', '.join(found['gpus']) or 'none'}"

    yield "\nbuild"
    for name, value in found["build"].items():
        shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        yield f"  {name:<14}{shown or 'none'}"

    yield "\nbackends"
    for name, status in found["backends"].items():
        state = status["details"] or "available" if status["available"] else f"not available: {status['reason']}"
        yield f"  {name:<14}{state}"
        if status["available"]:
            yield f"  {'':<14}operators: {', '.join(status['operators']) or 'none'}"

    yield "\nweights"
    if not found["weights"]:
        yield "  none bundled; `hmeg train` makes some"
    for name, weights in found["weights"].items():
        if "damaged" in weights:
            yield f"  {name:<14}damaged: {weights['damaged']}"
            continue
        size = f"{weights['bytes'] / 1e6:.1f} MB, {weights['parameters']:,} parameters"
        yield f"  {name:<14}{size}, id {weights['id']}"
        for key, value in weights["metadata"].items():
            yield from textwrap.wrap(
                f"{key}: {_settings(value)}", 110, initial_indent=" " * 16, subsequent_indent=" " * 18
            )


def _settings(value: str) -> str:
    """Training settings, kept as a JSON object, as words; any other text as it is."""
    try:
        settings = json.loads(value)
    except ValueError:
        return value
    if not isinstance(settings, dict):
        return value
    return ", ".join(f"{name} {_word(setting)}" for name, setting in settings.items())


def _word(setting: object) -> str:
    return " ".join(map(str, setting)) or "none" if isinstance(setting, list) else str(setting)
