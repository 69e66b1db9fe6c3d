"""The published way that generation is measured against computes what our networks compute."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from bench import published_road
from hmeg.graph.latex import parse_latex
from hmeg.model.graph_batch import GraphBatch
from tests.support.tiny_model import TINY, tiny_model


def test_same_boxes_and_images() -> None:
    model = tiny_model()
    graph = GraphBatch.from_graphs([parse_latex(text) for text in (r"\frac{a}{b}", "x + 1", "y")])
    box_noise = torch.randn(len(graph.symbols), TINY.layout.noise_dim)
    noise = torch.randn(3, TINY.image.noise_dim, 64, 64)
    with torch.inference_mode():
        boxes, output = model(graph, box_noise, noise)
        made = published_road.boxes_of(model.layout_generator, graph, box_noise)
        torch.testing.assert_close(made, boxes, rtol=1e-5, atol=1e-5)
        layout = published_road.layout_of(model, graph, boxes)
        images = published_road.images(model, layout, noise)
    assert images.keys() == output.images.keys()
    for side, image in images.items():
        torch.testing.assert_close(image, output.images[side], rtol=0, atol=1e-4)


def test_draws_a_file(tmp_path) -> None:
    model = tiny_model(TINY.changed(image={"channels": 3}))
    published_road.draw(model, "x ^ 2", tmp_path / "x.png", torch.randn(1, TINY.image.noise_dim, 64, 64))
    with Image.open(tmp_path / "x.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (64, 64, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
