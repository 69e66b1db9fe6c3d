"""Symbol graphs and everything they are read from or written to."""

from .symbol_graph import GraphBatch, Relation, SymbolGraph

__all__ = ["GraphBatch", "Relation", "SymbolGraph"]
