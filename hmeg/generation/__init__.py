"""Generation: from expressions to labelled images, in memory or in a folder."""

from .loading import bundled_weights, load

__all__ = ["bundled_weights", "load"]
