"""All measures of generated images beside real ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hmeg.graph import SymbolGraph
from hmeg.image_sets import ImageSet
from hmeg.model.symbol_classifier import bundled_classifier
from hmeg.streams import Purpose, stream

from .distances import frechet_distance, inception_score, kernel_distance
from .features import Extractor, features_of, symbol_crops, symbol_features
from .geometry_score import LANDMARKS, geometry_score, mean_relative_living_times
from .inception import FEATURES, HOW_TO_GET, INCEPTION_2015, Inception
from .pairs import Pairs, pair
from .sliced_wasserstein import MOST_IMAGES, sliced_wasserstein

LOWER, HIGHER = "lower is closer", "higher is better"
_GEOMETRY_SIDE = 32
_SSIM_BATCH = 16


@dataclass(frozen=True)
class ImageSettings:
    """How images are measured.

    size             all images are brought to this side in pixels: a power of two from 16 on
    count            images of each set at most, drawn at random, those that have a pair first; 0: all
    seed             of that draw, of patches, directions, landmarks and subsets
    geometry_trials  choices of landmarks for the geometry score; 0 leaves it out
    device           of the networks; numbers differ by rounding between devices
    """

    size: int = 256
    count: int = 0
    seed: int = 0
    geometry_trials: int = 100
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.size < 16 or self.size & (self.size - 1):
            raise ValueError(f"--size must be a power of two from 16 on, got {self.size}")
        if 0 < self.count < 4:
            raise ValueError(f"--count must be 0 or at least 4, got {self.count}")


@dataclass(frozen=True)
class Measure:
    """One number, or the reason why it is not there.

    floor    the same between two halves of the real set: what no generator can be expected to undercut
    samples  what it was computed from
    """

    name: str
    features: str
    value: float | None
    spread: float | None = None
    floor: float | None = None
    better: str = LOWER
    samples: str = ""
    left_out: str | None = None


@dataclass
class ImageMeasures:
    """What was found, and everything it depends on."""

    real: str
    generated: str
    real_count: int
    generated_count: int
    pairs: int
    pair_rule: str
    settings: dict[str, Any]
    measures: list[Measure] = field(default_factory=list)


def fitted(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 -> (size, size): scaled to fit (bicubic, antialiased), centred, the rest paper."""
    if image.shape == (size, size):
        return image
    scale = size / max(image.shape)
    height, width = (max(1, round(side * scale)) for side in image.shape)
    scaled = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    page = Image.new("L", (size, size), 255)
    page.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return np.asarray(page)


def _fitted_boxes(graph: SymbolGraph, shape: tuple[int, ...]) -> SymbolGraph:
    """The boxes of an image of that shape, where :func:`fitted` puts them."""
    assert graph.boxes is not None
    longest = max(shape)
    share = np.array([shape[1] / longest, shape[0] / longest] * 2, dtype=np.float32)
    return graph.with_boxes(graph.boxes * share + (1 - share) / 2)


@dataclass
class _Loaded:
    """Pixels (N, S, S) uint8 of a set; graphs with boxes, where every image has them."""

    pixels: np.ndarray
    graphs: list[SymbolGraph] | None


def _load(images: ImageSet, size: int) -> _Loaded:
    pixels = np.empty((len(images), size, size), dtype=np.uint8)
    graphs: list[SymbolGraph] = []
    for row in range(len(images)):
        image = images[row]
        pixels[row] = fitted(image, size)
        graph = images.entries[row].graph
        if graph is not None:
            graphs.append(_fitted_boxes(graph, image.shape))
    return _Loaded(pixels, graphs if len(graphs) == len(images) else None)


def _chosen(real: ImageSet, generated: ImageSet, settings: ImageSettings) -> tuple[ImageSet, ImageSet, Pairs]:
    """At most ``count`` images of each: pairs first, then others."""
    pairs = pair(real, generated)
    if not settings.count:
        return real, generated, pairs
    random = stream(settings.seed, 1, Purpose.EVALUATION)
    kept = pairs.rows
    if len(kept) >= settings.count:
        kept = [kept[row] for row in sorted(random.choice(len(kept), settings.count, replace=False))]
    chosen = []
    for images, paired in ((real, [r for r, _ in kept]), (generated, [g for _, g in kept])):
        others = sorted(set(range(len(images))).difference(paired))
        more = min(len(others), settings.count - len(paired))
        drawn = [others[row] for row in random.choice(len(others), more, replace=False)] if more else []
        chosen.append(sorted([*paired, *drawn]))
    places = [{row: place for place, row in enumerate(rows)} for rows in chosen]
    rows = [(places[0][r], places[1][g]) for r, g in kept]
    return real.part(chosen[0]), generated.part(chosen[1]), Pairs(rows, pairs.rule)


