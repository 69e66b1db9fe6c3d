"""The benchmarks run, list themselves, and write the JSON form that all of them share."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import rows_of, table_of
from bench.suites import GROUPS, SUITES, file_of, suites_of

ROOT = Path(__file__).parents[2]

pytest.importorskip("pytest_benchmark")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_list_names_every_file() -> None:
    assert {file_of(suite) for suite in SUITES} == {p.name for p in (ROOT / "bench").glob("bench_*.py")}
    listed = bench("--list")
    assert listed.returncode == 0
    assert {line.split()[0] for line in listed.stdout.splitlines()} == {*SUITES, *GROUPS}


def test_groups_hold_suites() -> None:
    assert {about.group for about in SUITES.values() if about.group} == set(GROUPS)
    assert not set(GROUPS) & set(SUITES)
    assert suites_of("raster")[0] == "box_soft_mask"
    assert suites_of("box_soft_mask") == ["box_soft_mask"]
    assert suites_of("speed") == []


def test_unknown_suite_is_refused() -> None:
    refused = bench("speed")
    assert refused.returncode == 2
    assert "choose from" in refused.stderr
    assert "speed" in refused.stderr


def test_one_case_from_end_to_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "result.json"
    selection = "test_box_soft_mask and crohme1 and forward and (eager or reference)"
    done = bench("raster", "--json", str(target), "-k", selection, "--repeat", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(target.read_text())
    assert row["case"] == "box_soft_mask/crohme1/forward"
    assert (row["subject"], row["baseline"]) == ("reference", "eager")
    assert row["ratio"] > 0
    assert len(row["ms"]) == 3
    assert row["ms"] == sorted(row["ms"])
    assert row["extra_bytes_ratio"] >= 0
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    for subject in ("eager", "reference"):
        progress = 2 if subject == "eager" else 3  # the table has a line for the reference only
        assert lines.count(["box_soft_mask/crohme1/forward", subject]) == progress


def test_memory_that_native_code_takes_is_seen() -> None:
    script = [sys.executable, "-m", "tests.support.memory_calls"]
    done = subprocess.run(script, cwd=ROOT, check=True, capture_output=True, text=True)
    nothing, by_torch, natively = (int(count) for count in done.stdout.split())
    assert nothing < 2**19
    assert by_torch == pytest.approx(2**22, abs=2**19)
    if sys.platform == "linux":
        assert natively == pytest.approx(2**24 - 2**22, abs=2**20)


def test_rows_pair_subjects_with_both_baselines() -> None:
    def benchmark(subject: str, milliseconds: list[float], extra: int) -> dict[str, object]:
        info = {"case": "op/w/forward", "subject": subject, "extra_bytes": extra, "device": "cpu", "threads": 2}
        return {"extra_info": {**info, "torch": "2"}, "stats": {"data": [m / 1e3 for m in milliseconds]}}

    measured = [
        benchmark("eager", [8.0, 8.0, 8.0], 100),
        benchmark("compile", [4.0, 4.0, 4.0], 0),
        benchmark("cpu", [1.0, 3.0], 4),
        benchmark("cpu", [2.0], 5),  # a repetition
    ]
    rows = {(row["subject"], row["baseline"]): row for row in rows_of(measured)}
    assert set(rows) == {("compile", "eager"), ("cpu", "eager"), ("cpu", "compile")}
    assert rows["cpu", "eager"]["ratio"] == pytest.approx(4)
    assert rows["cpu", "compile"]["ratio"] == pytest.approx(2)
    assert rows["cpu", "eager"]["ms"] == pytest.approx([1.4, 2.0, 2.6])
    assert rows["cpu", "eager"]["extra_bytes_ratio"] == 0.05
    assert rows["cpu", "compile"]["extra_bytes_ratio"] is None
    assert len(table_of(list(rows.values())).splitlines()) == 4
