"""The settings of training runs: one dataclass a trainer, read from the command line and from YAML.

Nothing here imports torch before a configuration is made, so that ``hmeg train --help`` is quick.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml

from hmeg.precisions import canonical
from hmeg.strict_yaml import load_yaml

GRAMMAR = "grammar"  # unpaired expressions drawn from the bundled grammar
MODELS = ("base", "small")
FOLDERS = ("start_from", "start_layout", "start_image", "unpaired", "validation")  # settings that name files or folders
LARGEST_SEED = 2**63 - 1
LARGEST_NUMBER = 1e300  # that is as good as infinite
KEEP_IMAGES = ("auto", "device", "disk")


def setting(default: Any, description: str, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field with the text that ``--help`` shows for it, and the values it may take."""
    return field(default=default, metadata={"help": description, "choices": choices})


# Of trainers that have a choice: a field like any other.
PRECISION = setting("float32", "bfloat16 is autocast with float32 master weights.", ("float32", "bfloat16"))


@dataclass(frozen=True)
class LoopConfig:
    """Settings common to all trainers; each field's text is its entry in ``--help``.

    Raises ValueError, naming the option, for a setting that nothing can be trained with.
    """

    trainer: ClassVar[str] = ""  # the command that reads it
    formerly: ClassVar[Mapping[str, Any]] = {}  # what was done before there was a setting, where it is not the default

    steps: int = setting(100_000, "Optimisation steps in all.")
    batch_size: int = setting(8, "Expressions a step, all processes together.")
    learning_rate: float = setting(1e-4, "Adam's learning rate.")
    schedule: str = setting("constant", "Of the learning rate; cosine decays to zero.", ("constant", "cosine"))
    decay_steps: int = setting(0, "Last steps over which the cosine schedule decays; 0: all of them.")
    clip: float = setting(0.0, "Largest gradient norm of a network, larger ones are scaled down; 0: any, as published.")
    ema_decay: float = setting(0.999, "Decay per step of the averaged weights.")
    max_symbols: int = setting(60, "Leave longer expressions out.")
    matmul_precision: str = setting(
        "highest",
        "Of float32 matrix products, as torch.set_float32_matmul_precision has it: medium multiplies in bfloat16,"
        " high in TF32 (a GPU) or in 17 bits (a CPU with AMX, layouts only), where the device can.",
        ("highest", "high", "medium"),
    )
    seed: int = setting(0, "Seed of initial weights, order of the data and noise.")
    device: str = setting("auto", "Torch device: auto (the GPU if there is one), cpu, cuda or cuda:1.")
    checkpoint_every: int = setting(500, "Steps between checkpoints.")
    keep: int = setting(3, "Checkpoints kept, the latest ones.")
    tensorboard: bool = setting(False, "Write TensorBoard scalars and pictures to the run's folder.")

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, choices = getattr(self, entry.name), entry.metadata["choices"]
            _check_type(entry.name, entry.default, value)
            if choices and canonical(value) in choices:
                object.__setattr__(self, entry.name, canonical(value))
            elif choices:
                raise ValueError(f"{option(entry.name)} must be one of {', '.join(choices)}, got {value!r}")
        self._at_least(1, "steps", "batch_size", "max_symbols", "checkpoint_every", "keep")
        self._at_least(0, "decay_steps", "seed", "learning_rate", "clip")
        if self.seed > LARGEST_SEED:
            raise ValueError(f"--seed must be at most {LARGEST_SEED}, got {self.seed}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"{option('ema_decay')} must be in [0, 1), got {self.ema_decay}")
        if self.decay_steps and self.schedule == "constant":
            raise ValueError("--decay-steps needs --schedule cosine")
        from hmeg.devices import select_device

        object.__setattr__(self, "device", str(select_device(self.device)))

    def _at_least(self, least: float, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not -LARGEST_NUMBER < value < LARGEST_NUMBER:
                raise ValueError(f"{option(name)} must be a finite number, got {str(value)[:30]}")
            if value < least:
                raise ValueError(f"{option(name)} must be at least {least}, got {value}")

    def rate(self, step: int) -> float:
        """Learning rate of a step (0-based)."""
        decay = min(self.decay_steps or self.steps, self.steps)
        left = self.steps - step
        if self.schedule == "constant" or left >= decay:
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 - math.cos(math.pi * left / decay))

    @property
    def device_type(self) -> str:
        """cpu or cuda."""
        return self.device.split(":")[0]


@dataclass(frozen=True)
class ValidatedConfig(LoopConfig):
    """Settings of trainers that look at a validation set now and then."""

    validation: str = setting("", "Prepared validation set to measure on during training.")
    validate_every: int = setting(5000, "Steps between measurements on --validation.")
    validation_limit: int = setting(0, "Measure on the first expressions only; 0: on all.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "validate_every")
        self._at_least(0, "validation_limit")


@dataclass(frozen=True)
class AdversarialLayoutConfig(ValidatedConfig):
    """Settings of what the layout discriminator judges."""

    lim: bool = setting(True, "Less-is-More: the discriminator judges sampled sub-graphs instead of whole graphs.")
    unpaired: str = setting(GRAMMAR, "Expressions without handwriting: grammar, or a file of LaTeX lines.")
    unpaired_share: float = setting(0.5, "Share of the steps whose adversarial term is about unpaired expressions.")
    discriminator_weight_decay: float = setting(1e-4, "Weight decay of the layout discriminator's Adam.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.unpaired_share <= 1:
            raise ValueError(f"--unpaired-share must be in [0, 1], got {self.unpaired_share}")
        self._at_least(0, "discriminator_weight_decay")


@dataclass(frozen=True)
class LayoutTrainingConfig(AdversarialLayoutConfig):
    """Settings of layout training; the defaults are the published schedule."""

    trainer: ClassVar[str] = "layout"

    model: str = setting("base", "Model configuration.", MODELS)
    batch_size: int = setting(64, "Expressions a step, all processes together.")
    learning_rate: float = setting(5e-5, "Adam's learning rate.")
    box_weight: float = setting(10.0, "Factor of the L1 loss between generated and true boxes.")
    adversarial_weight: float = setting(
        0.2, "Factor of the least-squares adversarial losses; 0: train without a discriminator."
    )
    spread_weight: float = setting(
        0.0, "Factor of the energy score of sizes and offsets: draws differ as writers do; 0: none, as published."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(0, "box_weight", "adversarial_weight", "spread_weight")


@dataclass(frozen=True)
class ImageTrainingConfig(ValidatedConfig):
    """Settings of image training; the defaults are the published schedule."""

    trainer: ClassVar[str] = "image"

    model: str = setting("base", "Model configuration.", MODELS)
    steps: int = setting(200_000, "Optimisation steps in all.")
    start_from: str = setting(
        "", "Weights to start from: the folder of such a run, a weights file, or the name of bundled weights."
    )
    precision: str = PRECISION
    compile: bool = setting(False, "Compile the convolutional networks with torch.compile.")
    keep_images: str = setting(
        "auto", "Where images wait: on the device, on disk, or (auto) on a GPU with room for them.", KEEP_IMAGES
    )
    window: int = setting(0, "Train on square parts of this many pixels, around random symbols; 0: whole images.")
    windows_per_expression: int = setting(4, "How many such parts of every expression.")
    glyphs: str = setting(
        "modes",
        "What symbols are drawn from, in models with glyphs: the learned typical pictures (modes), or a coarse picture"
        " of each symbol's own handwriting (own), so that the decoder learns to ink pictures, not to guess.",
        ("modes", "own"),
    )
    scales: tuple[int, ...] = setting((64, 128, 256), "Resolutions with a pixel loss.")
    adversarial_scales: tuple[int, ...] = setting((64, 128, 256), "Resolutions with discriminators.")
    discriminator_width: int = setting(64, "Channels of the discriminators' first convolution.")
    pixel_loss: str = setting("l1", "l1 as published, or l2: thin strokes survive where writers differ.", ("l1", "l2"))
    pixel_weight: float = setting(1.0, "Factor of the pixel loss, summed over the resolutions.")
    box_weight: float = setting(10.0, "Factor of the squared error of the image model's own boxes.")
    mask_weight: float = setting(1.0, "Factor of the squared error of the soft masks.")
    patch_weight: float = setting(0.01, "Factor of the patch adversarial loss.")
    object_weight: float = setting(0.01, "Factor of the object adversarial loss.")
    class_weight: float = setting(0.1, "Factor of the symbols' cross-entropy on generated crops.")
    frozen_statistics_step: int = setting(
        100_000, "From this step on the generator runs with its running batch statistics and a fresh Adam."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scales", "adversarial_scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        from hmeg.model.config import ModelConfig
        from hmeg.model.discriminators import SMALLEST_IMAGE

        model = ModelConfig.named(self.model)
        resolutions = set(model.resolutions)
        if not self.scales or not set(self.scales) <= resolutions:
            raise ValueError(f"--scales must be some of the resolutions {model.resolutions}, got {self.scales}")
        if not set(self.adversarial_scales) <= set(self.scales):
            raise ValueError(f"--adversarial-scales must be some of --scales {self.scales}: {self.adversarial_scales}")
        self._at_least(1, "discriminator_width", "windows_per_expression")
        if self.glyphs == "own" and not model.glyph.channels:
            raise ValueError(f"--glyphs own is for models with glyphs, --model {self.model} has none")
        # The decoder halves a window as often as it halves an image.
        step = 2 ** (len(model.image.refinement_dims) - 1)
        if self.window % step or not 0 <= self.window <= model.image.size:
            raise ValueError(f"--window must be a multiple of {step}, at most {model.image.size}, got {self.window}")
        for scale in self.adversarial_scales if self.window else ():
            side = self.window * scale // model.image.size
            if side < SMALLEST_IMAGE:
                raise ValueError(
                    f"at --adversarial-scales {scale} critics see {side} pixels of a window, they need {SMALLEST_IMAGE}"
                )


@dataclass(frozen=True)
class JointTrainingConfig(ImageTrainingConfig, AdversarialLayoutConfig):
    """Settings of joint training; the defaults are the sum of the published losses."""

    trainer: ClassVar[str] = "joint"

    start_layout: str = setting("", "Layout weights to start from: folder of a layout run, weights file, or name.")
    start_image: str = setting("", "Image weights to start from: folder of an image run, weights file, or name.")
    layout_weight: float = setting(10.0, "Factor of the L1 loss between generated and true boxes.")
    layout_adversarial_weight: float = setting(0.2, "Factor of the layout's least-squares adversarial losses.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window:
            raise ValueError("--window is for image training: joint training draws symbols where it puts them")


@dataclass(frozen=True)
class ClassifierTrainingConfig(ValidatedConfig):
    """Settings of the symbol classifier's training; the defaults are those of the bundled one."""

    trainer: ClassVar[str] = "classifier"

    steps: int = setting(1_380, "Optimisation steps in all; an epoch of CROHME has 276.")
    batch_size: int = setting(32, "Expressions a step, with all their symbols; all processes together.")
    learning_rate: float = setting(2e-3, "Adam's learning rate.")
    schedule: str = setting("cosine", "Of the learning rate; cosine decays to zero.", ("constant", "cosine"))
    ema_decay: float = setting(0.99, "Decay per step of the averaged weights.")
    precision: str = PRECISION
    validate_every: int = setting(1000, "Steps between measurements on --validation.")


def option(name: str) -> str:
    """A field's flag on the command line."""
    return "--" + name.replace("_", "-")


Config = TypeVar("Config", bound=LoopConfig)


def resolve(config: type[Config], file: Path | None, given: Mapping[str, Any]) -> Config:
    """The configuration of a YAML file (None: the defaults) with the settings ``given`` in its place.

    ValueError for a file that is no mapping of this trainer's settings; an unknown one is named with its neighbour.
    """
    return config(**{**({} if file is None else read_settings(config, file)), **given})


def read_settings(config: type[LoopConfig], file: Path) -> dict[str, Any]:
    """The settings in a YAML file; ``trainer``, if there, must be this one's."""
    try:
        found = load_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise ValueError(f"{file} must hold settings, `name: value` a line, got {type(found).__name__}")
    trainer = found.pop("trainer", config.trainer)
    if trainer != config.trainer:
        raise ValueError(f"{file} has settings of `hmeg train {trainer}`, not of `hmeg train {config.trainer}`")
    known = {entry.name for entry in fields(config)}
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(str(name).replace("-", "_"), known, 1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{file}: `hmeg train {config.trainer}` has no setting {name!r}{hint}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def settings_of(config: LoopConfig) -> dict[str, Any]:
    """A configuration in plain values, the trainer's name first."""
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
    return {"trainer": config.trainer, **values}


def to_yaml(settings: Mapping[str, Any]) -> str:
    """Settings as YAML, in their order."""
    return yaml.safe_dump(dict(settings), sort_keys=False)


def _check_type(name: str, default: Any, value: Any) -> None:
    """YAML may hold anything: a text where a number is wanted must not get far."""
    if isinstance(default, tuple):
        good = isinstance(value, (tuple, list)) and all(type(part) is int for part in value)
        wanted = "a list of numbers"
    elif isinstance(default, float):
        good, wanted = type(value) in (int, float), "a number"
    else:
        good = type(value) is type(default)
        wanted = {bool: "true or false", int: "a whole number", str: "text"}[type(default)]
    if not good:
        raise ValueError(f"{option(name)} must be {wanted}, got {value!r}")
