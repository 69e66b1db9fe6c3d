"""The statistics that the package carries stand as the tools write them: few lines, the same content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hmeg.graph
from hmeg.graph import grammar, typeset
from tools.statistics_file import write_statistics


@pytest.mark.parametrize("name", [grammar.STATISTICS_FILE, typeset.STATISTICS_FILE])
def test_bundled_statistics_are_as_the_tools_write_them(name: str, tmp_path: Path) -> None:
    bundled = Path(hmeg.graph.__file__).with_name(name).read_text()
    write_statistics(tmp_path / name, json.loads(bundled))
    assert (tmp_path / name).read_text() == bundled
    assert bundled.count("\n") < 30


def test_nested_entries_get_lines_of_their_own(tmp_path: Path) -> None:
    statistics = {"count": 2, "size": {"x": [1, 2]}, "tables": {"a": {"k": {"v": 1}}, "b": {}}, "none": {}}
    write_statistics(tmp_path / "s.json", statistics)
    text = (tmp_path / "s.json").read_text()
    assert json.loads(text) == statistics
    assert text.splitlines()[1:5] == ['"count":2,', '"size":{"x":[1,2]},', '"tables":{', '"a":{"k":{"v":1}},']
