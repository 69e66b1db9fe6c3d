"""Symbol graphs and everything they are read from or written to. Nothing here needs torch."""

from .symbol_graph import Relation, SymbolGraph

__all__ = ["Relation", "SymbolGraph"]
