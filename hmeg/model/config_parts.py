"""The parts of a model configuration: layout generator, image model, its glyphs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

_LARGEST_SIZE = 1 << 16  # keeps a corrupt or hostile configuration from asking for absurd networks
_LARGEST_DEPTH = 64


@dataclass(frozen=True)
class ConfigPart:
    """One part of a configuration: its fields are sizes, lists of sizes and switches, as their defaults are."""

    part: ClassVar[str]  # the field that holds it
    optional: ClassVar[tuple[str, ...]] = ()  # sizes that may be 0

    def __post_init__(self) -> None:
        for entry in fields(self):
            called, value = f"configuration field {self.part}.{entry.name}", getattr(self, entry.name)
            if isinstance(entry.default, bool):
                if not isinstance(value, bool):
                    raise ValueError(f"{called} must be true or false, got {value!r}")
                continue
            sizes = (value,)
            if isinstance(entry.default, tuple):
                if not isinstance(value, list | tuple):
                    raise ValueError(f"{called} must be a list of sizes, got {value!r}")
                sizes = tuple(value)
                object.__setattr__(self, entry.name, sizes)
            smallest = 0 if entry.name in self.optional else 1
            largest = _LARGEST_DEPTH if entry.name.endswith("num_layers") else _LARGEST_SIZE
            for size in sizes:
                # bool is an int in Python, but no size
                if type(size) is not int or not smallest <= size <= largest:
                    raise ValueError(f"{called} must be in {smallest}..{largest}, got {value!r}")


@dataclass(frozen=True)
class LayoutConfig(ConfigPart):
    """Sizes of :class:`hmeg.model.LayoutGenerator`; the defaults are the published ones.

    embedding_dim  embeddings and node vectors
    hidden_dim     hidden width of its perceptrons
    num_layers     number of its graph convolutions
    noise_dim      noise numbers per symbol it takes
    shared_noise   so many of them, the last ones, it reads from an expression's first symbol for all of its symbols:
                   what is one writer's about a whole line (our own extension)
    prior          it corrects the boxes of a rule-based typesetter instead of making boxes from nothing
                   (:mod:`hmeg.graph.typeset`; our own extension)
    kaiming_init   initialise it to keep signals alive through more layers than the published five, instead of as
                   published (:func:`hmeg.model.triple_conv.init_linear_kaiming`); read by training only
    symbols        how many symbols it knows, ids 1 to this; which ones, the weights' vocabulary says

    Raises ValueError, naming the field, for sizes that do not fit together.
    """

    part: ClassVar[str] = "layout"
    optional: ClassVar[tuple[str, ...]] = ("shared_noise",)

    embedding_dim: int = 128
    hidden_dim: int = 512
    num_layers: int = 5
    noise_dim: int = 64
    shared_noise: int = 0
    prior: bool = False
    kaiming_init: bool = False
    symbols: int = 101

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared_noise > self.noise_dim:
            raise ValueError(
                f"configuration field layout.shared_noise {self.shared_noise} is more than layout.noise_dim "
                f"{self.noise_dim}, of which it is a part"
            )


@dataclass(frozen=True)
class ImageConfig(ConfigPart):
    """Sizes of :class:`hmeg.model.ImageModel`, glyphs apart; the defaults are the published ones.

    size              side of the largest image; smaller ones have half and a quarter of it
    channels          channels of an image (3 published, 1 for grey)
    embedding_dim     symbol and relation embeddings
    gconv_dim         node vectors after each of its graph convolutions
    gconv_hidden_dim  hidden width of its perceptrons
    gconv_num_layers  number of its graph convolutions
    refinement_dims   channels of each decoder stage; every stage doubles the resolution
    noise_dim         noise channels appended to the layout
    mask_hidden_dim   hidden channels of the mask refiner
    mask_size         side of the soft masks and the first layout, a quarter of ``size``
    box_coordinates   five more layout channels that say where in its box a pixel lies
                      (:mod:`hmeg.model.box_coordinates`; not part of the published model)
    symbol_channels   layout channels that hold a learned embedding of the symbol itself under its box's fixed mask,
                      needs ``box_coordinates`` (our own extension as well: glyphs are learned much sooner when the
                      symbol need not travel through the graph convolutions first)

    symbols           how many symbols it knows, ids 1 to this; which ones, the weights' vocabulary says

    Raises ValueError, naming the field, for sizes that do not fit together.
    """

    part: ClassVar[str] = "image"
    optional: ClassVar[tuple[str, ...]] = ("symbol_channels",)

    size: int = 256
    channels: int = 3
    embedding_dim: int = 128
    gconv_dim: int = 128
    gconv_hidden_dim: int = 512
    gconv_num_layers: int = 5
    refinement_dims: tuple[int, ...] = (1024, 512, 256, 128, 64)
    noise_dim: int = 32
    mask_hidden_dim: int = 64
    mask_size: int = 64
    box_coordinates: bool = False
    symbol_channels: int = 0
    symbols: int = 101

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.symbol_channels and not self.box_coordinates:
            raise ValueError("configuration field image.symbol_channels needs image.box_coordinates")
        stages = len(self.refinement_dims)
        if not 3 <= stages <= 16:
            raise ValueError(f"image.refinement_dims needs 3 to 16 stages, got {stages}")
        if self.size % 2 ** (stages - 1):
            raise ValueError(f"image.size {self.size} cannot be halved {stages - 1} times")
        if self.mask_size * 4 != self.size:
            raise ValueError(f"image.mask_size must be a quarter of image.size {self.size}, got {self.mask_size}")

    @property
    def resolutions(self) -> tuple[int, int, int]:
        """Sides of the three images, ascending."""
        return self.size // 4, self.size // 2, self.size


@dataclass(frozen=True)
class GlyphConfig(ConfigPart):
    """Sizes of :class:`hmeg.model.glyphs.GlyphAtlas`, learned pictures of symbols (our own extension).

    channels  layout channels that hold a learned picture of every symbol, stretched into its box; 0: no glyphs
    size      cells of a picture, across and down
    modes     pictures of every symbol, the ways in which it is written
    hooks     the picture of a root is not stretched evenly: its hook keeps its proportions, only its bar becomes longer
              (:func:`hmeg.model.glyphs.hook_shares`)
    fit       which of its pictures a symbol gets goes by width and height of its box, not by size alone

    Raises ValueError, naming the field, for sizes that do not fit together.
    """

    part: ClassVar[str] = "glyph"
    optional: ClassVar[tuple[str, ...]] = ("channels",)

    channels: int = 0
    size: int = 24
    modes: int = 1
    hooks: bool = False
    fit: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hooks and self.size % 2:
            raise ValueError(f"configuration field glyph.hooks needs an even glyph.size, got {self.size}")


PARTS: tuple[type[ConfigPart], ...] = (LayoutConfig, ImageConfig, GlyphConfig)
