"""Varies images and encodes them. Imports no torch unless images are varied: worker processes start quickly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hmeg.image_sets.sample import Sample

from .augmentation.loading import varying
from .augmentation.plan import NONE

if TYPE_CHECKING:
    from .augmentation.vary import Variation


def varied_and_encoded(
    augment: str,
    encode: Callable[[np.ndarray], Any],
    array: np.ndarray,
    boxes: np.ndarray,
    seed: int,
    index: int,
    size: int | None = None,
) -> tuple[Variation | None, Any]:
    """What ``augment`` (:mod:`hmeg.generation.augmentation.plan`) makes of an image, None for nothing, encoded.

    size  see :func:`hmeg.generation.augmentation.vary.vary`
    """
    if augment == NONE:
        return None, encode(array)
    variation = varying().vary(
        augment, array, boxes, seed, index, size
    )  # imports torch, which other runs do not need here
    return variation, encode(variation.array)


def varied(sample: Sample, variation: Variation | None) -> Sample:
    """The sample with its image and boxes varied; itself for None."""
    if variation is None:
        return sample
    return replace(sample, array=variation.array, boxes=variation.boxes, augment=variation.parameters)
