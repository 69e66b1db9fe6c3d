"""Handwriting in, data sets out."""
