"""Varies images with kornia, one at a time: what comes out depends on (seed, index) alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import kornia.augmentation
import numpy as np
import torch
from kornia.geometry.transform import warp_perspective

from hmeg.streams import Purpose, stream

from .plan import GEOMETRIC, STROKES, Operation, operations
from .stroke_weight import RandomStrokeWeight

try:
    from kornia.core.exceptions import BaseError as KorniaError
except ModuleNotFoundError:
    KorniaError = Exception  # type: ignore[misc,assignment]  # before 0.9, which Python 3.10 has, its errors were bare

# kornia knows these for three channels only; a grey image is shown to them three times
_COLOUR_ONLY = frozenset({"RandomJPEG"})
_LARGEST_SHOWN = 16  # numbers of one parameter in a label; fields of noise come from the seed anyway


@dataclass(frozen=True, eq=False)
class Variation:
    """A varied image.

    array       like the image it came from, uint8
    boxes       (V, 4) float64 pixels, clipped to the image, two decimals: hulls of where the boxes' corners went
    parameters  what was done, for the label: operations in order, each with the parameters it drew
    """

    array: np.ndarray
    boxes: np.ndarray
    parameters: list[dict[str, Any]]


@dataclass(frozen=True)
class _Step:
    """An operation ready to be applied, and how often it is. Whether, is drawn here: some of kornia's operations cannot
    be left out by themselves in older versions."""

    operation: Operation
    module: torch.nn.Module
    probability: float


def vary(
    setting: str, array: np.ndarray, boxes: np.ndarray, seed: int, index: int, size: int | None = None
) -> Variation:
    """Apply the operations of a setting (:func:`hmeg.generation.augmentation.plan.chosen`) to an image.

    array  (H, W) or (H, W, 3) uint8, dark ink on light paper
    boxes  (V, 4) pixels
    size   side in pixels of the square image whose strokes are as wide as this one's; None: this one is such a square

    Geometric operations that follow each other become one mapping, so ink is interpolated once. Where it would carry a
    box out of the image, everything is moved and shrunk until it fits: labels never speak of ink that is not there.
    What comes in from outside is paper, of the image's median grey or colour.
    """
    ready = _prepared(setting, array.shape[0] if size is None else size)
    key = int(stream(seed, index, Purpose.VARIATION).integers(0, 1 << 63))
    with torch.inference_mode(), _alone(key):
        return _varied(ready, array, boxes)


def check(setting: str, size: int, channels: int) -> None:
    """``ValueError``, naming the operation, if one of a setting does not take its options or such images."""
    blank = np.full((size, size) if channels == 1 else (size, size, channels), 255, np.uint8)
    blank[size // 2] = 0
    for step in _prepared(setting, size):
        try:  # some options are only looked at when an operation is applied
            with torch.inference_mode(), _alone(0):
                _varied((replace(step, probability=1.0),), blank, np.zeros((1, 4)))
        except (ValueError, TypeError, RuntimeError, AssertionError, IndexError, KorniaError) as error:
            raise ValueError(_refused(step.operation, error)) from error


def _varied(steps: tuple[_Step, ...], array: np.ndarray, boxes: np.ndarray) -> Variation:
    image = _as_tensor(array)
    boxes = np.asarray(boxes, np.float64)
    mapping = torch.eye(3, dtype=torch.float64)
    done: list[dict[str, Any]] = []
    for step in steps:
        operation, module = step.operation, step.module
        if float(torch.rand(())) >= step.probability:
            continue
        if operation.name in GEOMETRIC:
            module(image)  # for the parameters it draws; all mappings are applied at once
            drawn_mapping = cast("torch.Tensor", module.transform_matrix)
            mapping = drawn_mapping[0].double() @ mapping
        else:
            image, boxes = _mapped(image, boxes, mapping, done)
            mapping = torch.eye(3, dtype=torch.float64)
            image = _applied(operation.name, module, image).clamp(0, 1)
        drawn = _drawn(module)
        done.append({operation.name: drawn})
        if operation.name == STROKES:
            reach = max(0.0, drawn["weight"])
            boxes = boxes + np.array([-reach, -reach, reach, reach])
    image, boxes = _mapped(image, boxes, mapping, done)
    height, width = array.shape[:2]
    return Variation(_as_array(image, array), np.round(np.clip(boxes, 0, [width, height] * 2), 2), done)


def _applied(name: str, module: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    if name in _COLOUR_ONLY and image.shape[1] == 1:
        return module(image.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
    changed: torch.Tensor = module(image)
    return changed


def _mapped(
    image: torch.Tensor, boxes: np.ndarray, mapping: torch.Tensor, done: list[dict[str, Any]]
) -> tuple[torch.Tensor, np.ndarray]:
    """Image and boxes after ``mapping`` (pixel centres, homogeneous), and after what keeps all boxes in the image."""
    if torch.equal(mapping, torch.eye(3, dtype=torch.float64)):
        return image, boxes
    height, width = image.shape[-2:]
    moved = _hulls(boxes, mapping)
    scale, shift = _fitting(moved, (width, height))
    if scale != 1 or shift.any():
        done.append({"fit": {"scale": round(scale, 6), "shift": [round(float(s), 6) for s in shift]}})
        # boxes have their origin at the corner of a pixel, mappings at its centre
        to_centre = torch.tensor([0.5 * scale - 0.5] * 2, dtype=torch.float64) + torch.from_numpy(shift)
        fit = torch.diag(torch.tensor([scale, scale, 1.0], dtype=torch.float64))
        fit[:2, 2] = to_centre
        mapping = fit @ mapping
        moved = moved * scale + np.tile(shift, 2)
    paper = image.flatten(2).median(2).values[..., None, None]
    ink = warp_perspective(paper - image, mapping[None].to(image.dtype), (height, width), align_corners=True)
    return paper - ink, moved


def _hulls(boxes: np.ndarray, mapping: torch.Tensor) -> np.ndarray:
    """(V, 4) upright boxes around where the corners of ``boxes`` go."""
    x0, y0, x1, y1 = boxes.T
    corners = np.stack([np.stack(c, -1) for c in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))], 1) - 0.5  # (V, 4, 2)
    homogeneous = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], -1) @ mapping.numpy().T
    moved = homogeneous[..., :2] / homogeneous[..., 2:] + 0.5
    return np.concatenate([moved.min(1), moved.max(1)], -1)


def _fitting(boxes: np.ndarray, size: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Scale (at most 1) and shift (2,) after which all boxes lie in an image of that size (x, y), the least of each."""
    if not len(boxes):
        return 1.0, np.zeros(2)
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    sides = np.array(size)
    scale = min(1.0, *(float(side / max(side, extent)) for side, extent in zip(size, high - low, strict=True)))
    return scale, np.maximum(0, -low * scale) - np.maximum(0, high * scale + np.maximum(0, -low * scale) - sides)


