"""What a checkout promises about itself: tests stand alone, hooks and workflows do what `make` does, lists are full."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import hmeg

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def recipe(target: str) -> str:
    """The commands of a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.M)
    assert found, f"the Makefile has no target {target}"
    return found[1]


def imported(source: str) -> set[str]:
    """Every dotted name that the Python ``source`` imports, wherever it stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def only_tests(names: set[str]) -> list[str]:
    return sorted(name for name in names if any(re.match("test_|conftest$", part) for part in name.split(".")[:-1]))


def test_no_test_imports_a_test() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert len(files) > 100
    for file in files:
        names = imported(file.read_text())
        modules = {name for name in names if (ROOT / Path(*name.split(".")).with_suffix(".py")).is_file()}
        offending = only_tests({*names, *(f"{name}." for name in modules)})
        assert not offending, f"{file.relative_to(ROOT)} imports {offending}; move what both need to tests/support"


@pytest.mark.parametrize(
    ("source", "test"),
    [
        ("from tests.ops.test_x import f", True),
        ("def f():\n    from .test_x import f", True),
        ("from tests.conftest import f", True),
        ("from tests.support.recipe import recipe", False),
        ("from hmeg.thing import test_of_things", False),
    ],
)
def test_imports_of_tests_are_seen(source: str, test: bool) -> None:
    assert bool(only_tests(imported(source))) == test


def test_hooks_run_what_make_lint_runs() -> None:
    hooks = [
        hook
        for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repository["hooks"]
    ]
    assert all(hook["language"] == "system" for hook in hooks), "a hook would need a network"
    tools = r"\b(ruff check|ruff format|clang-format|mypy|lint-imports)\b"
    commands = recipe("lint").replace("git ls-files", "")
    assert sorted(m for hook in hooks for m in re.findall(tools, hook["entry"])) == sorted(re.findall(tools, commands))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows(file: Path) -> None:
    jobs = yaml.safe_load(file.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    targets = {m for step in steps for m in re.findall(r"\bmake ([\w-]+)", step.get("run", ""))}
    for target in targets:
        recipe(target)
    assert targets >= {"lint", "test-fast", "test"}


def test_workflows_use_every_python() -> None:
    (versions,) = [
        job["strategy"]["matrix"]["python"]
        for file in WORKFLOWS
        for job in yaml.safe_load(file.read_text())["jobs"].values()
        if "strategy" in job
    ]
    prefix = "Programming Language :: Python :: "
    classifiers = [c.removeprefix(prefix) for c in project()["project"]["classifiers"] if c.startswith(prefix)]
    assert versions == [c for c in classifiers if "." in c]
    assert project()["project"]["requires-python"] == f">={versions[0]}"


def test_fast_tests_are_all_without_a_marker() -> None:
    markers = [marker.split(":")[0] for marker in project()["tool"]["pytest"]["ini_options"]["markers"]]
    left_out = re.search(r'-m "not \((.+)\)"', recipe("test-fast"))
    assert left_out and sorted(left_out[1].split(" or ")) == sorted(markers)
    assert "-m " not in recipe("test").replace("-m pytest", "")
    explained = re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert set(explained) == set(markers)


def test_contributors_see_the_floors() -> None:
    (floors,) = [c["layers"] for c in project()["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    named = re.findall(r"^\| `hmeg/(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    packages = [floor for floor in floors if (ROOT / "hmeg" / floor / "__init__.py").is_file() and floor != "reports"]
    assert named == packages


def test_citation() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == hmeg.__version__
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Chen", "Gao", "Zhang", "Qiao", "Wang"]
    assert paper["title"] in " ".join((ROOT / "README.md").read_text().split())


def test_changelog_has_a_place_for_the_next_change() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "Unreleased"
