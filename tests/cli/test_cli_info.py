"""hmeg info: everything it promises, in text and in JSON, with and without extension and weights."""

import importlib
import json

import pytest
from click.testing import CliRunner

import hmeg
from hmeg.cli import info
from hmeg.generation import loading
from hmeg.model.checkpoint import save_weights
from tests.support.tiny_model import save_tiny, tiny_model


def run(*arguments):
    result = CliRunner().invoke(info.command, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """An installation whose bundled weights are those in ``tmp_path / "weights"``."""
    (tmp_path / "weights").mkdir()
    files = importlib.resources.files

    def fake(package):
        return tmp_path if package == "hmeg" else files(package)

    monkeypatch.setattr("importlib.resources.files", fake)
    return tmp_path / "weights"


def test_json():
    found = json.loads(run("--json"))
    assert found["version"] == hmeg.__version__
    assert found["libraries"]["torch"]
    assert set(found["backends"]) >= {"reference", "cpu", "cuda", "triton"}
    assert found["backends"]["reference"]["available"] is True
    for status in found["backends"].values():
        assert status["available"] or status["reason"]
    assert set(found["weights"]) == set(hmeg.generation.bundled_weights())


def test_symbols():
    records = json.loads(run("--symbols", "--json"))
    assert [record["id"] for record in records] == list(range(1, len(records) + 1))
    assert sum(record["crohme"] for record in records) == 101
    assert next(r for r in records if r["name"] == r"\omega")["characters"] == "ω"
    lines = run("--symbols").splitlines()
    assert lines[0].startswith(f"{len(records)} symbols can be read; the first 101 are CROHME's")
    assert lines[2 + 101].split()[:3] == ["102", "D", "letter"]


def test_text_names_every_backend_with_its_reason():
    found = json.loads(run("--json"))
    text = run()
    assert text.startswith(f"hmeg {hmeg.__version__}\n")
    for name, status in found["backends"].items():
        (line,) = [line for line in text.split("\nbackends\n")[1].splitlines() if line.strip().startswith(name + " ")]
        assert (f"not available: {status['reason']}" in line) != status["available"]


def test_without_the_extension(monkeypatch):
    import_module = importlib.import_module

    def missing(name, package=None):
        if name == "hmeg._C":
            raise ImportError("No module named 'hmeg._C'")
        return import_module(name, package)

    monkeypatch.setattr(info.importlib, "import_module", missing)
    assert "cannot be imported (No module named 'hmeg._C')" in run()


def test_build_is_shown(monkeypatch):
    class Extension:
        @staticmethod
        def build_info():
            return {"compiler": "g++ 99", "cuda": None, "cuda_archs": ["80", "90"]}

    import_module = importlib.import_module
    monkeypatch.setattr(
        info.importlib, "import_module", lambda name, *a: Extension if name == "hmeg._C" else import_module(name, *a)
    )
    text = run()
    assert "compiler      g++ 99" in text
    assert "cuda          none" in text
    assert "cuda_archs    80 90" in text


def test_weights(bundled):
    assert "none bundled" in run()
    save_tiny(bundled / "tiny.safetensors")
    (bundled / "broken.safetensors").write_bytes(b"nonsense")
    (bundled / "README.md").write_text("not weights")
    assert loading.bundled_weights() == ("broken", "tiny")
    found = json.loads(run("--json"))["weights"]
    assert set(found) == {"broken", "tiny"}
    assert "broken.safetensors" in found["broken"]["damaged"]
    assert found["tiny"]["metadata"] == {"licence": "none, random numbers"}
    assert found["tiny"]["config"]["name"] == "tiny"
    generator = loading.load("tiny", "cpu")
    assert generator.weights == f"tiny@{found['tiny']['id']}"
    text = run()
    assert f"id {found['tiny']['id']}" in text
    assert "licence: none, random numbers" in text
    assert "damaged: " in text
    with pytest.raises(FileNotFoundError, match="bundled are: broken, tiny"):
        loading.load("base", "cpu")


def test_training_settings_are_told_whole(bundled):
    settings = {"steps": 2500, "scales": [64, 128], "start_from": None, "note": "word " * 50}
    metadata = {"layout_training": json.dumps(settings), "licence": "none {yet}"}
    save_weights(tiny_model(), bundled / "mine.safetensors", metadata=metadata)
    text = " ".join(run().split())
    assert f"layout_training: steps 2500, scales 64 128, start_from None, note{' word' * 50}" in text
    assert "licence: none {yet}" in text
