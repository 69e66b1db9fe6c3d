"""Relations as JSON: one object each, so that every value of a key has one type, as tables need it.

Files of earlier versions have ``[subject, object, name]`` instead; they are read as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hmeg.graph import Relation


def to_records(relations: Iterable[Relation]) -> list[dict[str, Any]]:
    """``{"subject": row, "object": row, "type": name}`` of every relation, in order."""
    return [{"subject": r.subject, "object": r.object, "type": r.name} for r in relations]


def from_records(records: object) -> tuple[Relation, ...]:
    """The relations that ``records`` speak of, in either form; ``ValueError`` for anything else."""
    if not isinstance(records, list):
        raise ValueError("'relations' must be a list")
    return tuple(_relation(record) for record in records)


def _relation(record: object) -> Relation:
    if isinstance(record, dict) and record.keys() >= {"subject", "object", "type"}:
        record = [record["subject"], record["object"], record["type"]]
    if not isinstance(record, list) or len(record) != 3:
        raise ValueError(f"a relation has subject, object and type, not {record!r}")
    try:
        return Relation(int(record[0]), int(record[1]), str(record[2]))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"rows of relations are whole numbers, not {record!r}") from None
