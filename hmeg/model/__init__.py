"""The networks as torch modules. No kernel code here: heavy operators go through :mod:`hmeg.ops`."""

from .config import BASE, SMALL, ModelConfig
from .config_parts import GlyphConfig, ImageConfig, LayoutConfig
from .discriminators import LayoutDiscriminator, ObjectDiscriminator, PatchDiscriminator
from .hmeg import HMEG
from .image_model import ImageModel, ImageOutput
from .layout import LayoutGenerator

__all__ = [
    "BASE",
    "HMEG",
    "SMALL",
    "GlyphConfig",
    "ImageConfig",
    "ImageModel",
    "ImageOutput",
    "LayoutConfig",
    "LayoutDiscriminator",
    "LayoutGenerator",
    "ModelConfig",
    "ObjectDiscriminator",
    "PatchDiscriminator",
]
