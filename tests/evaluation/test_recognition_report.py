"""hmeg evaluate recognition --report: what the section says, and that no result takes the place of another."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from hmeg.cli import main
from hmeg.recognition import Preparation
from hmeg.recognition.checkpoint import BEST, LAST, Facts, save
from hmeg.recognition.model import CAN
from hmeg.recognition.words import Words
from tests.support.can_samples import LABELS, tiny_config, write_run

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = Words(["eos", "sos", *"x+12=^_{}"])  # "a" is not among them


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs a and b with a best.pt each, b with a last.pt; two sets of images."""
    folder = tmp_path_factory.mktemp("recognition")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CAN(tiny_config(len(WORDS)))
    for file in ("a/" + BEST, "b/" + BEST, "b/" + LAST):
        save(folder / file, model, Facts(WORDS, Preparation()))
    write_run(folder / "short words", LABELS[:2])
    write_run(folder / "all", LABELS[:4])
    return folder


def read(*arguments: object) -> Result:
    call = ["evaluate", "recognition", "--device", "cpu", *(str(a) for a in arguments)]
    result = CliRunner().invoke(main, call)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def sections(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())["sections"]
    return found


def test_every_checkpoint_and_data_set_has_a_section(folder: Path, tmp_path: Path) -> None:
    for checkpoint, *data in (("a", "all"), ("b", "all"), (f"b/{BEST}", "all"), ("a", "short words"), ("a", "all"),
                              ("a", "all", "short words")):  # fmt: skip
        places = [part for name in data for part in ("--data", folder / name)]
        result = read("--checkpoint", folder / checkpoint, *places, "--report", tmp_path)
        assert result.exit_code == 0, result.output
    assert list(sections(tmp_path)) == [
        "recognition a on all",
        "recognition b on all",
        f"recognition b {BEST} on all",
        "recognition a on short words",
        "recognition a on all + short words",
    ]


def test_equal_names_of_other_data_are_refused_until_one_is_given(folder: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "all", LABELS[:1])
    arguments = ["--checkpoint", folder / "a", "--report", tmp_path / "out"]
    assert read(*arguments, "--data", folder / "all").exit_code == 0
    assert read(*arguments, "--data", f"{os.path.relpath(folder / 'all')}/").exit_code == 0, "typed otherwise"
    assert read(*arguments, "--data", folder / "all").exit_code == 0
    before = (tmp_path / "out" / "metrics.json").read_bytes()
    result = read(*arguments, "--data", other)
    assert result.exit_code == 1 and "of other data" in result.stderr and "give a --name" in result.stderr
    assert str(folder / "all") in result.stderr and (tmp_path / "out" / "metrics.json").read_bytes() == before
    assert read(*arguments, "--data", other, "--name", "few").exit_code == 0
    assert read(*arguments, "--data", folder / "all", "--name", "few").exit_code == 0, "a name that was chosen"
    found = sections(tmp_path / "out")
    assert {key: len(s["results"]["data"]) for key, s in found.items()} == {
        "recognition a on all": 1,
        "recognition few": 1,
    }
    assert found["recognition few"]["results"]["data"] == [str(folder / "all")]


def test_the_section_says_what_was_read_and_how(folder: Path, tmp_path: Path) -> None:
    arguments = ["--checkpoint", folder / "b", "--data", folder / "short words", "--data", folder / "all"]
    result = read(*arguments, "--limit", 5, "--report", tmp_path)
    assert result.exit_code == 0, result.output
    (section,) = sections(tmp_path).values()
    found, page = section["results"], (tmp_path / "report.html").read_text(encoding="utf-8")
    text = " ".join(block.get("text", "") for block in section["blocks"])
    assert found["file"] == str(folder / "b" / BEST) and f"read by {found['file']}" in text
    assert found["limit"] == 5 and "5 images" in text and "the first ones: --limit 5" in text
    assert "highest ExpRate on the validation images" in text and "highest ExpRate" in result.stdout
    assert found["unknown_tokens"] == {"a": 1} and "the dictionary lacks, never read right: a (1)" in text
    assert found["versions"]["torch"] == torch.__version__ and f"torch {torch.__version__}" in text
    assert "python" in found["versions"] and "numpy" in text and "never read right: a (1)" in page
    typed = shlex.split(found["command"])
    assert found["command"] in text and typed[:3] == ["hmeg", "evaluate", "recognition"]
    for option, value in (("--data", str(folder / "short words")), ("--limit", "5"), ("--device", "cpu")):
        assert typed[typed.index(option) + 1] == value
    again = CliRunner().invoke(main, [*typed[1:], "--report", str(tmp_path)])
    assert again.exit_code == 0, again.output
    (same,) = sections(tmp_path).values()
    assert same["results"]["token_errors"] == found["token_errors"] and same["results"]["command"] == found["command"]


def test_places_that_cannot_be_written_are_found_before_the_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("nothing is read")

    monkeypatch.setattr("hmeg.recognition.evaluate_recognition", never, raising=False)
    file = tmp_path / "file"
    file.write_text("mine")
    (tmp_path / "R_worst").write_text("mine")
    arguments = ["--checkpoint", folder / "a", "--data", folder / "all"]
    for option, place, words in (
        ("--report", file / "deep", "report.html cannot be written"),
        ("--out", file / "R.json", f"R.json cannot be written: no file can be made in {file}"),
        ("--out", tmp_path / "R.json", "worst.jsonl cannot be written"),
    ):
        result = read(*arguments, option, place)
        assert result.exit_code == 1 and words in result.stderr, result.output
        assert len(result.stderr.splitlines()) == 1 and "choose another place" in result.stderr
    monkeypatch.undo()
    result = read("--checkpoint", tmp_path / "file", "--data", folder / "all", "--out", tmp_path / "new" / "S.json")
    assert result.exit_code == 1 and sorted(path.name for path in tmp_path.rglob("*")) == ["R_worst", "file"]


def test_last_weights_were_not_chosen(folder: Path, tmp_path: Path) -> None:
    result = read("--checkpoint", folder / "b" / LAST, "--data", folder / "short words", "--report", tmp_path)
    assert result.exit_code == 0, result.output
    (section,) = sections(tmp_path).values()
    texts = [block["text"] for block in section["blocks"] if "text" in block]
    assert not any("highest ExpRate" in text or "--limit 5" in text or "dictionary lacks" in text for text in texts)
