"""Layouts of hand-made graphs, with answers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from hmeg.cli import main
from hmeg.data.crohme import CrohmeDataset
from hmeg.evaluation.layout_metrics import generated_layouts, overlaps, score, violated
from hmeg.generation import load
from hmeg.graph import Relation, SymbolGraph
from hmeg.recognition.settings import CanTrainingConfig
from hmeg.training.image_trainer import ImageTrainer
from hmeg.training.layout_trainer import LayoutTrainer
from hmeg.training.settings import settings_of, to_yaml
from tests.support.tiny_model import save_tiny
from tests.support.training_data import IMAGE, LAYOUT

# Boxes around a subject's; y goes down.
SUBJECT = [0.4, 0.4, 0.6, 0.6]
LEFT, RIGHT, UP, DOWN, WITHIN = (
    [0.1, 0.4, 0.3, 0.6],
    [0.7, 0.4, 0.9, 0.6],
    [0.4, 0.1, 0.6, 0.3],
    [0.4, 0.7, 0.6, 0.9],
    [0.45, 0.45, 0.5, 0.5],
)


@pytest.mark.parametrize(
    ("relation", "holding", "broken"),
    [
        ("Right", [RIGHT, SUBJECT, UP], [LEFT]),
        ("Sup", [UP, SUBJECT, RIGHT], [DOWN]),
        ("Above", [UP, LEFT], [DOWN]),
        ("Sub", [DOWN, SUBJECT], [UP]),
        ("Below", [DOWN, RIGHT], [UP]),
        ("Inside", [WITHIN, SUBJECT], [LEFT, RIGHT, UP, DOWN]),
    ],
)
def test_relations_that_hold_and_that_do_not(relation: str, holding: list, broken: list) -> None:
    objects = np.array(holding + broken)
    found = violated(relation, np.tile(SUBJECT, (len(objects), 1)), objects)
    assert found.tolist() == [False] * len(holding) + [True] * len(broken)


def test_unknown_relations() -> None:
    with pytest.raises(ValueError, match="no relation is called 'Left'"):
        violated("Left", np.zeros((1, 4)), np.zeros((1, 4)))


def test_overlap_is_a_share_of_the_smaller_box() -> None:
    boxes = np.array([[0, 0, 1, 1], [0.5, 0.5, 1.5, 1.5], [0, 0, 0.1, 0.1], [2, 2, 3, 3], [0.5, 0, 0.5, 1]])
    shares = overlaps(boxes)
    assert shares[0, 1] == pytest.approx(0.25) and shares[0, 2] == pytest.approx(1)
    assert shares[0, 3] == 0 and shares[0, 4] == 0, "far away, and without area"
    assert np.allclose(shares, shares.T)


def test_score_by_hand() -> None:
    """x^2 a: the 2 hangs as Sup, the a as Right. The layout keeps x, halves the 2, moves a onto x."""
    real = np.array([[0.0, 0.5, 0.2, 0.7], [0.2, 0.3, 0.3, 0.5], [0.4, 0.5, 0.6, 0.7]])
    graph = SymbolGraph(("x", "2", "a"), (Relation(0, 1, "Sup"), Relation(0, 2, "Right")), real)
    layout = np.array([[0.0, 0.5, 0.2, 0.7], [0.2, 0.4, 0.3, 0.5], [-0.1, 0.5, 0.1, 0.7]])
    found = score([graph], [layout])
    assert found.iou_of == pytest.approx({"first": 1, "Sup": 0.5, "Right": 0})
    assert found.iou == pytest.approx(0.5)
    assert found.overlap == pytest.approx(1 / 3), "a lies on half of x; none of the three pairs did in truth"
    assert found.violations_of == {"Sup": 0, "Right": 1} and found.violations == 0.5
    assert (found.symbols, found.pairs, found.relations) == (3, 3, 2)
    assert found.symbols_of == {"first": 1, "Sup": 1, "Right": 1} and found.relations_of == {"Sup": 1, "Right": 1}
    assert score([graph], [layout], overlap=0.5).overlap == 0, "half is not more than half"
    perfect = score([graph, graph], [real, real])
    assert (perfect.iou, perfect.overlap, perfect.violations) == (1, 0, 0)
    with pytest.raises(ValueError, match="has none"):
        score([SymbolGraph(("x",))], [np.zeros((1, 4))])


def test_pairs_that_overlap_in_truth_are_not_counted() -> None:
    real = np.array([[0.0, 0.0, 1.0, 1.0], [0.2, 0.2, 0.4, 0.4]])
    root = SymbolGraph(("\\sqrt", "x"), (Relation(0, 1, "Inside"),), real)
    found = score([root], [real])
    assert found.pairs == 0 and found.overlap == 0


def test_layouts_are_those_that_would_be_drawn(data: Path, tmp_path: Path) -> None:
    generator = load(save_tiny(tmp_path / "tiny.safetensors"), "cpu")
    graphs = CrohmeDataset(data).graphs
    bare = [SymbolGraph(graph.symbols, graph.relations) for graph in graphs]
    found = generated_layouts(generator.model.layout_generator, generator.config, graphs, seed=3)
    for sample, boxes in zip(generator.stream(bare, seed=3, size=64), found, strict=True):
        np.testing.assert_allclose(sample.graph.boxes, boxes, atol=1e-5)


@pytest.fixture
def data(prepared_data: Path) -> Path:
    return prepared_data


def evaluate(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["evaluate", "layout", *(str(a) for a in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_command_line(data: Path, tmp_path: Path) -> None:
    weights = save_tiny(tmp_path / "tiny.safetensors")
    threads = torch.get_num_threads()
    LayoutTrainer(data, tmp_path / "without", LAYOUT).train()
    torch.set_num_threads(threads)
    out = tmp_path / "out"
    result = evaluate("--weights", weights, "--compare", tmp_path / "without", "--data", data, "--seeds", "4,5",
                      "--out", out)  # fmt: skip
    assert result.exit_code == 0, result.output
    results = json.loads((out / "metrics.json").read_text())["sections"]["layout"]["results"]
    scores = results["scores"]
    assert list(scores) == ["real boxes", "typesetter", str(weights), str(tmp_path / "without")]
    assert [len(of_seed) for of_seed in scores.values()] == [1, 1, 2, 2] and results["seeds"] == [4, 5]
    assert scores["real boxes"][0]["iou"] == 1 and scores["real boxes"][0]["overlap"] == 0
    assert scores["typesetter"][0]["iou"] > scores[str(weights)][0]["iou"], "random weights place nothing well"
    assert scores[str(weights)][0] != scores[str(weights)][1], "seeds differ"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Violations by relation" in page and "Sup" in page and "typesetter" in page
    assert "Seeds of the noise: 4, 5; spreads" in page and "IoU by relation, mean and spread over seeds" in page
    assert results["versions"]["torch"] == torch.__version__ and f"torch {torch.__version__}" in page


def test_one_seed_has_no_spread(data: Path, tmp_path: Path) -> None:
    weights = save_tiny(tmp_path / "tiny weights.safetensors")
    result = evaluate("--weights", weights, "--data", data, "--seeds", "4", "--limit", 3, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Seed of the noise: 4; one alone has no spread" in page and "IoU by relation, seed 4" in page
    assert "±" not in page and "[4]" not in page and "over seeds" not in page
    command = json.loads((tmp_path / "out" / "metrics.json").read_text())["sections"]["layout"]["results"]["command"]
    assert f"--weights '{weights}'" in command and "--seeds 4" in command and "--limit 3" in command


def test_refusals(data: Path, tmp_path: Path) -> None:
    ImageTrainer(data, tmp_path / "image", IMAGE).train()
    (tmp_path / "empty").mkdir()
    (tmp_path / "can").mkdir()
    (tmp_path / "can" / "config.yaml").write_text(to_yaml(settings_of(CanTrainingConfig())))
    for arguments, words in (
        (("--weights", "nowhere", "--data", data), "no weights 'nowhere'"),
        (("--weights", tmp_path / "empty", "--data", data), "empty is no run of `hmeg train`, it has no config.yaml"),
        (("--weights", tmp_path / "image", "--data", data), "is a run of `hmeg train image`; wanted is one of"),
        (("--weights", tmp_path / "can", "--data", data), "can is a run of `hmeg train can`; wanted is one of"),
        (("--weights", "small", "--data", tmp_path / "empty"), "holds no prepared data set"),
    ):
        result = evaluate(*arguments, "--out", tmp_path / "out")
        assert result.exit_code == 1 and words in result.stderr, result.output
    for seeds, words in (("a,b", "no list of numbers"), ("1,1", "names a number twice"), ("", "no list of numbers")):
        result = evaluate("--weights", "small", "--data", data, "--seeds", seeds)
        assert result.exit_code == 2 and words in result.stderr
