"""What is done to images: a preset by name, or operations from a YAML file. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmeg.quoting import quoted

NONE = "none"

# Only what leaves the formula what it is, and where boxes can follow: no crops, no flips.
GEOMETRIC = ("RandomAffine", "RandomPerspective", "RandomRotation", "RandomShear", "RandomTranslate")
STROKES = "RandomStrokeWeight"
INTENSITY = (
    "RandomAutoContrast",
    "RandomBoxBlur",
    "RandomBrightness",
    "RandomContrast",
    "RandomGamma",
    "RandomGaussianBlur",
    "RandomGaussianIllumination",
    "RandomGaussianNoise",
    "RandomJPEG",
    "RandomLinearCornerIllumination",
    "RandomLinearIllumination",
    "RandomMedianBlur",
    "RandomMotionBlur",
    "RandomPlasmaBrightness",
    "RandomPlasmaContrast",
    "RandomPlasmaShadow",
    "RandomPosterize",
    "RandomSaltAndPepperNoise",
    "RandomSharpness",
)
OPERATIONS = (*GEOMETRIC, STROKES, *INTENSITY)
_LONGEST_FILE = 1 << 16


@dataclass(frozen=True)
class Operation:
    """One operation by the name of its class in kornia.augmentation (or ours), and the arguments of that class."""

    name: str
    options: dict[str, Any]


def chosen(text: str) -> str:
    """What ``--augment`` was given, as settings keep it: the name of a preset, or a file's operations as JSON.

    ``ValueError``, naming the file, for one that holds no list of operations.
    """
    if text == NONE or text in PRESETS:
        return text
    path = Path(text)
    if not path.is_file():
        wanted = f"one of {', '.join((NONE, *PRESETS))} or a YAML file"
        raise ValueError(f"--augment is {wanted}; there is no file {quoted(text)}")
    return json.dumps([{op.name: op.options} for op in _from_yaml(path)])


def operations(setting: str, size: int) -> list[Operation]:
    """The operations that a setting (see :func:`chosen`) stands for, on images of ``size`` pixels a side.

    size  of an image of another shape: of the square whose strokes are as wide as the image's
    """
    if setting == NONE:
        return []
    if setting in PRESETS:
        return PRESETS[setting](size)
    return [Operation(name, options) for one in json.loads(setting) for name, options in one.items()]


def _from_yaml(path: Path) -> list[Operation]:
    import yaml

    from hmeg.strict_yaml import load_yaml

    if path.stat().st_size > _LONGEST_FILE:
        raise ValueError(f"{path} is longer than {_LONGEST_FILE} bytes: no list of operations")
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, list) or not values:
        raise ValueError(f"{path} should hold a list of operations, such as `- RandomAffine: {{degrees: 2}}`")
    return [_operation(path, number, value) for number, value in enumerate(values, start=1)]


def _operation(path: Path, number: int, value: Any) -> Operation:
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"{path}: operation {number} should be a name, or `name: {{option: value}}`, not {value!r}")
    ((name, options),) = value.items()
    if name not in OPERATIONS:
        raise ValueError(f"{path}: operation {number}, {name!r}, is none of {', '.join(OPERATIONS)}")
    options = {} if options is None else options
    if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        raise ValueError(f"{path}: {name} needs options by name, not {options!r}")
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(
            f"{path}: options of {name} may be numbers, texts and lists of them, not {options!r}"
        ) from None
    return Operation(name, options)


def _light(size: int) -> list[Operation]:
    pixel = size / 256
    return [
        # shear_x is the slant; its mean of zero keeps as many hands leaning left as right
        Operation("RandomAffine", {"degrees": 3.0, "shear": [-14.0, 14.0], "scale": [0.75, 1.05], "p": 1.0}),
        Operation(STROKES, {"weight": [-0.8 * pixel, 1.2 * pixel], "p": 1.0}),
    ]


def _paper(size: int) -> list[Operation]:
    pixel = size / 256
    return [
        *_light(size),
        Operation(
            "RandomGaussianBlur", {"kernel_size": _odd(5 * pixel), "sigma": [0.3 * pixel, 0.8 * pixel], "p": 0.5}
        ),
        Operation("RandomBrightness", {"brightness": [1.0, 1.25], "p": 0.7}),  # paler ink on the same paper
        Operation("RandomContrast", {"contrast": [0.88, 1.0], "p": 0.8}),  # kornia's: darker paper
        Operation("RandomPlasmaBrightness", {"roughness": [0.1, 0.4], "intensity": [0.02, 0.12], "p": 0.7}),
        Operation("RandomLinearIllumination", {"gain": [0.02, 0.12], "sign": [-1.0, -1.0], "p": 0.5}),
        Operation("RandomGaussianNoise", {"std": 0.02, "p": 1.0}),
    ]


def _camera(size: int) -> list[Operation]:
    pixel = size / 256
    return [
        *_light(size),
        Operation("RandomPerspective", {"distortion_scale": 0.25, "p": 0.8}),
        Operation("RandomBrightness", {"brightness": [1.0, 1.15], "p": 0.7}),
        Operation("RandomContrast", {"contrast": [0.65, 0.95], "p": 1.0}),
        Operation("RandomPlasmaShadow", {"roughness": [0.05, 0.2], "shade_intensity": [-0.2, -0.05], "p": 0.4}),
        Operation("RandomLinearCornerIllumination", {"gain": [0.05, 0.3], "sign": [-1.0, -1.0], "p": 0.7}),
        Operation("RandomGaussianIllumination", {"gain": [0.05, 0.25], "sign": [-1.0, 1.0], "p": 0.4}),
        Operation(
            "RandomGaussianBlur", {"kernel_size": _odd(7 * pixel), "sigma": [0.4 * pixel, 1.4 * pixel], "p": 0.6}
        ),
        Operation(
            "RandomMotionBlur",
            {
                "kernel_size": _odd(5 * pixel),
                "angle": 180.0,
                "direction": [-0.5, 0.5],
                "border_type": "replicate",
                "p": 0.3,
            },
        ),
        Operation("RandomGaussianNoise", {"std": 0.03, "p": 0.8}),
        Operation("RandomJPEG", {"jpeg_quality": [35.0, 85.0], "p": 0.8}),
    ]


def _odd(pixels: float) -> int:
    """The odd number nearest to ``pixels``, from 3 on: what filters have for a width."""
    return max(3, 2 * math.floor(pixels / 2) + 1)


PRESETS: dict[str, Callable[[int], list[Operation]]] = {"light": _light, "paper": _paper, "camera": _camera}
