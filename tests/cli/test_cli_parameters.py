"""Values of options that look harmless and are not, and a standard output that takes no more."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hmeg.cli import main
from hmeg.cli.lazy import LazyGroup
from hmeg.cli.parameters import Number, Output


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(value):
    @click.command()
    @click.option("--share", type=Number(0))
    def command(share):
        raise AssertionError(share)

    result = CliRunner().invoke(command, ["--share", value])
    assert result.exit_code == 2
    assert "finite number" in result.output or "is not in the range x>=0" in result.output
    assert Number(0, 2).convert("1.5", None, None) == 1.5


EVERY_OUTPUT = [
    ["generate", "--latex", "x", "--out", ""],
    ["graph", "--latex", "x", "--out", ""],
    ["data", "crohme", ".", "--out", ""],
    ["train", "layout", "--data", ".", "--out", ""],
    ["train", "can", "--data", ".", "--out", ""],
    ["train", "pack", "--joint", ".", "--out", ""],
    ["train", "curves", ".", "--out", ""],
    ["evaluate", "images", ".", ".", "--out", ""],
    ["evaluate", "layout", "--weights", "small", "--data", ".", "--out", ""],
    ["evaluate", "recognition", "--checkpoint", ".", "--data", ".", "--out", ""],
    ["evaluate", "recognition", "--checkpoint", ".", "--data", ".", "--report", ""],
    ["evaluate", "study", "--real", ".", "--generated", ".", "--validation", ".", "--out", ""],
    ["export", "onnx", "--out", ""],
    ["export", "aoti", "--out", ""],
    ["export", "tensorrt", "--out", ""],
]


@pytest.mark.parametrize("arguments", EVERY_OUTPUT, ids=lambda arguments: " ".join(arguments[:2]))
def test_a_variable_that_is_not_set_is_no_place_to_write_to(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "it is empty; is a variable not set?" in result.output
    assert list(tmp_path.iterdir()) == []
    assert Output(path_type=Path).convert("x", None, None) == Path("x")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_an_output_that_is_full_is_said_in_a_line():
    with open("/dev/full", "w") as full:
        arguments = [sys.executable, "-m", "hmeg", "graph", "--latex", "x"]
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "Error: standard output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), FileNotFoundError(2, "none", "name")])
def test_other_errors_pass(error):
    @click.group(cls=LazyGroup, lazy={"info": ("hmeg.cli.info", "")}, invoke_without_command=True)
    def group():
        raise error

    with group.make_context("group", []) as context, pytest.raises(type(error)):
        group.invoke(context)
