"""What commands make of errors, and words that were called otherwise once."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

import hmeg
from hmeg.backends import BackendError
from hmeg.cli import main
from hmeg.cli.errors import errors_in_words
from hmeg.cli.parameters import precision_option
from hmeg.export.errors import Unavailable
from hmeg.generation.engine import WorkerDiedError
from hmeg.precisions import SHORT, canonical, checked
from hmeg.training.signals import Interrupted


def said_of(error: BaseException, **keywords: object) -> Result:
    @click.command()
    @click.option("--batch-size", default=1)
    def command(batch_size: int) -> None:
        with errors_in_words("the/out", **keywords):
            raise error

    return CliRunner().invoke(command, [])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("this is no size"), "this is no size"),
        (OSError(28, "No space left on device"), "the/out: No space left on device"),
        (OSError(13, "Permission denied", "a/file"), "a/file: Permission denied"),
        (FloatingPointError("step 3: box not finite"), "step 3: box not finite"),
        (BackendError("no cuda here"), "no cuda here"),
        (Unavailable("onnxruntime is not installed"), "onnxruntime is not installed"),
        (WorkerDiedError("a process was killed"), "a process was killed"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory; try a smaller --batch-size"),
        (KeyboardInterrupt(), "interrupted; do it again"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_become_one_line(error: BaseException, text: str) -> None:
    result = said_of(error, interrupted="interrupted; do it again")
    assert (result.exit_code, result.output) == (1, f"Error: {text}\n")


def test_a_run_that_was_told_to_stop_may_be_gone_on_with() -> None:
    result = said_of(Interrupted("SIGTERM: the/out has a checkpoint of step 7"), stopped="add --resume to go on")
    assert result.exit_code == 75
    assert result.output == "SIGTERM: the/out has a checkpoint of step 7; add --resume to go on\n"


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), KeyError("x"), ModuleNotFoundError("no module")])
def test_faults_of_hmeg_are_not_hidden(error: Exception) -> None:
    assert said_of(error).exception is error
    assert "Error: no module" in said_of(ModuleNotFoundError("no module"), also=(ModuleNotFoundError,)).output


def test_precisions_are_called_alike_and_former_words_still_work() -> None:
    @click.command()
    @precision_option("Of it.", tuple(SHORT))
    def command(precision: str) -> None:
        click.echo(precision)

    for word, short in SHORT.items():
        for given in (word, short):
            assert CliRunner().invoke(command, ["--precision", given]).output == f"{word}\n"
            assert canonical(given) == word
    shown = CliRunner().invoke(command, ["--help"]).output
    assert "[float32|float16|bfloat16]" in shown and "fp16" not in shown
    assert CliRunner().invoke(command, ["--precision", "half"]).exit_code == 2
    assert checked("bf16") == "bfloat16"
    with pytest.raises(ValueError, match="precision must be float32 or bfloat16, got 'fp16'"):
        checked("fp16")


EVERY_PRECISION = [
    ["generate"],
    ["train", "image"],
    ["train", "joint"],
    ["train", "classifier"],
    ["train", "can"],
    ["export", "onnx"],
    ["export", "aoti"],
    ["export", "tensorrt"],
    ["evaluate", "recognition"],
]


@pytest.mark.parametrize("command", EVERY_PRECISION, ids=" ".join)
def test_every_command_has_the_same_words(command: list[str]) -> None:
    shown = " ".join(CliRunner().invoke(main, [*command, "--help"]).output.split())
    assert "--precision [float32|" in shown and "bfloat16]" in shown
    assert not any(short in shown for short in SHORT.values())
    if command != ["export", "onnx"]:
        assert "--device" in shown and "auto" in shown.split("--device")[1][:120]


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"hmeg, version {hmeg.__version__}\n"


def test_former_words_reach_the_decoder(tmp_path: Path) -> None:
    for word in ("bf16", "bfloat16"):
        arguments = ["generate", "--latex", "x", "--precision", word, "--out", str(tmp_path / word)]
        assert CliRunner().invoke(main, arguments).exit_code == 0
    first, second = ((tmp_path / word / "manifest.json").read_text() for word in ("bf16", "bfloat16"))
    assert first == second and '"precision": "bfloat16"' in first
