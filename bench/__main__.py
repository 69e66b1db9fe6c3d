"""Runs benchmark suites with pytest-benchmark and sets the subjects beside their baselines.

    python -m bench --list
    python -m bench box_soft_mask [--json FILE] [-k EXPRESSION] [--repeat N]
    python -m bench raster

A name is a suite or a group of suites (bench/suites.py). Every subject of a case is measured right after its baselines,
a line for each as it is done, and the table at the end sets them side by side. Where other work disturbs the machine,
``--repeat N`` goes through everything N times and merges the samples of each subject.

The JSON is a list of objects: ``case`` (<operator>/<workload>/<forward|train>), ``subject`` (backend or variant),
``baseline`` (eager or compile), ``ratio`` (baseline p50 / subject p50), ``ms`` ([p20, p50, p80] of the subject),
``baseline_ms``, ``extra_bytes`` (peak memory beyond the results), ``extra_bytes_ratio`` (to the baseline's; null where
the baseline has none), ``device``, ``threads``, ``torch``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .report import rows_of, table_of
from .suites import GROUPS, SUITES, file_of, suites_of

HERE = Path(__file__).parent


def run(suites: list[str], selection: str | None) -> list[dict[str, Any]]:
    """The benchmarks of the given suites, as pytest-benchmark's own JSON has them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        # -s: bench/measure.py and bench/conftest.py print a line for each measurement, in place of pytest's dots.
        command = [sys.executable, "-m", "pytest", "-q", "-s", "--no-header", "-p", "no:cacheprovider",
                   "-p", "no:xdist", "-o", "addopts=", "-o", "python_files=bench_*.py",
                   "--benchmark-quiet", f"--benchmark-json={report}",
                   *(str(HERE / file_of(suite)) for suite in suites)]  # fmt: skip
        if selection:
            command += ["-k", selection]
        # A pytest around this one (tests/project/test_bench.py) must not leave its mark on it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        status = subprocess.run(command, cwd=HERE.parent, env=environment).returncode
        if status or not report.exists():
            sys.exit(f"bench: pytest ended with status {status}")
        benchmarks: list[dict[str, Any]] = json.loads(report.read_text())["benchmarks"]
        return benchmarks


def listing() -> str:
    """Every suite and group with what it measures."""
    lines = [f"{name:20} {about.measures}" for name, about in SUITES.items()]
    lines += [f"{name:20} {text}: {', '.join(suites_of(name))}" for name, text in GROUPS.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="suites or groups to run (see --list)")
    parser.add_argument("--list", action="store_true", help="name all suites and groups and what they measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("-k", metavar="EXPRESSION", dest="selection", help="only cases that match, as pytest's -k")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run everything N times, samples merged")
    arguments = parser.parse_args()
    if arguments.list:
        print(listing())
        return
    unknown = [name for name in arguments.names if not suites_of(name)]
    if unknown or not arguments.names:
        parser.error(f"choose from {', '.join((*SUITES, *GROUPS))}; got {', '.join(unknown) or 'nothing'}")
    if arguments.repeat < 1:
        parser.error(f"--repeat must be at least 1, got {arguments.repeat}")
    suites = list(dict.fromkeys(suite for name in arguments.names for suite in suites_of(name)))
    benchmarks = []
    for _ in range(arguments.repeat):
        benchmarks += run(suites, arguments.selection)
    rows = rows_of(benchmarks)
    print(table_of(rows))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
