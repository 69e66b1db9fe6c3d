"""Same weights, same numbers: every array that the published implementation computed is reproduced.

Each array is one test, of the selection that lies in the repository (tests/support/published_numbers.py) and, where
``shared/parity`` lies beside the repository, of every element. An array nobody here knows how to reproduce fails.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hmeg import ops
from hmeg.model import BASE, ImageModel, LayoutDiscriminator, ObjectDiscriminator, PatchDiscriminator
from hmeg.model.box_iou import jaccard_sum
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.mask import MaskRefiner
from hmeg.model.published import adopt, load_image_model, load_layout_generator
from hmeg.model.triple_conv import GraphTripleConv
from hmeg.training.losses import adversarial_losses
from tests.support.published_numbers import Numbers, check_whole, load_whole, numbers

pytestmark = pytest.mark.xdist_group("parity")  # one process, for networks run once a process


@functools.cache
def published() -> Numbers:
    return numbers("reference")


KEYS = sorted(published().arrays)


def noise(seed: int, shape: tuple[int, ...] | torch.Size) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


@functools.cache
def graph() -> GraphBatch:
    """The reference's three expressions, put together by our own batching."""
    of, triples = published()["graph.obj_to_img"].numpy(), published()["graph.triples"].numpy()
    symbols, matrices, boxes = [], [], []
    for i in range(of[-1] + 1):
        rows = np.flatnonzero(of == i)
        matrix = np.full((len(rows), len(rows)), -1)
        for s, kind, o in triples:
            if of[s] == i:
                matrix[s - rows[0], o - rows[0]] = kind
        symbols.append(published()["graph.objs"].numpy()[rows])
        matrices.append(matrix)
        boxes.append(published()["graph.boxes"].numpy()[rows])
    return GraphBatch.from_arrays(symbols, matrices, boxes)


Results = dict[str, Tensor]


def inputs() -> Results:
    g = graph()
    triples = torch.stack([g.edge_index[0], g.edge_type, g.edge_index[1]], dim=1)
    assert g.boxes is not None
    return {
        "graph.objs": g.symbols,
        "graph.triples": triples,
        "graph.obj_to_img": g.batch,
        "graph.boxes": g.boxes,
    }


