"""The settings of ``hmeg train can``. Imports no torch before a configuration is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hmeg.training.settings import PRECISION, ValidatedConfig, option, setting

from .config import CanConfig
from .preparation import KEEP, Preparation


@dataclass(frozen=True)
class CanTrainingConfig(ValidatedConfig):
    """Settings of the recogniser's training; the defaults are the published ones."""

    trainer: ClassVar[str] = "can"
    formerly: ClassVar[Mapping[str, Any]] = {"isolate": "never"}

    steps: int = setting(265_000, "Optimisation steps in all; 265000 are 240 passes over CROHME, as published.")
    epochs: int = setting(0, "Passes over the data, in place of --steps; 0: as many as --steps makes.")
    batch_size: int = setting(8, "Images a step.")
    learning_rate: float = setting(1.0, "Adadelta's factor.")
    schedule: str = setting("cosine", "Of the learning rate; cosine decays to zero.", ("constant", "cosine"))
    warmup_epochs: float = setting(1.0, "Passes over the data in which the learning rate rises from zero.")
    epsilon: float = setting(1e-6, "Adadelta's eps.")
    weight_decay: float = setting(1e-4, "Weight decay.")
    clip: float = setting(100.0, "Largest gradient norm, larger ones are scaled down; 0: any.")
    ema_decay: float = setting(0.0, "Decay per step of the averaged weights that are evaluated; 0: no averaging.")
    max_symbols: int = setting(200, "Leave expressions of more tokens out (those that leave ink).")
    growth: int = setting(24, "Channels that each layer of the encoder adds.")
    layers: int = setting(16, "Layers in each of the encoder's three dense blocks.")
    hidden: int = setting(256, "Size of the decoder's state.")
    attention: int = setting(512, "Channels of the attention's keys; a multiple of 4.")
    counting: int = setting(512, "Channels in the counting modules; a multiple of 16.")
    dropout: float = setting(0.5, "Share dropped before the decoder's last layer.")
    encoder_dropout: float = setting(0.2, "Share dropped after each convolution of the encoder.")
    mask_labels: bool = setting(False, "Leave what labels are filled up with out of the word loss (published: not).")
    trim: int = setting(KEEP, "Cut paper away, but for this many pixels around the ink; -1: keep images as they are.")
    shrink: int = setting(1, "Average squares of this many pixels a side into one: 2 makes everything about 4x faster.")
    isolate: str = setting(
        "auto",
        "Hide from every image what fills its batch up to the largest one, as reading does: always, never (as"
        " published), or auto: with --trim, which makes sizes differ.",
        ("auto", "always", "never"),
    )
    words: str = setting("", "Dictionary file, one word a line; none: the built-in one of 111 words.")
    precision: str = PRECISION
    validation: str = setting("", "Labelled images to read during training, in any of the forms of --data.")
    validate_every: int = setting(1104, "Steps between readings of --validation; 1104 are a pass over CROHME.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(0, "epochs", "warmup_epochs", "weight_decay")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"{option('epsilon')} must be in (0, 1), got {self.epsilon}")
        Preparation(self.trim, self.shrink)
        self.model_config(3)

    @property
    def preparation(self) -> Preparation:
        """What is done to images first."""
        return Preparation(self.trim, self.shrink)

    @property
    def isolated(self) -> bool:
        """Whether images learn as if each were alone in its batch."""
        return self.trim != KEEP if self.isolate == "auto" else self.isolate == "always"

    def model_config(self, words: int) -> CanConfig:
        """Sizes of the network for a dictionary of so many words; ValueError for sizes that make no network."""
        return CanConfig(
            words, self.growth, self.layers, self.hidden, self.attention, self.counting,
            float(self.encoder_dropout), float(self.dropout),
        )  # fmt: skip