def _drawn(module: torch.nn.Module) -> dict[str, Any]:
    """The parameters an operation drew, as far as they are few numbers."""
    parameters = cast("dict[str, torch.Tensor]", module._params)
    return {
        name: _plain(value[0] if value.ndim else value)
        for name, value in parameters.items()
        if name not in ("batch_prob", "forward_input_shape", "idx") and 0 < value.numel() <= _LARGEST_SHOWN
    }


def _plain(value: torch.Tensor) -> Any:
    return np.round(value.double().numpy(), 6).tolist()


def _as_tensor(array: np.ndarray) -> torch.Tensor:
    """(1, C, H, W) in [0, 1]."""
    pixels = torch.tensor(array, dtype=torch.float32) / 255
    return (pixels[None] if array.ndim == 2 else pixels.permute(2, 0, 1))[None].contiguous()


def _as_array(image: torch.Tensor, like: np.ndarray) -> np.ndarray:
    pixels = (image[0] * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return np.ascontiguousarray(pixels[0] if like.ndim == 2 else pixels.transpose(1, 2, 0))


@lru_cache(maxsize=8)
def _prepared(setting: str, size: int) -> tuple[_Step, ...]:
    return tuple(_step(operation) for operation in operations(setting, size))


def _step(operation: Operation) -> _Step:
    kind: Callable[..., torch.nn.Module] = (
        RandomStrokeWeight if operation.name == STROKES else getattr(kornia.augmentation, operation.name)
    )
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in operation.options.items()}
    probability: Any = options.pop("p", inspect.signature(kind).parameters["p"].default)
    try:
        if isinstance(probability, bool) or not 0 <= probability <= 1:
            raise ValueError(f"p is a number from 0 to 1, not {probability!r}")
        return _Step(operation, kind(**options, p=1.0), float(probability))
    except (ValueError, TypeError, RuntimeError, AssertionError, IndexError, KorniaError) as error:
        raise ValueError(_refused(operation, error)) from error


def _refused(operation: Operation, error: Exception) -> str:
    return f"--augment: {operation.name} does not work with {operation.options}: {' '.join(str(error).split())[:300]}"


@contextmanager
def _alone(key: int) -> Iterator[None]:
    """One thread and a generator of our own, whatever else this process does with torch."""
    threads, state = torch.get_num_threads(), torch.default_generator.get_state()
    torch.set_num_threads(1)
    torch.default_generator.manual_seed(key)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
        torch.set_num_threads(threads)