def structural_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, S, S) uint8 each -> (N,) SSIM of corresponding images, in [-1, 1], 1 for equal ones.

    As Wang et al. 2004: Gaussian window of sigma 1.5 (11 x 11), K1 = 0.01, K2 = 0.03, over the whole grey range. The
    mean includes windows that reach over the border, which is mirrored.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    found = []
    for start in range(0, len(a), _SSIM_BATCH):
        x, y = (torch.from_numpy(images[start : start + _SSIM_BATCH])[:, None].float() / 255 for images in (a, b))
        values = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")
        assert isinstance(values, Tensor)
        found.append(values.reshape(-1).numpy())
    return np.concatenate(found)


def _geometry_points(pixels: np.ndarray) -> np.ndarray:
    """(N, S, S) uint8 -> (N, 1024): ink in [0, 1] of the images averaged down to 32 x 32."""
    ink = 1 - torch.from_numpy(pixels)[:, None].float() / 255
    return torch.nn.functional.adaptive_avg_pool2d(ink, _GEOMETRY_SIDE).flatten(1).double().numpy()


class _Measurement:
    """The sets, a seeded half of the real one against the other half, and what is found."""

    def __init__(
        self, real: _Loaded, generated: _Loaded, settings: ImageSettings, tell: Callable[[str], object]
    ) -> None:
        self.real, self.generated, self.settings, self.tell = real, generated, settings, tell
        self.recogniser = copy.deepcopy(bundled_classifier()).to(settings.device)
        order = stream(settings.seed, 2, Purpose.EVALUATION).permutation(len(real.pixels))
        half = len(order) // 2
        self.halves = np.sort(order[:half]), np.sort(order[half : 2 * half])
        self.samples = f"{len(real.pixels)} real, {len(generated.pixels)} generated"

    def clouds(
        self, name: str, real: Tensor, generated: Tensor, halves: tuple[Tensor, Tensor], samples: str
    ) -> list[Measure]:
        """Both distances between two clouds of features."""
        fid = name == INCEPTION_2015
        seed = self.settings.seed
        mean, spread = kernel_distance(real, generated, seed)
        return [
            Measure("FID" if fid else "Fréchet distance", name, frechet_distance(real, generated),
                    floor=frechet_distance(*halves), samples=samples),
            Measure("KID" if fid else "Kernel distance", name, mean, spread,
                    floor=kernel_distance(*halves, seed)[0], samples=samples),
        ]  # fmt: skip

    def _halves_of(self, real: Tensor) -> tuple[Tensor, Tensor]:
        first, second = (real[torch.from_numpy(rows)] for rows in self.halves)
        return first, second

    def whole_images(self, extractor: Extractor) -> list[Measure]:
        self.tell(f"{extractor.name}: features")
        device = self.settings.device
        real, generated = (features_of(s.pixels, extractor.compute, device) for s in (self.real, self.generated))
        return self.clouds(extractor.name, real, generated, self._halves_of(real), self.samples)

    def symbols(self) -> list[Measure]:
        """Distances between symbols cut out at their boxes, and how surely and variously they are classified."""
        name, score = "hmeg symbol features, symbols cut out", "Symbol score (as the Inception Score, other classes)"
        if self.real.graphs is None or self.generated.graphs is None:
            which = [s for s, loaded in (("real", self.real), ("generated", self.generated)) if loaded.graphs is None]
            reason = f"the boxes of symbols are not known for the {' and the '.join(which)} images"
            return [Measure(n, name, None, left_out=reason) for n in ("Fréchet distance", "Kernel distance", score)]
        self.tell(f"{name}: features")
        (real, real_logits), (generated, logits) = (
            symbol_crops(self.recogniser, s.pixels, s.graphs or []) for s in (self.real, self.generated)
        )
        owner = torch.arange(len(self.real.graphs)).repeat_interleave(torch.tensor([len(g) for g in self.real.graphs]))
        halves = tuple(real[torch.isin(owner, torch.from_numpy(rows))] for rows in self.halves)
        samples = f"{len(real):,} real symbols, {len(generated):,} generated"
        found = self.clouds(name, real, generated, (halves[0], halves[1]), samples)
        mean, spread = inception_score(logits, self.settings.seed)
        of_real = inception_score(real_logits, self.settings.seed)[0]
        return [
            *found,
            Measure(score, "hmeg symbol classifier, 101 classes", mean, spread, better=f"real images: {of_real:.2f}",
                    samples=samples),
        ]  # fmt: skip

    def inception(self, inception: Inception | None) -> list[Measure]:
        if inception is None:
            return [Measure(n, "Inception v3", None, left_out=HOW_TO_GET) for n in ("FID", "KID", "Inception Score")]
        name, device = inception.name, self.settings.device
        self.tell(f"{name}: features")
        # features and logits in one pass: it is the largest network here
        both = [
            features_of(s.pixels, lambda x: torch.cat(inception(x), dim=1), device) for s in (self.real, self.generated)
        ]
        real, generated = (values[:, :FEATURES] for values in both)
        of_real, logits = (values[:, FEATURES:] for values in both)
        found = self.clouds(name, real, generated, self._halves_of(real), self.samples)
        mean, spread = inception_score(logits, self.settings.seed)
        shown = f"real images: {inception_score(of_real, self.settings.seed)[0]:.2f}"
        return [*found, Measure("Inception Score", name, mean, spread, better=shown, samples=self.samples)]

    def wasserstein(self) -> list[Measure]:
        self.tell("sliced Wasserstein distance")
        count = min(len(self.real.pixels), len(self.generated.pixels), MOST_IMAGES)
        found = sliced_wasserstein(self.real.pixels, self.generated.pixels, self.settings.seed)
        first, second = (self.real.pixels[rows] for rows in self.halves)
        floor = sliced_wasserstein(first, second, self.settings.seed)
        drawn = (
            ""
            if count == len(self.real.pixels) == len(self.generated.pixels)
            else ", of the larger set drawn at random"
        )
        name, what, samples = (
            "Sliced Wasserstein distance x 1000",
            "patches of the Laplacian pyramid",
            f"{count} of each{drawn}",
        )
        levels = [
            Measure(name, f"{what}, {side} x {side}", value, floor=floor[side], samples=samples)
            for side, value in found.items()
        ]
        mean, mean_floor = float(np.mean(list(found.values()))), float(np.mean(list(floor.values())))
        return [*levels, Measure(name, f"{what}, mean", mean, floor=mean_floor, samples=samples)]

    def geometry(self) -> list[Measure]:
        name, what = "Geometry score", f"pixels at {_GEOMETRY_SIDE} x {_GEOMETRY_SIDE}"
        trials, seed = self.settings.geometry_trials, self.settings.seed
        smallest = min(len(self.generated.pixels), len(self.halves[0]))
        if not trials:
            return [Measure(name, what, None, left_out="--geometry-trials 0")]
        if smallest <= LANDMARKS:
            reason = f"{LANDMARKS} landmarks need more images, also in half of the real set"
            return [Measure(name, what, None, left_out=reason)]
        self.tell("geometry score")
        real, generated, *halves = (
            mean_relative_living_times(_geometry_points(pixels), trials, seed=seed)
            for pixels in (
                self.real.pixels, self.generated.pixels, *(self.real.pixels[rows] for rows in self.halves)
            )
        )  # fmt: skip
        return [
            Measure(name, what, geometry_score(real, generated), floor=geometry_score(*halves),
                    samples=f"{self.samples}, {trials} x {LANDMARKS} landmarks")
        ]  # fmt: skip

    def similarity(self, pairs: Pairs) -> list[Measure]:
        name, what = "SSIM", "pixels, over pairs"
        if not pairs.rows:
            return [Measure(name, what, None, better=HIGHER, left_out=f"no pairs: {pairs.rule}")]
        self.tell("SSIM")
        left, right = (list(rows) for rows in zip(*pairs.rows, strict=True))
        values = structural_similarity(self.real.pixels[left], self.generated.pixels[right])
        return [
            Measure(name, what, float(values.mean()), float(values.std()), better=HIGHER,
                    samples=f"{len(values)} pairs: {pairs.rule}")
        ]  # fmt: skip


