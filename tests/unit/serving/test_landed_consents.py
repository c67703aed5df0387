"""What customers said about profiling, as it landed: the newest word about a change, then the newest change."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest

from ml.serving import recommender_parts
from ml.stores.log_entries import ProfilingConsent

ROWS = [
    # customer, purpose, changed at (hour), granted, updated at (hour), op
    ("ann", "profiling", 1, True, None, None),
    ("ann", "profiling", 2, False, None, None),
    ("ann", "marketing", 3, True, None, None),
    ("bob", "profiling", 1, True, 1, None),
    ("bob", "profiling", 1, False, 2, None),  # the same change, corrected
    ("cy", "profiling", 1, False, None, None),
    ("cy", "profiling", 2, True, 1, None),
    ("cy", "profiling", 2, None, 2, "delete"),  # it was never said
    ("dee", "marketing", 1, False, None, None),
]


def hour(number: int | None) -> datetime | None:
    return None if number is None else datetime(2026, 1, 5, number, tzinfo=UTC)


@pytest.fixture
def landed(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = pa.timestamp("us", tz="UTC")
    columns = {
        "customer_id": pa.array([row[0] for row in ROWS]),
        "purpose": pa.array([row[1] for row in ROWS]),
        "changed_at": pa.array([hour(row[2]) for row in ROWS], moment),
        "is_granted": pa.array([row[3] for row in ROWS], pa.bool_()),
        "updated_at": pa.array([hour(row[4]) for row in ROWS], moment),
        "_op": pa.array([row[5] for row in ROWS], pa.string()),
    }
    versions = SimpleNamespace(
        current=lambda: SimpleNamespace(parts_of=lambda _table: ["part"]),
        read=lambda _version, _table, names: pa.table(columns).select(names),
    )
    monkeypatch.setattr(recommender_parts, "RawStore", lambda _settings: SimpleNamespace(versions=versions))


def test_the_newest_landed_consent_of_each_customer(landed: None) -> None:
    assert recommender_parts.landed_consents(SimpleNamespace()) == {
        "ann": ProfilingConsent(hour(2), objects=True),
        "bob": ProfilingConsent(hour(1), objects=True),
        "cy": ProfilingConsent(hour(1), objects=True),
    }
