"""hmeg evaluate images from the outside: what is in the report, what is left out and why, what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from hmeg.cli import main
from hmeg.evaluation.image_metrics import ImageSettings, _chosen
from hmeg.evaluation.sections import Section
from hmeg.image_sets import open_images
from tests.support.inception_weights import saved

LEFT_OUT = {"FID", "KID", "Inception Score"}


@pytest.fixture
def data(prepared_data: Path) -> Path:
    return prepared_data


def evaluate(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["evaluate", "images", *(str(a) for a in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def measures(out: Path, section: str) -> dict[tuple[str, str], dict]:
    found = json.loads((out / "metrics.json").read_text())["sections"][section]["results"]
    return {(m["name"], m["features"]): m for m in found["measures"]}


@pytest.mark.slow
def test_a_set_beside_itself(data: Path, tmp_path: Path) -> None:
    result = evaluate(data, data, "--out", tmp_path / "out", "--size", 64, "--geometry-trials", 2)
    assert result.exit_code == 0, result.output
    found = measures(tmp_path / "out", "images data")
    assert {name for (name, _), m in found.items() if m["left_out"]} == {*LEFT_OUT, "Geometry score"}
    for (name, features), measure in found.items():
        assert (measure["value"] is None) == (measure["left_out"] is not None)
        if name.startswith(("Fréchet", "Sliced")):
            assert measure["value"] == pytest.approx(0, abs=1e-6), features
        if name == "SSIM":
            # float32: a few roundings of 6e-8 each
            assert measure["value"] == pytest.approx(1, abs=1e-5) and measure["spread"] == pytest.approx(0, abs=1e-5)
    assert not any("FID" in name and m["value"] is not None for (name, _), m in found.items())
    assert "pytorch-fid" in result.stderr and "64 landmarks need more images" in result.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for text in ("hmeg symbol features, symbols cut out", "torchmetrics", "64 x 64 pixels", "seed 0", "Not measured"):
        assert text in page


def test_sections_merge_and_are_replaced(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plain = tmp_path / "plain"
    shutil.copytree(data / "images", plain)
    assert evaluate(data, plain, "--out", out, "--size", 32, "--count", 6, "--seed", 5).exit_code == 0
    assert evaluate(data, data, "--out", out, "--size", 32, "--name", "same").exit_code == 0
    assert evaluate(data, plain, "--out", out, "--size", 32).exit_code == 0
    sections = json.loads((out / "metrics.json").read_text())["sections"]
    assert list(sections) == ["images plain", "images same"]
    assert sections["images plain"]["results"]["settings"]["count"] == 0, "the later one replaces the earlier one"
    found = measures(out, "images plain")
    assert (
        "boxes of symbols are not known for the generated"
        in found["Fréchet distance", "hmeg symbol features, symbols cut out"]["left_out"]
    )
    assert found["SSIM", "pixels, over pairs"]["samples"] == "8 pairs: images of the same name"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("Images: plain") >= 1 and page.count("Images: same") >= 1
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
def test_one_name_of_two_sets(data: Path, tmp_path: Path) -> None:
    """The second one does not take the place of the first, unless that is what was asked for."""
    out, other = tmp_path / "out", tmp_path / "other name" / "data"
    shutil.copytree(data, other)
    options = ("--out", out, "--size", 32, "--geometry-trials", 0)
    assert evaluate(data, data, *options).exit_code == 0
    same = os.path.relpath(data), f"{data}/../{data.name}/"
    assert evaluate(*same, *options, "--seed", 7).exit_code == 0, "the same places, typed otherwise"
    result = evaluate(data, other, *options)
    assert result.exit_code == 1 and "section 'images data' already, of other data" in result.stderr
    assert "--name" in result.stderr and len(json.loads((out / "metrics.json").read_text())["sections"]) == 1
    result = evaluate(data, other, *options, "--name", "data")
    assert result.exit_code == 0, result.output
    found = json.loads((out / "metrics.json").read_text())["sections"]["images data"]["results"]
    assert found["inputs"] == [str(data), str(other)] and found["versions"]["torchmetrics"]
    assert f"images {data} '{other}' --name data" in found["command"] and "--device cpu" in found["command"]


def test_pairs_are_drawn_first(tmp_path: Path) -> None:
    """Three of forty images have a pair; eight are drawn of each set."""
    random = np.random.default_rng(0)
    sets = tmp_path / "real", tmp_path / "generated"
    for number, folder in enumerate(sets):
        folder.mkdir()
        for row in range(40):
            name = f"{row}" if row in (3, 21, 39) else f"{'rg'[number]}{row}"
            Image.fromarray(random.integers(128, 256, (16, 16)).astype(np.uint8)).save(folder / f"{name}.png")
    for seed in range(3):
        settings = ImageSettings(count=8, seed=seed, size=16)
        real, generated, pairs = _chosen(*(open_images(folder) for folder in sets), settings)
        assert len(real) == len(generated) == 8 and pairs.rule == "images of the same name"
        named = [(real.names[r], generated.names[g]) for r, g in pairs.rows]
        assert sorted(named) == [(f"{row}.png", f"{row}.png") for row in (21, 3, 39)]
    few = ImageSettings(count=4, size=16)
    real, generated, pairs = _chosen(open_images(sets[0]), open_images(sets[0]), few)
    assert pairs.rows == [(0, 0), (1, 1), (2, 2), (3, 3)] and real.names == generated.names
    result = evaluate(*sets, "--out", tmp_path / "out", "--size", 16, "--count", 8)
    assert result.exit_code == 0, result.output
    assert measures(tmp_path / "out", "images generated")["SSIM", "pixels, over pairs"]["samples"].startswith("3 pairs")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "39.png" in page and "not the same expression" not in page, "pairs without labels are called by their names"


def test_why_there_are_no_pairs_is_said_of_the_whole_sets(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "images", tmp_path / "bare")
    for number, path in enumerate(sorted((tmp_path / "bare").iterdir())):
        path.rename(path.with_name(f"other{number}.png"))
    assert evaluate(data, tmp_path / "bare", "--out", tmp_path / "out", "--size", 16, "--count", 4).exit_code == 0
    reason = measures(tmp_path / "out", "images bare")["SSIM", "pixels, over pairs"]["left_out"]
    assert "not the same expression" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert reason == "no pairs: the sets have no names in common, and no labels on both sides"


def test_pictures_of_a_replaced_section_go(tmp_path: Path) -> None:
    for count in (3, 1):
        section = Section("images a", "A", {}, "hmeg")
        section.gallery([(Image.new("L", (4, 4)), "x")] * count)
        section.save(tmp_path)
        other = Section("images a-1", "B", {"n": count}, "hmeg")
        other.picture(Image.new("L", (4, 4), 9), "y")
        other.save(tmp_path)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"images a-0.png", "images a-1-0.png"}
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 2
    damaged = json.loads((tmp_path / "metrics.json").read_text())
    damaged["sections"]["images a"]["blocks"] = [{"picture": "../../x.png"}]
    (tmp_path / "metrics.json").write_text(json.dumps(damaged))
    with pytest.raises(FileNotFoundError, match=r"pictures/x\.png"):
        other.save(tmp_path)


def test_with_inception_weights(data: Path, tmp_path: Path) -> None:
    weights = saved(tmp_path / "inception.pth", of_2015=True)
    result = evaluate(data, data, "--out", tmp_path / "out", "--size", 16, "--count", 4, "--inception-weights", weights)
    assert result.exit_code == 0, result.output
    found = measures(tmp_path / "out", "images data")
    assert {name for name, features in found if features == "Inception v3 of 2015"} == LEFT_OUT
    assert found["FID", "Inception v3 of 2015"]["value"] == pytest.approx(0, abs=0.05)
    assert found["Inception Score", "Inception v3 of 2015"]["value"] >= 1


def test_refusals(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    few = tmp_path / "few"
    few.mkdir()
    Image.new("L", (8, 8), 255).save(few / "a.png")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "metrics.json").write_text('{"mine": 1}')
    (tmp_path / "x.pth").write_bytes(b"rubbish")
    for arguments, words in (
        ((data, tmp_path / "empty"), "no images found"),
        ((data, few), "too few to compare sets"),
        ((data, data, "--size", 100), "power of two"),
        ((data, data, "--name", "a/b"), "no slash or colon"),
        ((data, data, "--name", "n" * 100), "1 to 100 characters"),
        ((data, data, "--out", foreign), "was not made by this version"),
        ((data, data, "--inception-weights", tmp_path / "x.pth"), "not a readable PyTorch checkpoint"),
        ((data, data, "--features", "can:nosuch"), "nosuch: No such file or directory; give a run of `hmeg train can`"),
    ):
        result = evaluate(*arguments, *(() if "--out" in arguments else ("--out", tmp_path / "out")))
        assert result.exit_code == 1 and words in result.stderr and "Traceback" not in result.output, result.output
    assert (foreign / "metrics.json").read_text() == '{"mine": 1}' and not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_found_before_the_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("nothing is measured")

    monkeypatch.setattr("hmeg.evaluation.image_metrics.measure_images", never)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures").write_text("mine")
    for out, words in (
        (tmp_path / "file" / "deep" / "out", "report.html cannot be written: no file can be made in"),
        (tmp_path / ("n" * 300), "File name too long"),
        (tmp_path / "out", f"no file can be made in {tmp_path / 'out' / 'pictures'}"),
    ):
        result = evaluate(data, data, "--out", out)
        assert result.exit_code == 1 and words in result.stderr and len(result.stderr.splitlines()) == 1, result.output
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "out", "pictures"]


def test_interrupted(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--size", 32, "--geometry-trials", 0)
    out = tmp_path / "out"
    for place in ("image_metrics.measure_images", "sections.render"):
        with monkeypatch.context() as patched:
            patched.setattr(f"hmeg.evaluation.{place}", interrupted)
            result = evaluate(data, data, "--out", out / "deep", *options)
        assert result.exit_code == 1 and not out.exists()
        assert result.stderr.splitlines()[-1] == "Error: interrupted; nothing was written"
    assert evaluate(data, data, "--out", out, *options).exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for name in ("data", "another"):
        with monkeypatch.context() as patched:
            patched.setattr("hmeg.evaluation.sections.render", interrupted)
            assert evaluate(data, data, "--out", out, *options, "--seed", 3, "--name", name).exit_code == 1
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def interrupted(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_missing_libraries_are_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hmeg.evaluation.extras._NEEDED", ("torchmetrics", "no_such_library"))
    result = evaluate(data, data, "--out", tmp_path / "out")
    assert result.exit_code == 1 and "no_such_library not installed: pip install 'hmeg[evaluate]'" in result.stderr


def test_a_report_of_something_else_stays(data: Path, tmp_path: Path) -> None:
    """A folder of `hmeg generate` has a report of its own."""
    (tmp_path / "report.html").write_text("of a run")
    result = evaluate(data, data, "--out", tmp_path, "--size", 32, "--geometry-trials", 0)
    assert result.exit_code == 1 and "report.html is a report of something else" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "of a run"
