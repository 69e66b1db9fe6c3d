"""From symbol graphs to the padded tensors that a ``full`` export reads."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from hmeg.graph import SymbolGraph
from hmeg.graph.typeset import typeset
from hmeg.model.config import ModelConfig
from hmeg.model.noise import box_noise, image_noise


def padded(
    graphs: Sequence[SymbolGraph],
    config: ModelConfig,
    seed: int,
    symbols: int | None = None,
    first_index: int = 0,
    image_dtype: str = "float32",
) -> dict[str, np.ndarray]:
    """Inputs of :class:`hmeg.export.dense.DensePipeline` by name, in order.

    seed, first_index  graph i gets the noise of sample ``first_index + i`` of that seed, as ``hmeg generate`` draws it
    symbols            S, the symbols that every expression is padded to; None: as many as the longest has
    image_dtype        of ``image_noise``: "float16" for fp16 files
    A graph with boxes is drawn at them. ``ValueError`` for no graphs, an empty one, and one of more than S symbols.
    """
    if not graphs or not all(len(graph) for graph in graphs):
        raise ValueError("padded needs at least one graph, and at least one symbol in each")
    counts = np.array([len(graph) for graph in graphs], dtype=np.int64)
    most = int(counts.max()) if symbols is None else operator.index(symbols)
    if counts.max() > most:
        raise ValueError(f"graph {int(counts.argmax())} has {counts.max()} symbols, more than {most}")
    size, indices = config.image.size, range(first_index, first_index + len(graphs))
    inputs: dict[str, np.ndarray] = {
        "symbols": np.zeros((len(graphs), most), np.int64),
        "relations": np.zeros((len(graphs), most, most), np.int64),
        "counts": counts,
        "box_noise": np.zeros((len(graphs), most, config.layout.noise_dim), np.float32),
        "image_noise": image_noise(config.image.noise_dim, size, seed, indices).numpy().astype(image_dtype),
        "boxes_given": np.array([graph.boxes is not None for graph in graphs]),
        "boxes": np.zeros((len(graphs), most, 4), np.float32),
    }
    if config.layout.prior:
        inputs["typeset_boxes"] = np.zeros((len(graphs), most, 4), np.float32)
    for row, (graph, index) in enumerate(zip(graphs, indices, strict=True)):
        count = len(graph)
        inputs["symbols"][row, :count] = graph.symbol_ids()
        inputs["relations"][row, :count, :count] = graph.edge_type_matrix()
        inputs["box_noise"][row, :count] = box_noise(count, config.layout.noise_dim, seed, index)
        if graph.boxes is not None:
            inputs["boxes"][row, :count] = graph.boxes
        if config.layout.prior:
            inputs["typeset_boxes"][row, :count] = typeset(graph)
    return inputs
