"""Variation of drawn images: slant, scale and weight of strokes, paper and cameras; boxes go along.

``plan`` says what is done, in words and without torch; ``vary`` does it, with kornia.
"""
