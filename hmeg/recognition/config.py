"""How large a CAN is. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED_WORDS = 111


@dataclass(frozen=True)
class CanConfig:
    """Sizes of the recogniser; the defaults are the published ones.

    words            tokens of the dictionary, eos and sos included
    growth           channels that a bottleneck adds; the first convolution has twice as many, bottlenecks four times
    layers           bottlenecks in each of the three dense blocks
    hidden           size of the decoder's state and of a token's embedding
    attention        channels of keys and queries; a multiple of 4
    counting         channels inside the two counting modules; a multiple of 16
    encoder_dropout  share of features dropped after every convolution of the encoder in training
    dropout          share of the decoder's last features dropped in training
    """

    words: int = PUBLISHED_WORDS
    growth: int = 24
    layers: int = 16
    hidden: int = 256
    attention: int = 512
    counting: int = 512
    encoder_dropout: float = 0.2
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("words", 3), ("growth", 1), ("layers", 1), ("hidden", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name, multiple in (("attention", 4), ("counting", 16)):
            if getattr(self, name) < multiple or getattr(self, name) % multiple:
                raise ValueError(f"{name} must be a multiple of {multiple}, got {getattr(self, name)}")
        for name in ("encoder_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def block_channels(self) -> tuple[tuple[int, int], ...]:
        """Channels into and out of each dense block; transitions between them halve what comes out."""
        found, channels = [], 2 * self.growth
        for _ in range(3):
            found.append((channels, channels + self.layers * self.growth))
            channels = found[-1][1] // 2
        return tuple(found)

    @property
    def features(self) -> int:
        """Channels of the encoder's features, at 1/16 of the image's size."""
        return self.block_channels[-1][1]
