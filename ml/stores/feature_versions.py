"""Versions of the feature marts: one number per definition, in the order in which definitions were first published.

The marts' lineage holds fingerprints and no numbers: what a version is must not depend on what an installation happened
to publish before. A definition that comes back (an edit reverted, a rollback) has the number that it had, because a
model that was trained on it may be used again.
"""

from sqlalchemy import func, select

from ml.settings import wall_clock
from ml.stores.operations import Operations, feature_versions
from ml.stores.versions import Version


def record_feature_versions(operations: Operations, version: Version) -> dict[str, int]:
    """Number the definitions of a published version's feature marts. Doing it again changes nothing.

    Returns:
        The number of each feature mart's definition.
    """
    fingerprints: dict[str, str] = version.lineage.get("fingerprints", {})
    return {mart: _number(operations, mart, fingerprints[mart], version) for mart in sorted(fingerprints)}


def _number(operations: Operations, mart: str, fingerprint: str, version: Version) -> int:
    table = feature_versions
    of_mart = table.c.feature_mart == mart
    with operations.transaction() as connection:
        while True:
            known = select(table.c.number).where(of_mart, table.c.fingerprint == fingerprint)
            number: int | None = connection.execute(known.order_by(table.c.number)).scalars().first()
            if number is not None:
                return number
            newest: int = connection.execute(select(func.max(table.c.number)).where(of_mart)).scalar_one() or 0
            row = {
                "feature_mart": mart,
                "number": newest + 1,
                "fingerprint": fingerprint,
                "marts_version": version.id,
                "published_at": wall_clock(),
            }
            # Another process may take the number first; then this looks again.
            key = ["feature_mart", "number"]
            connection.execute(operations.insert(table).values(**row).on_conflict_do_nothing(index_elements=key))


def version_numbers(operations: Operations, mart: str) -> dict[str, int]:
    """Fingerprint -> number of every definition of a feature mart that was ever published."""
    return {row["fingerprint"]: row["number"] for row in operations.rows(feature_versions, feature_mart=mart)}
