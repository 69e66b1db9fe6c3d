"""Loads the authors' checkpoints into our modules.

Files are read with ``weights_only=True``: a pickle that wants anything but tensors and plain containers is refused,
and no code of it runs. Weights that the published code computes with but nobody reads are accepted and ignored
(``mask_net``, the patch discriminator's ``classifier``, the weights of the decoder's all-zero first feature map). Any
other missing or unexpected key is an error that lists it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hmeg.graph import vocabulary

from .config import BASE, ModelConfig
from .discriminators import LayoutDiscriminator, ObjectDiscriminator, PatchDiscriminator
from .hmeg import HMEG
from .image_model import ImageModel
from .layout import LayoutGenerator
from .mask import LayoutUpsampler, MaskRefiner
from .safe_pickle import read_pickle
from .triple_conv import GraphEncoder, GraphTripleConv

_Module = TypeVar("_Module", bound=nn.Module)
_Rules = tuple[tuple[str, str], ...]  # regular expression at the start of a published key -> start of ours

_TRIPLE_CONV: _Rules = (
    (r"net1\.0\.", "edge.hidden."),
    (r"net1\.2\.", "edge.out."),
    (r"net2\.0\.", "node.hidden."),
    (r"net2\.2\.", "node.out."),
)
_MASKS: _Rules = ((r"net\.0\.", "conv1."), (r"net\.2\.", "norm."), (r"net\.3\.", "conv2."))
_UPSAMPLER: _Rules = ((r"conv\.0\.", "up1."), (r"conv\.2\.", "norm."), (r"conv\.3\.", "up2."))
_PATCHES: _Rules = (
    (r"0\.", "conv1."),
    (r"1\.", "norm1."),
    (r"3\.", "conv2."),
    (r"4\.", "norm2."),
    (r"6\.", "conv3."),
)


def _nested(rules: _Rules, published: str, ours: str) -> _Rules:
    return tuple((published + old, ours + new) for old, new in rules)


def _graph(ours: str) -> _Rules:
    first = _nested(_TRIPLE_CONV, r"gconv\.", ours + "convs.layers.0.")
    later = tuple(
        rule
        for i in range(63)
        for rule in _nested(_TRIPLE_CONV, rf"gconv_net\.gconvs\.{i}\.", f"{ours}convs.layers.{i + 1}.")
    )
    embeddings = (
        (r"obj_embeddings\.", ours + "symbol_embedding."),
        (r"pred_embeddings\.", ours + "relation_embedding."),
    )
    return (*embeddings, *first, *later)


_BOX_HEAD: _Rules = ((r"box_net\.0\.", "box_head.hidden."), (r"box_net\.2\.", "box_head.out."))

_RULES: dict[type[nn.Module], _Rules] = {
    GraphTripleConv: _TRIPLE_CONV,
    MaskRefiner: _MASKS,
    LayoutUpsampler: _UPSAMPLER,
    LayoutGenerator: (*_graph("encoder."), *_BOX_HEAD, (r"graph_encoder\.weight_matrix", "readout.weight")),
    ImageModel: (
        *_graph("encoder."),
        *_BOX_HEAD,
        (r"rel_aux_net\.0\.", "relation_head.hidden."),
        (r"rel_aux_net\.2\.", "relation_head.out."),
        *_nested(_MASKS, r"layout_net\.", "mask_refiner."),
        *_nested(_UPSAMPLER, r"layout_net\.", "upsampler."),
        (r"refinement_net\.refinement_modules\.(\d+)\.net\.0\.", r"decoder.stages.\1.conv1."),
        (r"refinement_net\.refinement_modules\.(\d+)\.net\.1\.", r"decoder.stages.\1.norm1."),
        (r"refinement_net\.refinement_modules\.(\d+)\.net\.3\.", r"decoder.stages.\1.conv2."),
        (r"refinement_net\.refinement_modules\.(\d+)\.net\.4\.", r"decoder.stages.\1.norm2."),
        *(
            (rf"refinement_net\.output_conv_{resolution}\.{old}\.", f"decoder.heads.{i}.{new}.")
            for i, resolution in enumerate((64, 128, 256))
            for old, new in ((0, "conv"), (2, "out"))
        ),
    ),
    PatchDiscriminator: _nested(_PATCHES, r"cnn\.", ""),
    ObjectDiscriminator: (
        *_nested(_PATCHES, r"discriminator\.cnn\.0\.", "patches."),
        (r"discriminator\.cnn\.2\.", "features."),
        (r"discriminator\.real_classifier\.", "real_head."),
        (r"discriminator\.obj_classifier\.", "symbol_head."),
    ),
    LayoutDiscriminator: (
        *_graph(""),
        (r"linear\.", "fuse."),
        (r"model\.", "judge."),
        (r"encoder\.weight_matrix", "readout.weight"),
    ),
}

# Read by nothing in the published code, or by another of our modules.
_IGNORED: dict[type[nn.Module], tuple[str, ...]] = {
    ImageModel: ("mask_net.",),
    MaskRefiner: ("conv.",),
    LayoutUpsampler: ("net.",),
    PatchDiscriminator: ("classifier.",),
}

_FIRST_CONV = "refinement_net.refinement_modules.0.net.0.weight"


def adopt(module: _Module, state: Mapping[str, Tensor]) -> _Module:
    """Copy a published state dict into ``module`` (any module with a published counterpart) and return it.

    ``ValueError`` lists missing and unexpected keys (in the published names where they come from the file) and tensors
    of the wrong shape. ``module.`` prefixes, left by data-parallel training, are taken off.
    """
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    wanted = module.state_dict()
    converted: dict[str, Tensor] = {}
    problems = []
    for key, value in state.items():
        if key.startswith(_IGNORED.get(type(module), ())):
            continue
        name = _our_name(type(module), key)
        if name not in wanted:
            problems.append(f"unexpected {key if key.isprintable() else repr(key)}")
            continue
        if isinstance(module, ImageModel) and key == _FIRST_CONV and value.dim() == 4:
            value = value[:, : wanted[name].shape[1]] if value.shape[1] == wanted[name].shape[1] + 1 else value
        if value.shape != wanted[name].shape:
            problems.append(f"{key} is {tuple(value.shape)}, not {tuple(wanted[name].shape)}")
            continue
        converted[name] = value
    named_by_file = {_our_name(type(module), key) for key in state}
    problems += [f"missing {name}" for name in wanted if name not in named_by_file]
    if problems:
        raise ValueError(f"these weights do not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(converted)
    return module


def _our_name(module_type: type[nn.Module], key: str) -> str | None:
    for published, ours in _RULES[module_type]:
        match = re.match(published, key)
        if match:
            return match.expand(ours) + key[match.end() :]
    return None


def load_image_model(path: str | os.PathLike[str]) -> ImageModel:
    """The authors' image model, in evaluation mode: a file with ``model_kwargs`` (with ``vocab``) and ``model_state``.

    Embedding rows are brought into our order of symbols and relations when the file's vocabulary has the same names in
    another; a vocabulary of other names is taken to be in our order, with a warning. ``ValueError`` names the file.
    """
    return _image_model(read_pickle(path), path)


def _image_model(checkpoint: Mapping[str, Any], path: str | os.PathLike[str]) -> ImageModel:
    kwargs = _entry(checkpoint, "model_kwargs", path)
    state = _state(checkpoint, "model_state", path)
    try:
        model = adopt(ImageModel(_config(kwargs)), state)
        _reorder(model.encoder, kwargs.get("vocab"), path)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    return model.eval()


def load_layout_generator(
    path: str | os.PathLike[str], vocab: Mapping[str, Sequence[str]] | None = None
) -> LayoutGenerator:
    """The authors' box network, in evaluation mode: a file whose entry ``generator`` is the state dict.

    Sizes are read off the weights. The file does not say in which order its symbols are: give the ``vocab`` of the
    image model it was trained beside (``object_idx_to_name``, ``pred_idx_to_name``), else our order is assumed.
    ``ValueError`` names the file.
    """
    state = _state(read_pickle(path), "generator", path)
    try:
        model = adopt(LayoutGenerator(_layout_config(state)), state)
        _reorder(model.encoder, vocab, path)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    return model.eval()


def load_pipeline(image_model: str | os.PathLike[str], layout_generator: str | os.PathLike[str]) -> HMEG:
    """Both of the authors' checkpoints as one pipeline, in evaluation mode (to generate with, or to save as our own).

    The box network's symbols are taken to be in the order of the image model's vocabulary. ``ValueError`` as above.
    """
    checkpoint = read_pickle(image_model)
    images = _image_model(checkpoint, image_model)
    layouts = load_layout_generator(layout_generator, checkpoint["model_kwargs"].get("vocab"))
    config = _renamed(replace(images.config, name=BASE.name, layout=layouts.config.layout))
    with torch.device("meta"):
        model = HMEG(config)
    model.image_model, model.layout_generator = images, layouts
    images.config = layouts.config = config
    return model.eval()


def _entry(checkpoint: Mapping[str, Any], key: str, path: str | os.PathLike[str]) -> Mapping[str, Any]:
    value = checkpoint.get(key)
    if not isinstance(value, Mapping):
        held = ", ".join(sorted(map(repr, checkpoint))) or "nothing"
        raise ValueError(f"{os.fspath(path)}: no dict {key!r} in this checkpoint; it holds {held}")
    return value


def _state(checkpoint: Mapping[str, Any], key: str, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    state = dict(_entry(checkpoint, key, path))
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise ValueError(f"{os.fspath(path)}: {key}[{name!r}] is not a dense tensor")
    return state


_FIXED_KWARGS = {
    "mlp_normalization": "none",
    "normalization": "batch",
    "activation": "leakyrelu-0.2",
    "gconv_pooling": "avg",
}
_SIZE_KWARGS = {
    "embedding_dim": "embedding_dim",
    "gconv_dim": "gconv_dim",
    "gconv_hidden_dim": "gconv_hidden_dim",
    "gconv_num_layers": "gconv_num_layers",
    "layout_noise_dim": "noise_dim",
    "refinement_dims": "refinement_dims",
}  # their names -> ours
_UNREAD_KWARGS = ("vocab", "mask_size")  # mask_size is that of mask_net, whose output nothing reads


def _config(kwargs: Mapping[str, Any]) -> ModelConfig:
    sizes: dict[str, Any] = {}
    for key, value in kwargs.items():
        if key in _FIXED_KWARGS:
            if value != _FIXED_KWARGS[key]:
                raise ValueError(f"model_kwargs {key} {value!r} is not supported, only {_FIXED_KWARGS[key]!r}")
        elif key in _SIZE_KWARGS:
            sizes[_SIZE_KWARGS[key]] = value
        elif key == "image_size":
            if tuple(value) != (BASE.image.size, BASE.image.size):
                raise ValueError(f"model_kwargs image_size {value!r} is not supported, only (256, 256)")
        elif key not in _UNREAD_KWARGS:
            raise ValueError(f"model_kwargs has the unknown entry {key!r}")
    return _renamed(BASE.changed(image=sizes))


def _layout_config(state: Mapping[str, Tensor]) -> ModelConfig:
    shapes = {key.removeprefix("module."): tuple(value.shape) for key, value in state.items()}
    sizes: dict[str, int] = {}
    embedding, hidden = shapes.get("obj_embeddings.weight", ()), shapes.get("gconv.net1.0.weight", ())
    box = shapes.get("box_net.0.weight", ())
    if len(embedding) == len(hidden) == len(box) == 2 and box[1] > 2 * embedding[1]:
        layers = 1 + sum(bool(re.fullmatch(r"gconv_net\.gconvs\.\d+\.net1\.0\.weight", key)) for key in shapes)
        sizes = {
            "embedding_dim": embedding[1],
            "hidden_dim": hidden[0],
            "num_layers": layers,
            "noise_dim": box[1] - 2 * embedding[1],
        }
    return _renamed(BASE.changed(layout=sizes))


def _renamed(config: ModelConfig) -> ModelConfig:
    return config if config == BASE else replace(config, name="published")


def _our_symbols() -> list[str]:
    return [vocabulary.IMAGE_LABEL, *vocabulary.SYMBOL_LABELS]


def _our_relations() -> list[str]:
    return ["__none__", *(name + end for name in vocabulary.RELATIONS for end in ("", "_inv"))]


def _reorder(encoder: GraphEncoder, vocab: object, path: str | os.PathLike[str]) -> None:
    """Brings the rows of both embeddings from the order of a file's vocabulary (None: ours) into our order."""
    if vocab is not None:
        _reorder_rows(encoder.symbol_embedding, vocab, "object_idx_to_name", _our_symbols(), path)
        _reorder_rows(encoder.relation_embedding, vocab, "pred_idx_to_name", _our_relations(), path)


def _reorder_rows(
    embedding: nn.Embedding, vocab: object, key: str, ours: Sequence[str], path: str | os.PathLike[str]
) -> None:
    names = vocab.get(key) if isinstance(vocab, Mapping) else None
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"vocab has no list of names {key!r}")
    row_of = {"," if name == "COMMA" else name: row for row, name in enumerate(names)}
    if len(names) != len(ours) or set(row_of) != set(ours):
        strange = sorted(set(row_of) ^ set(ours))[:4]
        warnings.warn(
            f"{os.fspath(path)}: {key} is not our vocabulary (differs in {', '.join(strange)}, ...); its rows are taken"
            " to be in our order",
            stacklevel=4,
        )
        return
    order = torch.tensor([row_of[name] for name in ours])
    with torch.no_grad():
        embedding.weight[: len(ours)] = embedding.weight[order]
