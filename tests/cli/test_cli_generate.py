"""hmeg generate, from the outside: what is written, what is refused, and what is left when it is stopped."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hmeg import files
from hmeg.cli.generate import command
from hmeg.data.relation_records import from_records
from hmeg.generation import inputs, overview
from hmeg.generation.engine import Encoder, WorkerDiedError
from hmeg.graph.grammar import Grammar
from hmeg.graph.latex import parse_latex
from hmeg.graph.open_grammar import OpenGrammar
from hmeg.graph.vocabulary import Vocabulary
from tests.support.tiny_model import TINY, save_tiny


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def generate(tmp_path, weights):
    """Runs the command; returns its result, with folder and labels."""

    def run(*arguments, out=tmp_path / "out", size=64):
        options = ["--weights", weights, "--size", size, "--device", "cpu", "--out", out]
        result = CliRunner().invoke(command, [str(a) for a in (*arguments, *options)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        result.folder = Path(out)
        result.labels = read_lines(result.folder / "labels.jsonl")
        result.rejected = read_lines(result.folder / "rejected.jsonl")
        return result

    return run


def read_lines(path):
    if not path.is_file():
        return None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_folder(folder):
    """Every label has its image and the other way round; every image is whole and fits its label."""
    labels = read_lines(folder / "labels.jsonl")
    assert {label["image"] for label in labels} == {p.name for p in folder.glob("[0-9]*.png")}
    assert not list(folder.glob("*.part"))
    for label in labels:
        graph = parse_latex(label["latex"])
        assert list(graph.symbols) == label["symbols"]
        assert from_records(label["relations"]) == graph.relations
        with Image.open(folder / label["image"]) as image:
            image.load()
            assert image.mode == "L"
            boxes = np.array(label["boxes"])
            assert boxes.shape == (len(graph), 4)
            assert (boxes[:, :2] <= boxes[:, 2:]).all()
            assert boxes.min() >= 0
            assert boxes.max() <= image.width
    return labels


def test_latex(generate):
    result = generate("--latex", "y = x^{2}", "--latex", r"\frac{a+b}{\sqrt{c}}", "--seed", 4)
    assert result.exit_code == 0, result.output
    labels = check_folder(result.folder)
    assert [label["latex"] for label in labels] == ["y = x^{2}", r"\frac{a+b}{\sqrt{c}}"]
    assert [(label["seed"], label["index"]) for label in labels] == [("4", 0), ("4", 1)]
    assert set(labels[0]) == {
        *("image", "width", "height", "latex", "tokens", "symbols", "boxes", "relations", "symlg", "ink", "seed"),
        *("index", "weights", "x_height"),
    }
    assert labels[0]["tokens"] == ["y", "=", "x", "^", "{", "2", "}"]
    assert labels[0]["weights"].startswith("tiny@")
    assert (result.folder / "contact_sheet.png").is_file()
    assert result.rejected == []
    assert "images/s" in result.stderr
    assert "2 images in" in result.stdout


def test_random_with_count(generate):
    result = generate("--random", 3, "--count", 2, "--seed", 1)
    assert result.exit_code == 0, result.output
    labels = check_folder(result.folder)
    grammar = Grammar.crohme()
    assert [label["latex"] for label in labels] == [grammar.draw(1, i // 2) for i in range(6)]
    assert [label["index"] for label in labels] == list(range(6))


def test_temperature(generate, tmp_path):
    cold = generate("--latex", "x+1", "--count", 3, "--temperature", 0)
    assert cold.exit_code == 0, cold.output
    assert len({str(label["boxes"]) for label in cold.labels}) == 1
    assert json.loads((cold.folder / "manifest.json").read_text())["settings"]["temperature"] == 0
    usual = generate("--latex", "x+1", "--count", 3, out=tmp_path / "usual")
    assert len({str(label["boxes"]) for label in usual.labels}) == 3
    refused = generate("--latex", "x+1", "--count", 3)
    assert refused.exit_code == 1 and "temperature 0.0, not 1.0" in refused.stderr


def test_input_file(generate, tmp_path):
    lines = [
        b"\xef\xbb\xbfx + 1\r\n",
        b"\n",
        b"  \\hbar  \n",
        b"   \n",
        b"\\frac{a}{\n",
        b"caf\xe9\n",
        b"x" * (inputs.MAX_LINE_BYTES + 1) + b"\n",
        b"W\x00\n",
        b"a _ { 1 }",
    ]
    source = tmp_path / "formulas.txt"
    source.write_bytes(b"".join(lines))
    result = generate("--input", source, "--count", 2)
    assert result.exit_code == 0, result.output
    labels = check_folder(result.folder)
    assert [(label["latex"], label["line"], label["index"]) for label in labels] == [
        ("x + 1", 1, 0),
        ("x + 1", 1, 1),
        ("a _ { 1 }", 9, 12),
        ("a _ { 1 }", 9, 13),
    ]
    assert [entry["line"] for entry in result.rejected] == [3, 5, 6, 7, 8]
    reasons = {entry["line"]: entry["reason"] for entry in result.rejected}
    assert "\\hbar" in reasons[3]
    assert "position 3" in reasons[6]
    assert "0xe9" in reasons[6]
    assert "longer than 65536 bytes" in reasons[7]
    texts = {entry["line"]: entry["text"] for entry in result.rejected}
    assert texts[3] == "\\hbar"
    assert texts[6] == "caf\\xe9"
    assert len(texts[7]) < 300
    assert "5 expressions rejected" in result.stderr
    assert "rejected line 3: " in result.stderr


def test_standard_input(tmp_path, weights):
    out = tmp_path / "out"
    options = ["--input", "-", "--weights", str(weights), "--size", "64", "--out", str(out), "--device", "cpu"]
    result = CliRunner().invoke(command, options, input=b"x\n\nW\ny\n")
    assert result.exit_code == 0, result.output
    assert [(label["latex"], label["line"]) for label in check_folder(out)] == [("x", 1), ("y", 4)]
    assert [entry["line"] for entry in read_lines(out / "rejected.jsonl")] == [3]


def test_a_line_that_a_form_cannot_hold_ends_no_run(generate, tmp_path):
    source = tmp_path / "formulas.txt"
    prime = r"\frac{1}{\sqrt{-2gy(1+{y^{\prime}}^2)}}=k"
    source.write_text("x\n" + prime + "\n" + r"{\sum_a}_b" + "\n" + r"\overset{a}{=}" + "\ny\n")
    result = generate("--input", source, "--format", "can", out=tmp_path / "can")
    assert result.exit_code == 0, result.output
    captions = (tmp_path / "can" / "train_labels.txt").read_text().splitlines()
    assert [line.split()[0] for line in captions] == ["000000", "000001", "000004"]
    assert "y ^ { \\prime 2 }" in captions[1]
    assert [entry["line"] for entry in result.rejected] == [3, 4]
    assert "only one kind can be told" in result.rejected[0]["reason"]
    assert "no token \\overset" in result.rejected[1]["reason"]
    result = generate("--input", source, out=tmp_path / "folder")
    assert all(label["tokens"] for label in result.labels)
    assert [entry["line"] for entry in result.rejected] == [3]


def test_lines_with_names(generate, tmp_path):
    source = tmp_path / "labels.txt"
    source.write_text("18_em_0.bmp\tx + 1\ny\nformulaire_2\t\\omega\n$a$ and $b$\n1. x\n")
    result = generate("--input", source)
    assert [(label.get("name"), label["latex"]) for label in result.labels] == [("18_em_0.bmp", "x + 1"), (None, "y")]
    reasons = [entry["reason"] for entry in result.rejected]
    assert reasons[0].startswith("weights '")
    assert reasons[0].endswith(r"do not know \omega; they know 101 symbols: hmeg info --symbols")
    assert reasons[1].startswith("2 formulas on one line")
    assert reasons[2].startswith("'1.' looks like the number of an item")


def test_a_rejected_line_moves_no_sample(generate, tmp_path):
    (tmp_path / "good.txt").write_text("x\ny\nz\n")
    (tmp_path / "bad.txt").write_text("x\n\\hbar\nz\n")
    generate("--input", tmp_path / "good.txt", out=tmp_path / "good")
    generate("--input", tmp_path / "bad.txt", out=tmp_path / "bad")
    for name in ("000000.png", "000002.png"):
        assert (tmp_path / "good" / name).read_bytes() == (tmp_path / "bad" / name).read_bytes()
    assert not (tmp_path / "bad" / "000001.png").exists()


def test_random_expressions_of_all_symbols_that_the_weights_know(generate, tmp_path):
    result = generate("--random", 6, "--grammar", "open", out=tmp_path / "open")
    assert result.exit_code == 0, result.output
    assert len(result.labels) == 6
    assert [label["latex"] for label in result.labels] == [
        OpenGrammar(Vocabulary.crohme()).draw(0, i) for i in range(6)
    ]
    again = generate("--random", 6, out=tmp_path / "open")
    assert again.exit_code == 1 and "6 random expressions of the open grammar" in again.stderr


def test_same_files_whatever_the_batch_size(generate, tmp_path):
    for batch_size in (1, 7, "auto"):
        result = generate("--random", 9, "--batch-size", batch_size, out=tmp_path / str(batch_size))
        assert result.exit_code == 0, result.output
    for name in sorted(
        p.name for p in (tmp_path / "1").iterdir() if p.name not in ("manifest.json", "timing.jsonl", "report.html")
    ):
        one, seven, many = ((tmp_path / folder / name).read_bytes() for folder in ("1", "7", "auto"))
        assert one == seven == many, name


@pytest.mark.parametrize("given", [["--latex", r"\hbar"], ["--latex", "", "--latex", "W"]])
def test_nothing_usable(generate, given):
    result = generate(*given)
    assert result.exit_code == 1
    assert "Error: nothing was drawn: no expression could be used" in result.stderr
    assert "rejected expression 1: " in result.stderr
    assert len(result.rejected) == len(given) // 2
    assert result.labels == []
    # such a folder is no obstacle for the corrected call
    assert generate("--latex", "x").exit_code == 0


def test_blank_and_missing_input(generate, tmp_path):
    (tmp_path / "blank.txt").write_text("\n  \n")
    blank = generate("--input", tmp_path / "blank.txt")
    assert blank.exit_code == 1
    assert "holds no expression" in blank.stderr
    assert not blank.folder.exists()
    missing = generate("--input", tmp_path / "none.txt")
    assert missing.exit_code == 2
    assert "does not exist" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --latex, --input and --random"),
        (["--latex", "x", "--random", "2"], "not --latex and --random"),
        (["--random", "0"], "--random"),
        (["--latex", "x", "--count", "0"], "--count"),
        (["--latex", "x", "--batch-size", "0"], "nor auto"),
        (["--latex", "x", "--batch-size", "many"], "nor auto"),
        (["--latex", "x", "--split", "a/b"], "--split may have"),
        (["--latex", "x", "--format", "paper"], "--format"),
        (["--latex", "x", "--seed", "-1"], "--seed"),
        (["--latex", "x", "--temperature", "2.1"], "--temperature"),
        (["--latex", "x", "--temperature", "nan"], "--temperature"),
        (["--latex", "x", "--seed", str(2**64)], "--seed"),
    ],
)
def test_usage_errors(generate, arguments, message):
    result = generate(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.folder.exists()


def test_other_errors_are_one_line(generate, tmp_path, weights):
    def error_of(*arguments, **options):
        result = generate("--latex", "x", *arguments, **options)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("Error: ")
        return result.stderr

    assert "size must be in 16..64 pixels" in error_of(size=65)
    (tmp_path / "file").write_text("")
    assert "is a file, not a folder" in error_of(out=tmp_path / "file")
    assert "file" in error_of(out=tmp_path / "file" / "below")
    # later options win over those of the fixture
    call = ["--latex", "x", "--out", str(tmp_path / "o")]
    for option, value, message in [
        ("--weights", "nothing", "no weights 'nothing'"),
        ("--weights", str(tmp_path / "file"), "file: "),
        ("--device", "cuda:77", "'cuda:77' is not there"),
        ("--device", "abacus", "'abacus'"),
    ]:
        result = CliRunner().invoke(command, [*call, "--weights", str(weights), option, value])
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_earlier_run(generate):
    generate("--random", 3)
    again = generate("--latex", "x")
    assert again.exit_code == 1
    assert "holds an earlier run of 3 images with other settings (source 3 random expressions, not" in again.stderr
    assert len(check_folder(again.folder)) == 3
    # nothing is removed for a call that cannot work
    assert generate("--latex", "x", "--overwrite", size=65).exit_code == 1
    assert len(check_folder(again.folder)) == 3
    replaced = generate("--latex", "x", "--overwrite")
    assert replaced.exit_code == 0
    assert [label["latex"] for label in check_folder(replaced.folder)] == ["x"]


def test_same_command_again(generate):
    first = generate("--random", 3, "--format", "webdataset", "--shard-size", 2)
    before = {p.name: p.read_bytes() for p in first.folder.iterdir()}
    assert {"000000.tar", "000001.tar"} <= set(before)
    again = generate("--random", 3, "--format", "webdataset", "--shard-size", 2)
    assert again.exit_code == 0
    assert "holds this run already, complete: 3 images" in again.stdout
    assert {p.name: p.read_bytes() for p in first.folder.iterdir()} == before


def test_changed_input_and_changed_weights(generate, tmp_path):
    source = tmp_path / "formulas.txt"
    source.write_text("x\ny\n")
    generate("--input", source)
    source.write_text("x\nz\n")
    changed = generate("--input", source)
    assert changed.exit_code == 1
    assert "source a file with sha256" in changed.stderr
    assert changed.stderr.count("\n") == 1
    source.write_text("x\ny\n")
    other = save_tiny(tmp_path / "other.safetensors", TINY.changed(image={"mask_hidden_dim": 5}))
    options = ["--size", "64", "--device", "cpu", "--out", str(changed.folder)]
    result = CliRunner().invoke(command, ["--input", str(source), "--weights", str(other), *options])
    assert result.exit_code == 1
    assert "other settings (weights tiny@" in result.stderr
    assert len(check_folder(changed.folder)) == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision(generate, tmp_path, precision):
    result = generate("--latex", "x + 1", "--precision", precision, out=tmp_path / precision)
    assert result.exit_code == 0
    assert json.loads((result.folder / "manifest.json").read_text())["settings"]["precision"] == precision
    plain = generate("--latex", "x + 1", out=tmp_path / "plain")
    assert result.labels[0]["boxes"] == plain.labels[0]["boxes"]
    pixels = [np.asarray(Image.open(f / "000000.png")).astype(int) for f in (result.folder, plain.folder)]
    difference = np.abs(pixels[0] - pixels[1]).max()
    assert difference == 0 if precision == "float32" else 0 < difference < 16


def fill_disk_at(monkeypatch, name):
    """No file whose name has ``name`` in it appears any more."""
    replace = os.replace

    def full(source, target):
        if name in str(target):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", full)


def test_disk_full(generate, monkeypatch):
    fill_disk_at(monkeypatch, "000002")
    result = generate("--random", 5)
    assert result.exit_code == 1
    assert "000002.png: No space left on device" in result.stderr
    assert len(check_folder(result.folder)) == 2


def test_images_that_are_dropped_are_not_counted(generate, monkeypatch):
    """Of shards that appear as a whole, those of the one under way are gone when something goes wrong."""
    fill_disk_at(monkeypatch, "000001.tar")
    result = generate("--random", 5, "--format", "webdataset", "--shard-size", 2)
    assert result.exit_code == 1
    assert result.stdout.startswith("2 images in")


def test_a_worker_that_is_killed(generate, monkeypatch):
    def die(self, samples):
        raise WorkerDiedError("a process that encodes images died")

    monkeypatch.setattr(Encoder, "encoded", die)
    result = generate("--latex", "x")
    assert result.exit_code == 1
    assert "Error: a process that encodes images died" in result.stderr


def test_an_error_of_the_disk_without_a_name_names_the_folder(generate, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(overview, "write_whole", full)
    result = generate("--latex", "x")
    assert result.exit_code == 1
    assert f"{result.folder}: No space left on device" in result.stderr


def test_backend_that_cannot_run(generate, monkeypatch):
    monkeypatch.setenv("HMEG_BACKEND", "cuda")
    result = generate("--latex", "x")
    assert result.exit_code == 1
    assert "Error: backend 'cuda' cannot run" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_interrupted(tmp_path, weights):
    out = tmp_path / "out"
    arguments = ["--random", "100000", "--weights", str(weights), "--size", "64", "--out", str(out), "--device", "cpu"]
    # a parent in the background may have left SIGINT ignored
    code = "import signal; signal.signal(2, signal.default_int_handler); from hmeg.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "generate", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 180  # a busy machine takes its time to import torch
            while time.monotonic() < deadline and process.poll() is None:
                if (out / "labels.jsonl").is_file() and (out / "labels.jsonl").read_bytes().count(b"\n") > 5:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "Error: interrupted; what is finished is complete, and the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert len(check_folder(out)) > 5
    assert (out / "contact_sheet.png").is_file()


def test_help_needs_no_torch():
    code = (
        "import sys; from click.testing import CliRunner; from hmeg.cli import main\n"
        "result = CliRunner().invoke(main, ['generate', '--help'])\n"
        "assert '--latex' in result.output and '--overwrite' in result.output, result.output\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_standard_input_that_is_closed(tmp_path):
    script = "import sys; sys.stdin = None; from hmeg.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, "generate", "--input", "-", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: --input -: standard input is closed\n"
