"""From pytest-benchmark's JSON to rows that set each subject beside its baselines."""

from __future__ import annotations

from typing import Any

import numpy as np

from .subjects import BASELINES


def rows_of(benchmarks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for every subject of a case and every baseline measured for that case; repetitions are merged."""
    cases: dict[str, dict[str, dict[str, Any]]] = {}
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        measured = cases.setdefault(info["case"], {}).setdefault(info["subject"], {**info, "seconds": []})
        measured["seconds"] += benchmark["stats"]["data"]
        measured["extra_bytes"] = max(measured["extra_bytes"], info["extra_bytes"])
    for subjects in cases.values():
        for measured in subjects.values():
            measured["ms"] = [float(p) for p in np.percentile(measured["seconds"], (20, 50, 80)) * 1e3]
    rows = []
    for case, subjects in cases.items():
        for subject, measured in subjects.items():
            for baseline in BASELINES:
                if baseline == subject or baseline not in subjects or subject == "eager":
                    continue
                beside = subjects[baseline]
                extra = beside["extra_bytes"]
                rows.append(
                    {
                        "case": case,
                        "subject": subject,
                        "baseline": baseline,
                        "ratio": beside["ms"][1] / measured["ms"][1],
                        "ms": measured["ms"],
                        "baseline_ms": beside["ms"],
                        "extra_bytes": measured["extra_bytes"],
                        "extra_bytes_ratio": measured["extra_bytes"] / extra if extra else None,
                        **{key: measured[key] for key in ("device", "threads", "torch")},
                    }
                )
    return rows


def table_of(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'case':38} {'subject':12} {'p20':>9} {'p50':>9} {'p80':>9} ms  {'ratio to':>16}  extra memory"]
    for row in rows:
        share = row["extra_bytes_ratio"]
        memory = f"{row['extra_bytes'] / 2**20:.2f} MiB" + ("" if share is None else f" ({share:.1%})")
        p20, p50, p80 = row["ms"]
        times = f"{p20:9.4f} {p50:9.4f} {p80:9.4f}"
        against = f"{row['ratio']:8.2f} {row['baseline']:>7}"
        lines.append(f"{row['case']:38} {row['subject']:12} {times}     {against:>16}  {memory}")
    return "\n".join(lines)
