"""import hmeg: quick, lazy, and every public name there."""

import subprocess
import sys
from pathlib import Path

import pytest

import hmeg


def test_every_public_name_resolves():
    for name in hmeg.__all__:
        assert getattr(hmeg, name) is not None
        assert name in dir(hmeg)
    assert hmeg.ops.__name__ == "hmeg.ops"
    assert hmeg.SymbolGraph(("x",)).symbols == ("x",)
    assert callable(hmeg.load)


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'hmeg' has no attribute 'nothing'"):
        _ = hmeg.nothing
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from hmeg import nothing  # noqa: F401


def test_import_brings_no_torch():
    code = "import sys, hmeg; assert hmeg.__version__; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_typed():
    assert Path(hmeg.__file__).with_name("py.typed").is_file()
