"""The way back from quarantine: rows are offered again, judged by the rules about single rows, and published to raw.

What comes back is a batch of its own over the days of the batch that it came in, landed before anything is
published. The rows and the note which of them came back are one publication; the audit trail follows. After a
process was killed in between, the same offer made again publishes and records what is missing, once.
"""

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
from great_expectations.exceptions import GreatExpectationsError

from expectations.conservation import assert_conserved, collapse_duplicates, count_late
from expectations.rows import RowJudgement, judge_rows
from expectations.settlement import Outcome, finish, settle
from expectations.validation import ROW
from expectations.verdicts import Gate, RuleResult, Status, Verdict, record
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores.landing import Batch
from ml.stores.quarantine import Action, Decision, EntryKey
from ml.stores.quarantine_files import Repaired
from ml.stores.raw import AcceptedBatch
from ml.stores.readmissions import EntryDesk, Signature, digest_of, offer_of


def readmit(settings: Settings, key: EntryKey, offer: Repaired, *, as_is: bool, signature: Signature) -> Outcome:
    """Judge offered rows of an entry and publish those that pass. The same offer again changes nothing.

    Args:
        offer: Repaired rows; with `as_is` the rows as they were, for which the rule that set them aside is waived.

    Raises:
        DataFailed: The rows' batch was delivered again or is not published, its rows were discarded, the rule
            cannot be waived, or no row passed. Nothing was changed.
        ToolFailed: A rule could not be judged. Nothing was changed.
    """
    desk = EntryDesk(settings, key)
    action = Action.AS_IS if as_is else Action.REPAIRED
    with desk.quarantine.deciding():
        finish(desk)
        digest, offered = digest_of(offer), len(offer.positions)
        if made := _made_before(desk, digest, action):
            return Outcome(desk.count_open(), made.id, offered, skipped=offered)
        _refuse_impossible(desk)
        is_back = np.isin(offer.positions, desk.back())
        left = Repaired(offer.rows.filter(pa.array(~is_back)), offer.positions[~is_back], offer.format)
        skipped = int(is_back.sum())
        if not len(left.positions):
            return Outcome(desk.count_open(), None, offered, skipped=skipped)
        judged = _judge(desk, left, as_is=as_is)
        passed = np.delete(left.positions, _failing(judged))
        if not len(passed):
            raise DataFailed(f"{key}: no row passed the gate, and nothing was changed: {_sentences(judged)}")
        batch = desk.land(left, action, signature, digest)
        accepted = _accepted(desk, batch, judged, passed, offered=len(left.positions))
        known = _count_known_keys(desk, accepted)
        # As for every batch, the verdict comes before the publication.
        record(desk.operations, [_verdict(desk, batch, judged, accepted, as_is=as_is)])
        desk.raw.append([accepted])
        decision = Decision(action, len(left.positions), len(passed), batch.id, signature.reason, signature.decided_by)
        settle(desk, decision)
        refused = {finding.rule: len(finding.positions) for finding in judged.findings if len(finding.positions)}
        return Outcome(
            still_open=desk.count_open(),
            batch_id=batch.id,
            offered=offered,
            passed=len(passed),
            collapsed=accepted.rows_collapsed,
            refused=refused,
            known_keys=known,
            skipped=skipped,
            changed=True,
        )


def _made_before(desk: EntryDesk, digest: str, action: Action) -> Batch | None:
    """The batch of the same offer, if it was made and published before."""
    made = ((batch, offer_of(batch)) for batch in desk.published_readmissions())
    return next((batch for batch, offer in made if offer["digest"] == digest and offer["action"] == action.value), None)


def _refuse_impossible(desk: EntryDesk) -> None:
    key, origin, newer = desk.key, desk.origin(), desk.replaced_by()
    if not desk.is_published(origin):
        raise DataFailed(f"{key}: the batch is not published; run its day again first")
    if newer is not None:
        raise DataFailed(
            f"{key}: the source delivered these days again as batch {newer}, which is published and counts; "
            f"give these rows up (shopwright quarantine discard {key.table} --batch {key.batch_id} --rule {key.rule} "
            "--reason 'delivered again'), and readmit those of the newer batch if it has any"
        )
    discarded = desk.quarantine.entry(key)["rows_discarded"]
    if discarded:
        raise DataFailed(f"{key}: {discarded:,} rows were discarded, and do not come back")