@functools.cache
def image_model() -> ImageModel:
    """Through a checkpoint file as the authors write it, with the manifest's own arguments and vocabulary."""
    state = {f"module.{key}": value for key, value in published().weights("generator").items()}
    kwargs = {**published().networks["generator_kwargs"], "vocab": published().networks["vocab"]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.pt"
        torch.save({"model_kwargs": kwargs, "model_state": state}, path)
        with pytest.warns(UserWarning, match="object_idx_to_name is not our vocabulary"):  # it is sym0, sym1, ...
            model = load_image_model(path)
    assert model.config == BASE
    return model


@torch.no_grad()
def image_model_given_boxes() -> Results:
    model, g = image_model(), graph()
    first = model.encoder.convs.layers[0]
    edges0 = model.encoder.relation_embedding(g.edge_type)
    node0, edge0 = first(model.encoder.symbol_embedding(g.symbols), edges0, g.edge_index)
    nodes, edges = model.encoder(g.symbols, g.edge_index, g.edge_type, return_edges=True)
    out = model(g, noise(1234, (3, 32, 256, 256)), g.boxes, relation_scores=True)
    layout_64 = model.mask_refiner.compose(g.boxes, nodes, g.batch, g.num_graphs)
    assert out.relation_scores is not None
    return {
        "generator.gconv0.obj": node0,
        "generator.gconv0.pred_head": edge0[:16],
        "generator.obj_vecs": nodes,
        "generator.pred_vecs_head": edges[:16],
        "generator.boxes_pred": out.predicted_boxes,
        "generator.rel_scores_head": out.relation_scores[:16],
        "generator.soft_mask": model.mask_refiner(g.boxes),
        "generator.layout_64_strided": layout_64[:, ::8, ::4, ::4],
        "generator.layout_256_strided": out.layout[:, ::16, ::8, ::8],
        "generator.img_64": out.images[64],
        "generator.img_128": out.images[128],
        "generator.img_256_0": out.images[256][0],
        "generator.img_256_strided": out.images[256][:, :, ::4, ::4],
    }


@torch.no_grad()
def image_model_predicted_boxes() -> Results:
    out = image_model()(graph(), noise(1234, (3, 32, 256, 256)), resolutions=(256,))
    assert set(out.images) == {256}
    return {"generator.predicted_boxes.img_256_strided": out.images[256][:, :, ::4, ::4]}


def mask_refiner(mode: str) -> Results:
    refiner = adopt(MaskRefiner(64, 64), published().weights("mask_refiner")).double().train(mode == "train")
    boxes = published()["graph.boxes"].double().requires_grad_()
    masks = refiner(boxes)
    (masks * noise(55, masks.shape)).sum().backward()
    layers = {"net.0": refiner.conv1, "net.2": refiner.norm, "net.3": refiner.conv2}
    results = {"soft_mask": masks, "grad_boxes": boxes.grad}
    for name, layer in layers.items():
        results |= {f"grad.{name}.weight": layer.weight.grad, f"grad.{name}.bias": layer.bias.grad}
    if mode == "train":
        results |= {"running_mean_after": refiner.norm.running_mean, "running_var_after": refiner.norm.running_var}
    return {f"mask_refiner.{mode}.{key}": value for key, value in results.items()}


@torch.no_grad()
def layout_generator() -> Results:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layout.pt"
        torch.save({"generator": published().weights("layout_generator")}, path)
        model = load_layout_generator(path)
    assert model.config == BASE
    return {"layout_generator.boxes": model(graph(), noise(99, (len(graph().symbols), 64)))}


def box_mask(size: tuple[int, int]) -> Results:
    boxes = published()["box_mask.boxes"].double().requires_grad_()
    mask = ops.box_soft_mask(boxes, size)
    (mask * noise(77, mask.shape)).sum().backward()
    name = f"box_mask.{size[0]}x{size[1]}"
    return {f"{name}.mask": mask, f"{name}.grad_boxes": boxes.grad}


def boxes_to_layout() -> Results:
    g = graph()
    boxes = published()["graph.boxes"].double().requires_grad_()
    features = noise(11, (len(g.symbols), 24)).double().requires_grad_()
    layout = ops.box_layout(features, boxes, g.batch, (32, 32), g.num_graphs)
    (layout * noise(12, layout.shape)).sum().backward()
    return {
        "boxes_to_layout.layout": layout,
        "boxes_to_layout.grad_vecs": features.grad,
        "boxes_to_layout.grad_boxes": boxes.grad,
    }


def triple_conv() -> Results:
    g = graph()
    conv = adopt(GraphTripleConv(48, 56, 40), published().weights("triple_conv")).double()
    x = noise(21, (len(g.symbols), 48)).double().requires_grad_()
    e = noise(22, (g.edge_index.shape[1], 48)).double().requires_grad_()
    x_out, e_out = conv(x, e, g.edge_index)
    ((x_out * noise(23, x_out.shape)).sum() + (e_out * noise(24, e_out.shape)).sum()).backward()
    layers = {"net1.0": conv.edge.hidden, "net1.2": conv.edge.out}
    layers |= {"net2.0": conv.node.hidden, "net2.2": conv.node.out}
    results = {"obj": x_out, "pred": e_out, "grad_obj": x.grad, "grad_pred": e.grad}
    for name, layer in layers.items():
        results |= {f"grad.{name}.weight": layer.weight.grad, f"grad.{name}.bias": layer.bias.grad}
    edges = published()["triple_conv.sparse.edges"]
    with torch.no_grad():
        sparse_x, sparse_e = conv(x, noise(25, (8, 48)).double(), edges.T)
    results |= {"sparse.edges": edges, "sparse.obj": sparse_x, "sparse.pred": sparse_e}
    return {f"triple_conv.{key}": value for key, value in results.items()}


def crop_boxes() -> Results:
    images = noise(31, (3, 3, 64, 64)).double().requires_grad_()
    boxes = published()["graph.boxes"].double().requires_grad_()
    crops = ops.crop_boxes(images, boxes, graph().batch, (32, 32))
    (crops * noise(32, crops.shape)).sum().backward()
    return {"crop_boxes.crops": crops, "crop_boxes.grad_imgs": images.grad, "crop_boxes.grad_boxes": boxes.grad}


@torch.no_grad()
def discriminators() -> Results:
    g, images = graph(), noise(31, (3, 3, 64, 64))
    assert g.boxes is not None
    patches = adopt(PatchDiscriminator(3), published().weights("patch_discriminator")).train()
    objects = adopt(ObjectDiscriminator(3), published().weights("object_discriminator")).train()
    layouts = adopt(LayoutDiscriminator(), published().weights("layout_discriminator")).train()
    scores, logits = objects(images, g.boxes, g.symbols, g.batch)
    return {
        "patch_discriminator.scores": patches(images),
        "object_discriminator.scores": scores,
        "object_discriminator.ac_loss": F.cross_entropy(logits, g.symbols),
        "layout_discriminator.validity": layouts(g.symbols, g.boxes, g.edge_index, g.edge_type, g.batch, g.num_graphs),
    }


def losses() -> Results:
    fake, real = noise(41, (50,)), noise(42, (50,))
    results = {}
    for name in ("gan", "lsgan", "wgan"):
        generator, discriminator = adversarial_losses(name)
        results |= {f"losses.{name}.g": generator(fake), f"losses.{name}.d": discriminator(real, fake)}
    return results


def metrics() -> Results:
    boxes = published()["graph.boxes"]
    moved = boxes + torch.from_numpy((np.random.RandomState(61).rand(len(boxes), 4) * 0.06).astype(np.float32))
    return {"metrics.jaccard_sum": jaccard_sum(moved, boxes)}


# What a key starts with -> who makes it; the longest start wins.
PRODUCERS: dict[str, Callable[[], Results]] = {
    "graph.": inputs,
    "generator.": image_model_given_boxes,
    "generator.predicted_boxes.": image_model_predicted_boxes,
    "mask_refiner.train.": functools.partial(mask_refiner, "train"),
    "mask_refiner.eval.": functools.partial(mask_refiner, "eval"),
    "layout_generator.": layout_generator,
    "box_mask.boxes": lambda: {"box_mask.boxes": published()["box_mask.boxes"]},  # an input, listed to be complete
    "box_mask.64x64.": functools.partial(box_mask, (64, 64)),
    "box_mask.48x80.": functools.partial(box_mask, (48, 80)),
    "boxes_to_layout.": boxes_to_layout,
    "triple_conv.": triple_conv,
    "crop_boxes.": crop_boxes,
    "patch_discriminator.": discriminators,
    "object_discriminator.": discriminators,
    "layout_discriminator.": discriminators,
    "losses.": losses,
    "metrics.": metrics,
}
_made: dict[Callable[[], Results], Results] = {}


def ours(key: str) -> Tensor:
    starts = [start for start in PRODUCERS if key.startswith(start)]
    assert starts, f"nothing here reproduces {key}"
    producer = PRODUCERS[max(starts, key=len)]
    if producer not in _made:
        _made[producer] = producer()
    assert key in _made[producer], f"nothing here reproduces {key}"
    return _made[producer][key].detach()


def tolerance(key: str) -> Callable[[float], float]:
    """The largest error permitted, from the largest magnitude."""
    if ".grad" in key:
        return lambda largest: 1e-3 * largest
    return lambda largest: 1e-4 * max(1.0, largest)


@pytest.mark.parametrize("key", KEYS)
def test_reproduced(key: str) -> None:
    published().check(key, ours(key), tolerance(key))


@pytest.mark.parametrize("key", KEYS)
def test_reproduced_whole(key: str, shared: Path) -> None:
    check_whole(key, ours(key), whole(shared)[key], tolerance(key))


@functools.cache
def whole(shared: Path) -> dict[str, np.ndarray]:
    return load_whole(shared / "parity", "reference")


def test_every_network_is_reproduced() -> None:
    """Everything a producer makes is a published number: a misspelt key cannot pass unnoticed."""
    for producer in dict.fromkeys(PRODUCERS.values()):
        if producer not in _made:
            _made[producer] = producer()
        assert _made[producer].keys() <= set(KEYS)
