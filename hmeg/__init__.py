"""LaTeX in, handwritten mathematics out: HMEG (CVPR 2024) with its own kernels."""

__version__ = "0.1.0"