def measure_images(
    real: ImageSet,
    generated: ImageSet,
    settings: ImageSettings,
    inception: Inception | None = None,
    extractors: Sequence[Extractor] = (),
    tell: Callable[[str], object] = lambda text: None,
) -> tuple[ImageMeasures, list[tuple[np.ndarray, np.ndarray, str]]]:
    """Every measure of two sets, and some pictures side by side: (real, generated, caption): the label
    of a pair, or its name where nobody says; "" where there are no pairs.

    inception   for FID, KID and Inception Score, on the settings' device; None: they are left out, and the reason says
                how to get the weights
    extractors  compared by as well as by the symbol recogniser, e.g. CAN's encoder
    tell        called with a word on what is being computed
    ``ValueError`` for sets of fewer than four images, and for images that cannot be read.
    """
    for images in (real, generated):
        if len(images) < 4:
            raise ValueError(
                f"{images.source}: {len(images)} images are too few to compare sets; at least 4 are needed"
            )
    real, generated, pairs = _chosen(real, generated, settings)
    tell("reading images")
    sets = [_load(images, settings.size) for images in (real, generated)]
    found = ImageMeasures(
        real=real.described(),
        generated=generated.described(),
        real_count=len(real),
        generated_count=len(generated),
        pairs=len(pairs.rows),
        pair_rule=pairs.rule,
        settings=asdict(settings),
    )
    work = _Measurement(sets[0], sets[1], settings, tell)
    found.measures += work.inception(inception)
    for extractor in (symbol_features(work.recogniser), *extractors):
        found.measures += work.whole_images(extractor)
    found.measures += [*work.symbols(), *work.wasserstein(), *work.geometry(), *work.similarity(pairs)]
    rows = pairs.rows or list(zip(range(len(real)), range(len(generated)), strict=False))
    captions = ["" if not pairs.rows else real.labels[r] or generated.labels[g] or real.names[r] for r, g in rows[:8]]
    shown = [(sets[0].pixels[r], sets[1].pixels[g], text) for (r, g), text in zip(rows, captions, strict=False)]
    return found, shown
