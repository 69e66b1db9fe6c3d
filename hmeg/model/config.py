"""The sizes of one pipeline: layout generator, image model and decoder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

_LARGEST_SIZE = 1 << 16  # keeps a corrupt or hostile configuration from asking for absurd networks
_LARGEST_DEPTH = 64


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of :class:`hmeg.model.HMEG`; the defaults are the published ones.

    name                  how the configuration is called in files and on the command line
    image_size            side of the largest image; smaller ones have half and a quarter of it
    image_channels        channels of an image (3 published, 1 for grey)
    embedding_dim         symbol and relation embeddings of the image model
    gconv_dim             node vectors after each of its graph convolutions
    gconv_hidden_dim      hidden width of its perceptrons
    gconv_num_layers      number of its graph convolutions
    refinement_dims       channels of each decoder stage; every stage doubles the resolution
    layout_noise_dim      noise channels appended to the layout
    mask_hidden_dim       hidden channels of the mask refiner
    mask_size             side of the soft masks and the first layout, a quarter of ``image_size``
    box_coordinates       five more layout channels that say where in its box a pixel lies
                          (:mod:`hmeg.model.box_coordinates`; not part of the published model)
    symbol_channels       layout channels that hold a learned embedding of the symbol itself under its box's fixed mask,
                          needs ``box_coordinates`` (our own extension as well: glyphs are learned much sooner when the
                          symbol need not travel through the graph convolutions first)
    glyph_channels        layout channels that hold a learned picture of every symbol, ``glyph_size`` cells wide and
                          high, stretched into its box (:mod:`hmeg.model.glyphs`; our own extension too); there are
                          ``glyph_modes`` of every symbol, the ways in which it is written
    glyph_hooks           the picture of a root is not stretched evenly: its hook keeps its proportions, only its bar
                          becomes longer (:func:`hmeg.model.glyphs.hook_shares`)
    glyph_fit             which of its pictures a symbol gets goes by width and height of its box, not by size alone
    layout_embedding_dim  embeddings and node vectors of the layout generator
    layout_hidden_dim     hidden width of its perceptrons
    layout_num_layers     number of its graph convolutions
    box_noise_dim         noise numbers per symbol it takes
    layout_shared_noise   so many of them, the last ones, it reads from an expression's first symbol for all of its
                          symbols: what is one writer's about a whole line (our own extension)
    layout_prior          the layout generator corrects the boxes of a rule-based typesetter instead of making boxes
                          from nothing (:mod:`hmeg.graph.typeset`; our own extension)
    layout_kaiming_init   initialise it to keep signals alive through more layers than the published five, instead of
                          as published (:func:`hmeg.model.triple_conv.init_linear_kaiming`); read by training only

    Raises ValueError, naming the field, for sizes that do not fit together.
    """

    name: str = "base"
    image_size: int = 256
    image_channels: int = 3
    embedding_dim: int = 128
    gconv_dim: int = 128
    gconv_hidden_dim: int = 512
    gconv_num_layers: int = 5
    refinement_dims: tuple[int, ...] = (1024, 512, 256, 128, 64)
    layout_noise_dim: int = 32
    mask_hidden_dim: int = 64
    mask_size: int = 64
    box_coordinates: bool = False
    symbol_channels: int = 0
    glyph_channels: int = 0
    glyph_size: int = 24
    glyph_modes: int = 1
    glyph_hooks: bool = False
    glyph_fit: bool = False
    layout_embedding_dim: int = 128
    layout_hidden_dim: int = 512
    layout_num_layers: int = 5
    box_noise_dim: int = 64
    layout_shared_noise: int = 0
    layout_prior: bool = False
    layout_kaiming_init: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "refinement_dims", tuple(self.refinement_dims))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "name":
                if not isinstance(value, str) or not value:
                    raise ValueError(f"configuration field name must be a non-empty string, got {value!r}")
            elif field.name in ("box_coordinates", "glyph_hooks", "glyph_fit", "layout_prior", "layout_kaiming_init"):
                if not isinstance(value, bool):
                    raise ValueError(f"configuration field {field.name} must be true or false, got {value!r}")
            else:
                largest = _LARGEST_DEPTH if field.name.endswith("num_layers") else _LARGEST_SIZE
                smallest = 0 if field.name in ("symbol_channels", "glyph_channels", "layout_shared_noise") else 1
                for size in value if field.name == "refinement_dims" else (value,):
                    # bool is an int in Python, but no size
                    if type(size) is not int or not smallest <= size <= largest:
                        allowed = f"{smallest}..{largest}"
                        raise ValueError(f"configuration field {field.name} must be in {allowed}, got {value!r}")
        if self.symbol_channels and not self.box_coordinates:
            raise ValueError("configuration field symbol_channels needs box_coordinates")
        if self.layout_shared_noise > self.box_noise_dim:
            raise ValueError(
                f"configuration field layout_shared_noise {self.layout_shared_noise} is more than box_noise_dim "
                f"{self.box_noise_dim}, of which it is a part"
            )
        if self.glyph_hooks and self.glyph_size % 2:
            raise ValueError(f"configuration field glyph_hooks needs an even glyph_size, got {self.glyph_size}")
        stages = len(self.refinement_dims)
        if not 3 <= stages <= 16:
            raise ValueError(f"refinement_dims needs 3 to 16 stages, got {stages}")
        if self.image_size % 2 ** (stages - 1):
            raise ValueError(f"image_size {self.image_size} cannot be halved {stages - 1} times")
        if self.mask_size * 4 != self.image_size:
            raise ValueError(f"mask_size must be a quarter of image_size {self.image_size}, got {self.mask_size}")

    @property
    def resolutions(self) -> tuple[int, int, int]:
        """Sides of the three images, ascending."""
        return self.image_size // 4, self.image_size // 2, self.image_size

    @property
    def layout_channels(self) -> int:
        """Channels of the layout, noise not counted."""
        return self.gconv_dim + self.symbol_channels + self.glyph_channels + (5 if self.box_coordinates else 0)

    def with_layout_of(self, other: ModelConfig) -> ModelConfig:
        """This configuration with the layout generator of ``other``."""
        of_layouts = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if field.name.startswith(("layout_", "box_noise_")) and field.name != "layout_noise_dim"
        }
        return replace(self, **of_layouts)

    @staticmethod
    def named(name: str) -> ModelConfig:
        """The configuration ``base`` or ``small``; ``ValueError`` for another name."""
        for config in (BASE, SMALL):
            if config.name == name:
                return config
        raise ValueError(f"no model configuration {name!r}; there are {BASE.name!r} and {SMALL.name!r}")

    def to_json(self) -> str:
        """All fields as a JSON object."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> ModelConfig:
        """Inverse of :meth:`to_json`; ``ValueError`` for anything else. Fields left out take their defaults."""
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"model configuration is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError("model configuration must be a JSON object")
        unknown = sorted(set(values) - {field.name for field in fields(ModelConfig)})
        if unknown:
            raise ValueError(f"model configuration has unknown fields: {', '.join(unknown)}")
        if not isinstance(values.get("refinement_dims", []), list):
            raise ValueError("configuration field refinement_dims must be a list of channels")
        return ModelConfig(**values)


BASE = ModelConfig()

# Made for CPUs: about a sixteenth of base's decoder arithmetic (hmeg.model.cost counts it), one grey channel.
# Node vectors (8), symbols (15), a glyph (1), box coordinates (5) and noise (2) together are 31 channels: with 32
# features and the smaller image the last stage then reads 64, a multiple of what CPU convolutions work in.
SMALL = ModelConfig(
    name="small",
    image_channels=1,
    embedding_dim=32,
    gconv_dim=8,
    gconv_hidden_dim=128,
    refinement_dims=(256, 128, 64, 32, 16),
    layout_noise_dim=2,
    mask_hidden_dim=16,
    box_coordinates=True,
    symbol_channels=15,
    glyph_channels=1,
    glyph_size=32,
    glyph_modes=16,
    glyph_hooks=True,
    glyph_fit=True,
    layout_embedding_dim=64,
    layout_hidden_dim=128,
    layout_num_layers=4,
    layout_shared_noise=32,
    layout_prior=True,
    layout_kaiming_init=True,
)
