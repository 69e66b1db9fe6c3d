"""Reports: pages of text, tables, pictures and bars, each a single HTML file."""

from .page import Page

__all__ = ["Page"]
