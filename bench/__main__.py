"""Runs benchmark suites with pytest-benchmark and sets the subjects beside their baselines.

    python -m bench --list
    python -m bench box_soft_mask [--json FILE] [-k EXPRESSION]

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

HERE = Path(__file__).parent

# name -> (files, what it measures)
SUITES = {
    "box_soft_mask": (["bench_box_soft_mask.py"], "the fixed soft mask of a box, forward and training"),
}


def run(files: list[str], selection: str | None) -> dict[str, Any]:
    """pytest-benchmark's own JSON of the given files."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
                   "-o", "addopts=", "-o", "python_files=bench_*.py",
                   f"--benchmark-json={report}", "--benchmark-columns=median,iqr,rounds",
                   *(str(HERE / f) for f in files)]  # fmt: skip
        if selection:
            command += ["-k", selection]
        # A pytest around this one (tests/test_bench.py) must not leave its mark on it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        status = subprocess.run(command, cwd=HERE.parent, env=environment).returncode
        if status or not report.exists():
            sys.exit(f"bench: pytest ended with status {status}")
        loaded: dict[str, Any] = json.loads(report.read_text())
        return loaded


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="suites to run (see --list)")
    parser.add_argument("--list", action="store_true", help="name all suites and what they measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("-k", metavar="EXPRESSION", dest="selection", help="only cases that match, as pytest's -k")
    arguments = parser.parse_args()
    if arguments.list:
        for name, (_, text) in SUITES.items():
            print(f"{name:20} {text}")
        return
    unknown = [name for name in arguments.names if name not in SUITES]
    if unknown or not arguments.names:
        parser.error(f"choose from {', '.join(SUITES)}; got {', '.join(unknown) or 'nothing'}")
    files = [file for name in arguments.names for file in SUITES[name][0]]
    rows = rows_of(run(list(dict.fromkeys(files)), arguments.selection))
    print(table_of(rows))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
