"""How pytest reports a benchmark while it runs: measure.py prints a line for it, this one for what was skipped."""

from __future__ import annotations

import pytest


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No dot where a line was printed already."""
    if report.passed and report.when == "call":
        return "passed", "", ""
    if report.skipped:
        assert isinstance(report.longrepr, tuple)
        print(f"{report.nodeid.partition('::')[2]}: {report.longrepr[2]}", flush=True)
        return "skipped", "", ""
    return None
