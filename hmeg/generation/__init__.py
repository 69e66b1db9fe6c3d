"""Generation: from expressions to labelled images, in memory or in a folder."""

from hmeg.weights import bundled_weights

from .loading import load

__all__ = ["bundled_weights", "load"]
