"""How tensors become arguments of native code: by name, checked, in one place; what is wrong is said in words."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hmeg import ops
from hmeg.backends.native import entry
from hmeg.backends.native.device import Cpu
from hmeg.backends.native.entry import DTYPE_CODES, EntryPoint
from hmeg.backends.native.extension import entry_points
from tests.emulation.library import EMULATOR, Library, build, compiler
from tests.support import boxes as some

ROOT = Path(__file__).parents[2]
native = importlib.import_module("hmeg._C")


def given(**changed: Any) -> dict[str, Any]:
    """What box_soft_mask_forward takes."""
    values = {"boxes": some.ordinary(3), "masks": torch.zeros(3, 1, 4, 5, dtype=torch.float64)}
    return {**values, "symbols": 3, "height": 4, "width": 5, **changed}


def entry_of(name: str = "box_soft_mask_forward") -> EntryPoint:
    return entry_points("cpu")[name]


def test_values_are_taken_by_name_in_any_order() -> None:
    values = given()
    entry_of()(dict(reversed(values.items())))
    assert torch.equal(values["masks"], ops.box_soft_mask(values["boxes"], (4, 5), backend="cpu"))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"boxs": 1}, TypeError, "box_soft_mask_forward has no boxs; it has boxes, masks, symbols, height, width"),
        ({"boxes": 5}, TypeError, "boxes must be a tensor, got int"),
        ({"boxes": None}, TypeError, "boxes must be a tensor, got NoneType"),
        ({"masks": torch.zeros(3, 1, 4, 5)}, TypeError, "masks must be torch.float64 in a call of"),
        ({"masks": torch.zeros(3, 1, 4, 5, device="meta", dtype=torch.float64)}, ValueError, "masks must be on cpu"),
        ({"masks": torch.zeros(3, 1, 5, 4, dtype=torch.float64).mT}, ValueError, "masks is written to and must be"),
        ({"boxes": torch.zeros(3, 4, dtype=torch.int64)}, TypeError, "takes torch.float32, .* not torch.int64"),
        ({"boxes": some.ordinary(3).half(), "masks": torch.zeros(3, 1, 4, 5).half()}, ValueError, "float32 and float"),
        ({"height": 4.0}, TypeError, "box_soft_mask_forward: height must be an integer of 64 bits, got float"),
        ({"height": 2**70}, TypeError, "height must be an integer of 64 bits, got int"),
        ({"symbols": some.ordinary(3)}, TypeError, "symbols must be an integer of 64 bits, got Tensor"),
    ],
)  # fmt: skip
def test_bad_values(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        entry_of()(given(**changed))


def test_a_missing_value_is_named() -> None:
    values = given()
    del values["width"], values["boxes"]
    with pytest.raises(TypeError, match=r"box_soft_mask_forward: no value for boxes, width"):
        entry_of()(values)


def test_sums_and_indices_have_types_of_their_own() -> None:
    values = {
        "grad": torch.zeros(1, 2), "x": torch.zeros(3, 2), "weight": torch.zeros(2, 2),
        "batch": torch.zeros(3, dtype=torch.int64), "grad_x": torch.zeros(3, 2), "grad_weight": torch.zeros(2, 2),
        "means": torch.zeros(1, 2), "grad_products": torch.zeros(1, 2), "symbols": 3, "graphs": 1, "channels": 2,
    }  # fmt: skip
    call = entry_of("attention_readout_backward")
    call(values)
    with pytest.raises(
        TypeError, match=r"means must be torch\.float32 in a call of torch\.float32, got torch\.float64"
    ):
        call({**values, "means": torch.zeros(1, 2, dtype=torch.float64)})
    with pytest.raises(TypeError, match=r"batch must be torch\.int64"):
        call({**values, "batch": torch.zeros(3, dtype=torch.int32)})


def test_variant_is_checked() -> None:
    with pytest.raises(ValueError, match="CPU variant 7 cannot run here"):
        entry_of()(given(), variant=7)


def test_extension_refuses_what_is_no_list_of_values() -> None:
    """Below the checks of Python: nothing that is given there ends the process."""
    _fields, run, bounds = native.entries["cpu"]["box_soft_mask_forward"]
    for function in (run, bounds):
        with pytest.raises(TypeError, match="takes a list of values"):
            function(1, 2)
        with pytest.raises(TypeError, match="takes 5 values, got 1"):
            function([1], 0, 1, -1, 0, 0)
        with pytest.raises(TypeError, match="boxes must be an address, got str"):
            function(["x", 0, 1, 1, 1], 0, 1, -1, 0, 0)
        with pytest.raises(TypeError, match="dtype, threads, variant, stream and workspace must be integers"):
            function([0, 0, 1, 1, 1], 0.5, 1, -1, 0, 0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_entry_point_tells_its_fields(device: str) -> None:
    for name, point in entry_points(device).items():
        names = [field.name for field in point.fields]
        assert len(set(names)) == len(names), name
        assert any(field.written for field in point.fields), name
    if device == "cpu" or native.build_info()["cuda"]:
        assert len(entry_points(device)) >= 15


def test_debug_finds_what_is_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "DEBUG", True)
    with pytest.raises(ValueError, match="box_soft_mask_forward: masks has 60 items, 120 are reached"):
        entry_of()(given(height=8))
    images = torch.zeros(2, 3, 8, 8)
    crops, boxes = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4)
    sizes = {
        "symbols": 1, "graphs": 2, "channels": 3, "height": 8, "width": 8, "graph_stride": 192, "channel_stride": 64,
        "row_stride": 8, "column_stride": 1, "crop_height": 4, "crop_width": 4,
    }  # fmt: skip
    values = {"images": images, "boxes": boxes, "batch": torch.zeros(1, dtype=torch.int64), "crops": crops, **sizes}
    entry_of("crop_boxes_forward")(values)
    with pytest.raises(ValueError, match="crop_boxes_forward: images has 383 items, 384 are reached"):
        entry_of("crop_boxes_forward")({**values, "images": images.flatten()[1:]})


@pytest.mark.compiler
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the emulator with")
def test_debug_finds_indices_out_of_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "DEBUG", True)
    collect = kernels().entries["triple_message_collect"]
    rows, lists = torch.ones(3, 4), torch.tensor([0, 1, 2])
    values = {
        "rows": rows, "subject_rows": torch.tensor([0, 2, 3]), "subject_edges": lists,
        "object_rows": torch.tensor([0, 2, 3]), "object_edges": lists, "carried": torch.zeros(0),
        "collected": torch.zeros(2, 2, 4), "first": 0, "count": 3, "edges": 3, "nodes": 2, "width": 4,
    }  # fmt: skip
    collect(values)
    assert values["collected"][:, :, 0].tolist() == [[2, 1], [2, 1]]
    with pytest.raises(IndexError, match=r"triple_message_collect: object_edges must lie in \[0, 3\), got 3"):
        collect({**values, "object_edges": lists + 1})


def kernels() -> Library:
    return Library(build(list((ROOT / "kernels" / "cuda").glob("*.cu")), "kernels"))


@pytest.mark.compiler
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the emulator with")
def test_what_both_devices_have_takes_the_same_fields() -> None:
    """Checked against the emulator's build of the CUDA sources: there need be no nvcc."""
    shared = set(entry_points("cpu")) & set(kernels().entries)
    assert {
        "box_soft_mask_forward",
        "crop_boxes_backward",
        "refine_masks_forward",
        "attention_readout_backward",
    } <= shared
    for name in shared:
        assert entry_points("cpu")[name].fields == kernels().entries[name].fields, name


