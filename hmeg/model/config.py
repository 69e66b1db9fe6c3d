"""The sizes of one pipeline, and how files hold them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from .config_parts import PARTS, GlyphConfig, ImageConfig, LayoutConfig

_VERSION = 2  # of the JSON form; 1, without a number, had all fields side by side
# Names of version 1 -> part and field. Its files, runs and ids of weights live on: no entry ever changes.
_VERSION_1 = {
    "image_size": ("image", "size"),
    "image_channels": ("image", "channels"),
    "embedding_dim": ("image", "embedding_dim"),
    "gconv_dim": ("image", "gconv_dim"),
    "gconv_hidden_dim": ("image", "gconv_hidden_dim"),
    "gconv_num_layers": ("image", "gconv_num_layers"),
    "refinement_dims": ("image", "refinement_dims"),
    "layout_noise_dim": ("image", "noise_dim"),
    "mask_hidden_dim": ("image", "mask_hidden_dim"),
    "mask_size": ("image", "mask_size"),
    "box_coordinates": ("image", "box_coordinates"),
    "symbol_channels": ("image", "symbol_channels"),
    "glyph_channels": ("glyph", "channels"),
    "glyph_size": ("glyph", "size"),
    "glyph_modes": ("glyph", "modes"),
    "glyph_hooks": ("glyph", "hooks"),
    "glyph_fit": ("glyph", "fit"),
    "layout_embedding_dim": ("layout", "embedding_dim"),
    "layout_hidden_dim": ("layout", "hidden_dim"),
    "layout_num_layers": ("layout", "num_layers"),
    "box_noise_dim": ("layout", "noise_dim"),
    "layout_shared_noise": ("layout", "shared_noise"),
    "layout_prior": ("layout", "prior"),
    "layout_kaiming_init": ("layout", "kaiming_init"),
}
# Those that version 1 did not have from the start: identities leave them out at their defaults.
_CAME_LATER = ("glyph_hooks", "glyph_fit", "layout_shared_noise")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of :class:`hmeg.model.HMEG`; the defaults are the published ones.

    name    how the configuration is called in files and on the command line
    layout  of the layout generator
    image   of the image model
    glyph   of the image model's learned pictures of symbols

    Raises ValueError, naming the field, for what is no configuration.
    """

    name: str = "base"
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    glyph: GlyphConfig = field(default_factory=GlyphConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"configuration field name must be a non-empty string, got {self.name!r}")
        for kind in PARTS:
            if not isinstance(getattr(self, kind.part), kind):
                raise ValueError(f"configuration field {kind.part} must be of type {kind.__name__}")

    @property
    def resolutions(self) -> tuple[int, int, int]:
        """Sides of the three images, ascending."""
        return self.image.resolutions

    @property
    def layout_channels(self) -> int:
        """Channels of the layout, noise not counted."""
        image = self.image
        return image.gconv_dim + image.symbol_channels + self.glyph.channels + (5 if image.box_coordinates else 0)

    def changed(self, name: str | None = None, **parts: Mapping[str, Any]) -> ModelConfig:
        """This configuration with other values: ``config.changed(image={"channels": 3}, glyph={"size": 32})``."""
        changes = {part: replace(getattr(self, part), **values) for part, values in parts.items()}
        return replace(self, name=self.name if name is None else name, **changes)

    def with_layout_of(self, other: ModelConfig) -> ModelConfig:
        """This configuration with the layout generator of ``other``."""
        return replace(self, layout=other.layout)

    @staticmethod
    def named(name: str) -> ModelConfig:
        """The configuration ``base`` or ``small``; ``ValueError`` for another name."""
        for config in (BASE, SMALL):
            if config.name == name:
                return config
        raise ValueError(f"no model configuration {name!r}; there are {BASE.name!r} and {SMALL.name!r}")

    def to_json(self) -> str:
        """A JSON object: ``{"version": 2, "name": "base", "layout": {...}, "image": {...}, "glyph": {...}}``."""
        return json.dumps({"version": _VERSION, **asdict(self)})

    @staticmethod
    def from_json(text: str) -> ModelConfig:
        """Inverse of :meth:`to_json`; ``ValueError`` for anything else. Fields left out take their defaults.

        Reads version 1 too, which had no number and no parts.
        """
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"model configuration is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError("model configuration must be a JSON object")
        version = values.pop("version", 1)
        if version == 1:
            values = _nested(values)
        elif version != _VERSION:
            raise ValueError(
                f"model configuration is of version {version!r}, of another hmeg; this one reads 1 to {_VERSION}"
            )
        unknown = sorted(values.keys() - {"name", *(kind.part for kind in PARTS)})
        made: dict[str, Any] = {"name": values["name"]} if "name" in values else {}
        for kind in PARTS:
            of_part = values.get(kind.part, {})
            if not isinstance(of_part, dict):
                raise ValueError(f"configuration field {kind.part} must be a JSON object, got {of_part!r}")
            unknown += [
                f"{kind.part}.{name}" for name in sorted(of_part.keys() - {entry.name for entry in fields(kind)})
            ]
            if not unknown:
                made[kind.part] = kind(**of_part)
        if unknown:
            raise ValueError(f"model configuration has unknown fields: {', '.join(unknown)}")
        return ModelConfig(**made)

    def identity(self) -> dict[str, Any]:
        """What ids of weights depend on: a name for each field, that of version 1 where it had one.

        A field that came later, to version 1 or after it, is left out at its default, which has to mean what was before
        there was a field: so weights keep their ids.
        """
        in_version_1 = {place: name for name, place in _VERSION_1.items()}
        found: dict[str, Any] = {"name": self.name}
        for kind in PARTS:
            for entry in fields(kind):
                value = getattr(getattr(self, kind.part), entry.name)
                name = in_version_1.get((kind.part, entry.name))
                if (name is None or name in _CAME_LATER) and value == entry.default:
                    continue
                found[name or f"{kind.part}.{entry.name}"] = value
        return found

    if not TYPE_CHECKING:  # to mypy such names are errors

        def __getattr__(self, name: str) -> Any:
            """Fields by their names in version 1, for programs written before there were parts."""
            if name not in _VERSION_1:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            part, entry = _VERSION_1[name]
            warnings.warn(f"config.{name} is config.{part}.{entry} now", DeprecationWarning, stacklevel=2)
            return getattr(getattr(self, part), entry)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of version 1 by part; unknown ones stay where they are."""
    found: dict[str, Any] = {kind.part: {} for kind in PARTS}
    for name, value in values.items():
        if name in _VERSION_1:
            part, entry = _VERSION_1[name]
            found[part][entry] = value
        elif name in found:
            raise ValueError(f"model configuration has parts, but no version: {name}")
        else:
            found[name] = value
    return found


BASE = ModelConfig()

# Made for CPUs: about a sixteenth of base's decoder arithmetic (hmeg.model.cost counts it), one grey channel.
# Node vectors (8), symbols (15), a glyph (1), box coordinates (5) and noise (2) together are 31 channels: with 32
# features and the smaller image the last stage then reads 64, a multiple of what CPU convolutions work in.
SMALL = ModelConfig(
    name="small",
    layout=LayoutConfig(
        embedding_dim=64,
        hidden_dim=128,
        num_layers=4,
        shared_noise=32,
        prior=True,
        kaiming_init=True,
    ),
    image=ImageConfig(
        channels=1,
        embedding_dim=32,
        gconv_dim=8,
        gconv_hidden_dim=128,
        refinement_dims=(256, 128, 64, 32, 16),
        noise_dim=2,
        mask_hidden_dim=16,
        box_coordinates=True,
        symbol_channels=15,
    ),
    glyph=GlyphConfig(
        channels=1,
        size=32,
        modes=16,
        hooks=True,
        fit=True,
    ),
)