def _judge(desk: EntryDesk, offer: Repaired, *, as_is: bool) -> RowJudgement:
    key = desk.key
    batch = replace(desk.origin(), format=offer.format, rows=offer.rows.num_rows, unparsed=0)
    waived = frozenset({key.rule}) if as_is else frozenset()
    try:
        judged = judge_rows(desk.settings, batch, offer.rows, waived=waived)
    except (GreatExpectationsError, duckdb.Error, pa.ArrowException) as error:
        # The message may quote a value, so only its kind is told.
        raise ToolFailed(f"{key}: the gate raised {type(error).__name__}") from None
    if any(finding.status is Status.UNKNOWN for finding in judged.findings):
        raise ToolFailed(f"{key}: {_sentences(judged)}")
    still_applied = next((finding for finding in judged.findings if finding.rule in waived), None)
    if still_applied is not None:
        raise DataFailed(
            f"{key}: rule {key.rule} cannot be waived, because what comes after relies on {still_applied.expected}; "
            "repair the rows and readmit the file"
        )
    return judged


def _failing(judged: RowJudgement) -> np.ndarray:
    """Positions within the offer of the rows that broke a rule."""
    nothing = np.array([], dtype=np.int64)
    return np.unique(np.concatenate([nothing, *(finding.positions for finding in judged.findings)]))


def _sentences(judged: RowJudgement) -> str:
    bad = (Status.SET_ASIDE, Status.UNKNOWN)
    return "; ".join(finding.as_result().sentence() for finding in judged.findings if finding.status in bad)


def _accepted(
    desk: EntryDesk, batch: Batch, judged: RowJudgement, passed: np.ndarray, *, offered: int
) -> AcceptedBatch:
    rows = judged.accepted
    index = rows.schema.get_field_index("_batch_id")
    # They were judged before they had a batch of their own.
    rows = rows.set_column(index, rows.schema.field(index), pa.repeat(pa.scalar(batch.id), rows.num_rows))
    left = collapse_duplicates(desk.table, rows)
    refused, collapsed = offered - len(passed), len(passed) - left.num_rows
    assert_conserved(batch.table, batch.id, offered, left.num_rows, refused, collapsed)
    return AcceptedBatch(
        table=batch.table,
        batch_id=batch.id,
        rows=left,
        set_aside_lines=desk.note_complete(batch, passed),
        rows_in=offered,
        rows_quarantined=refused,
        rows_collapsed=collapsed,
        rows_late=count_late(desk.table, left, batch.first_day),
        readmits=batch.readmits,
        readmitted_rows=desk.note_back(batch, passed),
    )


def _count_known_keys(desk: EntryDesk, accepted: AcceptedBatch) -> int:
    """Rows whose key raw has already from another batch."""
    current = desk.raw.versions.current()
    parts = current.parts_of(accepted.table) if current else ()
    paths = [str(desk.raw.versions.open_part(part)) for part in parts if part.partition != accepted.batch_id]
    if not paths:
        return 0
    key = ", ".join(f'"{name}"' for name in desk.table.key)
    with duckdb.connect() as connection:
        connection.register("readmitted", accepted.rows.select(list(desk.table.key)))
        connection.read_parquet(paths).create_view("before")
        found = connection.sql(f"select count(*) from readmitted semi join before using ({key})").fetchall()  # noqa: S608
    return int(found[0][0])


def _verdict(desk: EntryDesk, batch: Batch, judged: RowJudgement, accepted: AcceptedBatch, *, as_is: bool) -> Verdict:
    rules = [*judged.structure, *(finding.as_result() for finding in judged.findings)]
    if as_is:
        observed, expected = f"waived for {accepted.rows_in:,} rows", "a person to vouch for the rows"
        rules.append(RuleResult(desk.key.rule, ROW, Status.WARNED, observed, expected))
    return Verdict(
        Gate.ARRIVALS,
        batch.table,
        batch.id,
        batch.last_day,
        tuple(rules),
        rows_in=accepted.rows_in,
        rows_published=accepted.rows.num_rows,
        rows_quarantined=accepted.rows_quarantined,
        rows_collapsed=accepted.rows_collapsed,
    )
