"""Measures of layouts and images."""
