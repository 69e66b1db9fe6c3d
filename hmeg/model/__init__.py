"""The networks as torch modules. No kernel code here: heavy operators go through :mod:`hmeg.ops`."""

from .config import BASE, SMALL, ModelConfig
from .discriminators import LayoutDiscriminator, ObjectDiscriminator, PatchDiscriminator
from .hmeg import HMEG
from .image_model import ImageModel, ImageOutput
from .layout import LayoutGenerator

__all__ = [
    "BASE",
    "HMEG",
    "SMALL",
    "ImageModel",
    "ImageOutput",
    "LayoutDiscriminator",
    "LayoutGenerator",
    "ModelConfig",
    "ObjectDiscriminator",
    "PatchDiscriminator",
]
