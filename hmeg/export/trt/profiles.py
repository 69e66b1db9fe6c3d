"""Which batch sizes an engine is made for, and which of its profiles computes how many of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hmeg.quoting import quoted

LARGEST_BATCH = 4096


@dataclass(frozen=True)
class BatchProfile:
    """Batch sizes from ``smallest`` to ``largest``; the engine is fastest at ``best``. ``ValueError`` out of order."""

    smallest: int
    best: int
    largest: int

    def __post_init__(self) -> None:
        sizes = (self.smallest, self.best, self.largest)
        if any(type(size) is not int for size in sizes) or not 1 <= sizes[0] <= sizes[1] <= sizes[2] <= LARGEST_BATCH:
            raise ValueError(f"a profile is MIN:BEST:MAX with 1 <= MIN <= BEST <= MAX <= {LARGEST_BATCH}, got {self}")

    def __str__(self) -> str:
        return f"{self.smallest}:{self.best}:{self.largest}"

    @classmethod
    def parse(cls, text: str) -> BatchProfile:
        """Inverse of ``str``; ``ValueError`` for other text."""
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            raise ValueError(f"a profile is MIN:BEST:MAX, three batch sizes such as 1:1:4, got {quoted(text)}")
        smallest, best, largest = map(int, parts)
        return cls(smallest, best, largest)


# One expression at a time, as a service draws them; and what `hmeg generate` computes together.
DEFAULT_PROFILES = (BatchProfile(1, 1, 4), BatchProfile(5, 32, 64))


def check_profiles(profiles: Sequence[BatchProfile]) -> None:
    """``ValueError`` unless every batch size can be served, in parts if need be."""
    if not any(profile.smallest == 1 for profile in profiles):
        raise ValueError(
            f"one profile must begin at 1, or a single image could not be drawn; got {', '.join(map(str, profiles))}"
        )


def parts(profiles: Sequence[BatchProfile], batch: int) -> Iterator[tuple[int, slice]]:
    """Which profile (its index) computes which images of a batch, in order: as many at a time as a profile takes.

    Among profiles that take equally many, the one made for fewer.
    """
    start = 0
    while start < batch:
        left = batch - start
        usable = [i for i, profile in enumerate(profiles) if profile.smallest <= left]
        chosen = min(usable, key=lambda i: (-min(left, profiles[i].largest), profiles[i].largest))
        count = min(left, profiles[chosen].largest)
        yield chosen, slice(start, start + count)
        start += count
