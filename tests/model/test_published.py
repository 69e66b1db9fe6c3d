"""The authors' checkpoint formats, on small synthetic files with their key names."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmeg.graph import vocabulary
from hmeg.model.checkpoint import load_weights, save_weights
from hmeg.model.graph_batch import GraphBatch
from hmeg.model.published import load_image_model, load_layout_generator, load_pipeline

D, K, LAYERS, DIMS, NOISE = 8, 12, 3, (10, 9, 8, 7, 6), 4
KWARGS: dict[str, Any] = {
    "image_size": (256, 256),
    "embedding_dim": D,
    "gconv_dim": D,
    "gconv_hidden_dim": K,
    "gconv_num_layers": LAYERS,
    "mlp_normalization": "none",
    "refinement_dims": DIMS,
    "normalization": "batch",
    "activation": "leakyrelu-0.2",
    "mask_size": 16,
    "layout_noise_dim": NOISE,
}
SYMBOLS = [vocabulary.IMAGE_LABEL, *("COMMA" if s == "," else s for s in vocabulary.SYMBOL_LABELS)]
RELATIONS = ["__none__"] + [r + end for r in vocabulary.RELATIONS for end in ("", "_inv")]


def _layer(name: str, *shape: int, outputs: int | None = None) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", (shape[0] if outputs is None else outputs,)


def _norm(name: str, dim: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _layer(name, dim)
    yield f"{name}.running_mean", (dim,)
    yield f"{name}.running_var", (dim,)
    yield f"{name}.num_batches_tracked", ()


def _graph_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "obj_embeddings.weight", (103, D)
    yield "pred_embeddings.weight", (13, D)
    for conv in ("gconv", *(f"gconv_net.gconvs.{i}" for i in range(LAYERS - 1))):
        yield from _layer(f"{conv}.net1.0", K, 3 * D)
        yield from _layer(f"{conv}.net1.2", 2 * K + D, K)
        yield from _layer(f"{conv}.net2.0", K, K)
        yield from _layer(f"{conv}.net2.2", D, K)


def _image_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _graph_shapes()
    yield from _layer("box_net.0", K, D)
    yield from _layer("box_net.2", 4, K)
    yield from _layer("rel_aux_net.0", K, 8 + 2 * D)
    yield from _layer("rel_aux_net.2", 13, K)
    yield from _norm("mask_net.1", D)
    yield from _layer("mask_net.2", D, D, 3, 3)
    yield from _layer("layout_net.net.0", 64, 4, 3, 3)
    yield from _norm("layout_net.net.2", 64)
    yield from _layer("layout_net.net.3", 1, 64, 3, 3)
    yield from _layer("layout_net.conv.0", D, D, 4, 4)
    yield from _norm("layout_net.conv.2", D)
    yield from _layer("layout_net.conv.3", D, D, 4, 4)
    before = 1  # the all-zero feature map
    for i, dim in enumerate(DIMS):
        net = f"refinement_net.refinement_modules.{i}.net"
        yield from _layer(f"{net}.0", dim, D + NOISE + before, 3, 3)
        yield from _norm(f"{net}.1", dim)
        yield from _layer(f"{net}.3", dim, dim, 3, 3)
        yield from _norm(f"{net}.4", dim)
        if i >= 2:
            head = f"refinement_net.output_conv_{(64, 128, 256)[i - 2]}"
            yield from _layer(f"{head}.0", dim, dim, 3, 3)
            yield from _layer(f"{head}.2", 3, dim, 1, 1)
        before = dim + (3 if i >= 2 else 0)


def _layout_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _graph_shapes()
    yield from _layer("box_net.0", K, 2 * D + 5)
    yield from _layer("box_net.2", 4, K)
    yield "graph_encoder.weight_matrix", (D, D)


def _values(shapes: Iterator[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    state = {}
    for key, shape in shapes:
        value = torch.randn(shape, generator=generator)
        state[key] = torch.tensor(3) if key.endswith("tracked") else value.abs() if key.endswith("var") else value
    return state


@pytest.fixture(scope="module")
def image_state() -> dict[str, Tensor]:
    return _values(_image_shapes())


@pytest.fixture(scope="module")
def layout_state() -> dict[str, Tensor]:
    return _values(_layout_shapes())


def _vocab(symbols: list[str] = SYMBOLS, relations: list[str] = RELATIONS) -> dict[str, list[str]]:
    return {"object_idx_to_name": symbols, "pred_idx_to_name": relations}


def _write_image(path: Path, state: dict[str, Any], **kwargs: Any) -> Path:
    torch.save({"model_kwargs": {"vocab": _vocab(), **KWARGS, **kwargs}, "model_state": state, "epoch": 3}, path)
    return path


def test_image_model(image_state: dict[str, Tensor], tmp_path: Path) -> None:
    model = load_image_model(_write_image(tmp_path / "a.pt", image_state))
    assert not model.training
    config = model.config
    assert (config.name, config.image.gconv_dim, config.image.refinement_dims) == ("published", D, DIMS)
    assert not config.image.box_coordinates
    assert torch.equal(model.encoder.symbol_embedding.weight, image_state["obj_embeddings.weight"])
    assert torch.equal(model.encoder.convs.layers[2].node.out.weight, image_state["gconv_net.gconvs.1.net2.2.weight"])
    first = image_state["refinement_net.refinement_modules.0.net.0.weight"]
    assert torch.equal(model.decoder.stages[0].conv1.weight, first[:, :-1])
    assert torch.equal(model.decoder.heads[2].out.bias, image_state["refinement_net.output_conv_256.2.bias"])
    assert torch.equal(model.mask_refiner.norm.running_var, image_state["layout_net.net.2.running_var"])
    assert torch.equal(model.upsampler.up2.weight, image_state["layout_net.conv.3.weight"])
    prefixed = {f"module.{key}": value for key, value in image_state.items()}
    again = load_image_model(_write_image(tmp_path / "b.pt", prefixed))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


@torch.no_grad()
def test_layout_generator(layout_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"generator": layout_state, "steps": 10}, tmp_path / "a.pt")
    torch.save({"generator": {f"module.{k}": v for k, v in layout_state.items()}}, tmp_path / "b.pt")
    model, again = load_layout_generator(tmp_path / "a.pt"), load_layout_generator(tmp_path / "b.pt")
    assert not model.training
    sizes = model.config.layout
    assert (sizes.embedding_dim, sizes.noise_dim, sizes.num_layers) == (D, 5, 3)
    graph = GraphBatch.from_arrays([np.array([3, 99])], [np.array([[0, 1], [2, 0]])])
    noise = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(graph, noise), again(graph, noise))
    assert model(graph, noise).shape == (2, 4)


@torch.no_grad()
def test_both_make_a_pipeline(image_state: dict[str, Tensor], layout_state: dict[str, Tensor], tmp_path: Path) -> None:
    """... which can be saved in our format and does what its parts do."""
    image_path, layout_path = _write_image(tmp_path / "image.pt", image_state), tmp_path / "layout.pt"
    torch.save({"generator": layout_state}, layout_path)
    pipeline = load_pipeline(image_path, layout_path)
    assert not any(module.training for module in pipeline.modules())
    graph = GraphBatch.from_arrays([np.array([3, 99])], [np.array([[0, 1], [2, 0]])])
    generator = torch.Generator().manual_seed(1)
    box_noise, noise = torch.randn(2, 5, generator=generator), torch.randn(1, NOISE, 256, 256, generator=generator)
    boxes, out = pipeline(graph, box_noise, noise, (64,))
    assert torch.equal(boxes, load_layout_generator(layout_path)(graph, box_noise))
    assert torch.equal(out.images[64], load_image_model(image_path)(graph, noise, boxes, (64,)).images[64])
    save_weights(pipeline, tmp_path / "ours", dtype=torch.float32)
    loaded = load_weights(tmp_path / "ours")
    assert loaded.config == pipeline.config
    assert torch.equal(loaded(graph, box_noise, noise, (64,))[1].images[64], out.images[64])


def test_half_precision_is_widened(layout_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"generator": {k: v.half() for k, v in layout_state.items()}}, tmp_path / "a.pt")
    assert load_layout_generator(tmp_path / "a.pt").box_head.out.weight.dtype == torch.float32


def test_rows_follow_the_file_s_vocabulary(image_state: dict[str, Tensor], tmp_path: Path) -> None:
    order = np.random.RandomState(0).permutation(len(SYMBOLS))
    relations = np.random.RandomState(1).permutation(len(RELATIONS))
    state = dict(image_state)
    state["obj_embeddings.weight"] = state["obj_embeddings.weight"].clone()
    state["obj_embeddings.weight"][: len(order)] = image_state["obj_embeddings.weight"][order]
    state["pred_embeddings.weight"] = image_state["pred_embeddings.weight"][relations]
    vocab = _vocab([SYMBOLS[i] for i in order], [RELATIONS[i] for i in relations])
    model = load_image_model(_write_image(tmp_path / "a.pt", state, vocab=vocab))
    assert torch.equal(model.encoder.symbol_embedding.weight, image_state["obj_embeddings.weight"])
    assert torch.equal(model.encoder.relation_embedding.weight, image_state["pred_embeddings.weight"])


def test_a_strange_vocabulary_warns(image_state: dict[str, Tensor], tmp_path: Path) -> None:
    strange = [vocabulary.IMAGE_LABEL] + [f"sym{i}" for i in range(101)]
    path = _write_image(tmp_path / "a.pt", image_state, vocab=_vocab(strange))
    with pytest.warns(UserWarning, match=r"a\.pt: object_idx_to_name is not our vocabulary"):
        model = load_image_model(path)
    assert torch.equal(model.encoder.symbol_embedding.weight, image_state["obj_embeddings.weight"])


def test_keys_that_do_not_fit_are_listed(
    image_state: dict[str, Tensor], layout_state: dict[str, Tensor], tmp_path: Path
) -> None:
    wrong = dict(image_state)
    del wrong["box_net.2.bias"]
    wrong["extra.weight"] = torch.ones(1)
    wrong["gconv_net.gconvs.7.net1.0.weight"] = torch.ones(1)
    wrong["rel_aux_net.0.bias"] = torch.ones(3)
    with pytest.raises(ValueError, match="do not fit ImageModel") as error:
        load_image_model(_write_image(tmp_path / "a.pt", wrong))
    message = str(error.value)
    parts = ("a.pt", "missing box_head.out.bias", "unexpected extra.weight", "gconvs.7", "rel_aux_net.0.bias is (3,)")
    assert all(part in message for part in parts), message
    torch.save({"generator": {**layout_state, "extra": torch.ones(1)}}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"b\.pt: .*unexpected extra"):
        load_layout_generator(tmp_path / "b.pt")
    torch.save({"generator": {}}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"c\.pt: .*missing readout\.weight"):
        load_layout_generator(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalization": "instance"}, "normalization 'instance'"),
        ({"activation": "relu"}, "activation"),
        ({"image_size": (128, 128)}, "image_size"),
        ({"gconv_dim": "x"}, "gconv_dim"),
        ({"something_new": 1}, "something_new"),
        ({"vocab": {"object_idx_to_name": 3}}, "object_idx_to_name"),
    ],
)
def test_unsupported_kwargs(image_state: dict[str, Tensor], tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.pt: .*{message}"):
        load_image_model(_write_image(tmp_path / "a.pt", image_state, **change))


class _Attack:
    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_pickled_code_is_refused_and_not_run(layout_state: dict[str, Tensor], tmp_path: Path) -> None:
    marker = tmp_path / "attacked"
    torch.save({"generator": layout_state, "extra": _Attack(marker)}, tmp_path / "zip.pt")
    torch.save({"generator": _Attack(marker)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps({"generator": _Attack(marker)}, protocol=2))
    for name in ("zip.pt", "old.pt", "bare.pt"):
        for load in (load_image_model, load_layout_generator):
            with pytest.raises(ValueError, match=rf"{name}: not a checkpoint of tensors and plain containers") as error:
                load(tmp_path / name)
            assert "\n" not in str(error.value)
            assert "weights_only" not in str(error.value), "no advice to switch the protection off"
    assert not marker.exists()


def test_other_objects_are_refused(layout_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"generator": layout_state, "best": np.float64(3)}, tmp_path / "numpy.pt")
    with pytest.raises(ValueError, match=r"numpy\.pt: .*refused \(.*numpy"):
        load_layout_generator(tmp_path / "numpy.pt")
    for content, message in (
        ([1, 2], "the checkpoint must be a dict"),
        ({"model_state": {}}, "no dict 'generator' in this checkpoint; it holds 'model_state'"),
        ({"generator": {"a": 3}}, r"generator\['a'\] is not a dense tensor"),
        ({"generator": {"a": torch.eye(2).to_sparse()}}, r"generator\['a'\] is not a dense tensor"),
    ):
        torch.save(content, tmp_path / "odd.pt")
        with pytest.raises(ValueError, match=rf"odd\.pt: {message}"):
            load_layout_generator(tmp_path / "odd.pt")


def test_truncated_and_foreign_files(layout_state: dict[str, Tensor], tmp_path: Path) -> None:
    for old_format in (False, True):
        torch.save({"generator": layout_state}, tmp_path / "good.pt", _use_new_zipfile_serialization=not old_format)
        content = (tmp_path / "good.pt").read_bytes()
        broken = [content[: int(len(content) * share)] for share in (0, 0.001, 0.1, 0.5, 0.99)]
        broken += [b"not a checkpoint", b"\x80\x02", b"PK\x03\x04", bytes(100), b"{}"]
        for i, data in enumerate(broken):
            path = tmp_path / f"broken{i}.pt"
            path.write_bytes(data)
            with pytest.raises(ValueError, match=rf"broken{i}\.pt: not a ") as error:
                load_layout_generator(path)
            assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        load_layout_generator(tmp_path / "nowhere.pt")