@pytest.mark.compiler
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the emulator with")
def test_faulty_kernels_are_entry_points_too() -> None:
    assert list(Library(build([EMULATOR / "faulty.cu"], "faulty")).entries) == ["faulty_case"]


def test_addresses_are_taken_in_one_place() -> None:
    takers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "hmeg").rglob("*.py")
        if "export" not in path.parts and re.search(r"\bdata_ptr\b", path.read_text())
    ]
    assert takers == ["hmeg/backends/native/entry.py"]


def test_codes_agree_across_languages() -> None:
    header = (ROOT / "csrc" / "dtype.h").read_text()
    codes = {name: int(code) for name, code in re.findall(r"k(\w+) = (\d)", header)}
    assert {str(dtype).removeprefix("torch."): code for dtype, code in DTYPE_CODES.items()} == {
        name.lower(): code for name, code in codes.items()
    }
    kinds = re.search(r"enum class Kind : int64_t \{ (.*?) \};", (ROOT / "csrc" / "entry.h").read_text())[1].split(", ")
    assert kinds.index("kScalars") == entry.SCALARS and kinds.index("kSums") == entry.SUMS
    fixed = {f"k{str(dtype).removeprefix('torch.').capitalize()}": code for code, dtype in entry.FIXED_TYPES.items()}
    assert fixed == {kind: kinds.index(kind) for kind in fixed}


def test_threads_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    device = Cpu()
    monkeypatch.setattr(device, "_entries", {"entry": lambda values, *how: asked.append(how)})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    device.call("entry")
    assert asked == [(7, -1)]


def test_read_only_tensors_may_have_any_strides() -> None:
    boxes: Tensor = some.ordinary(6)
    masks = torch.zeros(3, 1, 4, 5, dtype=torch.float64)
    entry_of()(given(boxes=boxes[::2], masks=masks))
    assert torch.equal(masks, ops.box_soft_mask(boxes[::2].contiguous(), (4, 5), backend="cpu"))
