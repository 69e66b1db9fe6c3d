"""The repair of TensorRT's published stubs: what does not parse loses its parameters' names, the rest stays."""

from __future__ import annotations

import pytest

from tests.support.tensorrt_stubs import main, repaired

STUBS = """import typing
class Plugin:
    def size(self, in: list[int], out: list[int]) -> int:
        ...
    def scale(self, shift: int = 0, axis: int) -> Plugin: ...
    def fine(self, x: int = 0) -> int: ...
"""


def test_only_what_does_not_parse_is_changed(tmp_path):
    text, count = repaired(STUBS)
    assert count == 2
    changed = [(a, b) for a, b in zip(STUBS.splitlines(), text.splitlines(), strict=True) if a != b]
    assert [after for _, after in changed] == [
        "    def size(*args: typing.Any, **kwargs: typing.Any) -> int:",
        "    def scale(*args: typing.Any, **kwargs: typing.Any) -> Plugin: ...",
    ]
    assert repaired(text) == (text, 0)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.pyi").write_text(STUBS)
    main(tmp_path)
    assert (tmp_path / "deep" / "x.pyi").read_text() == text


def test_other_damage_is_not_hidden(tmp_path):
    with pytest.raises(SyntaxError):
        repaired("class\n")
    with pytest.raises(SystemExit, match="holds no stubs"):
        main(tmp_path)
