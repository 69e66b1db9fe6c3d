"""LaTeX in, handwritten mathematics out: HMEG (CVPR 2024) with its own kernels.

    import hmeg

    gen = hmeg.load("small")
    samples = gen([r"\\frac{a}{b}"], seed=0)
    samples[0].image.save("fraction.png")

``import hmeg`` is instant: torch is imported with the first name that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hmeg import backends, ops
    from hmeg.canvas import Canvas
    from hmeg.generation.generator import Generator
    from hmeg.generation.loading import load
    from hmeg.generation.skipping import SkippedExpression
    from hmeg.graph.latex import parse_latex
    from hmeg.graph.symbol_graph import Relation, SymbolGraph
    from hmeg.image_sets.sample import Sample
    from hmeg.model.config import ModelConfig
    from hmeg.model.graph_batch import GraphBatch
    from hmeg.model.hmeg import HMEG

__version__ = "0.1.0"

# public name -> the module it lives in; a module stands for itself
_HOMES = {
    "Canvas": "hmeg.canvas",
    "Generator": "hmeg.generation.generator",
    "GraphBatch": "hmeg.model.graph_batch",
    "HMEG": "hmeg.model.hmeg",
    "ModelConfig": "hmeg.model.config",
    "Relation": "hmeg.graph.symbol_graph",
    "Sample": "hmeg.image_sets.sample",
    "SkippedExpression": "hmeg.generation.skipping",
    "SymbolGraph": "hmeg.graph.symbol_graph",
    "backends": "hmeg.backends",
    "load": "hmeg.generation.loading",
    "ops": "hmeg.ops",
    "parse_latex": "hmeg.graph.latex",
}

__all__ = [
    "HMEG",
    "Canvas",
    "Generator",
    "GraphBatch",
    "ModelConfig",
    "Relation",
    "Sample",
    "SkippedExpression",
    "SymbolGraph",
    "__version__",
    "backends",
    "load",
    "ops",
    "parse_latex",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOMES[name])
    value = module if _HOMES[name] == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
