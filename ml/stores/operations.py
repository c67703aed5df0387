"""The operational record: verdicts, quarantine states, incidents, alerts, promotions, monitor states.

One SQLite database in WAL mode through SQLAlchemy; the same code runs on PostgreSQL. Transactions are
short, and writes are upserts on natural keys, so that a task that runs twice leaves one row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    delete,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateColumn

from ml.outcomes import ToolFailed
from ml.settings import Settings, wall_clock
from ml.stores import fraud_tables  # noqa: F401 - registers its tables
from ml.stores.durable import exclusive_lock, storage_refusal
from ml.stores.operational_tables import Moment, metadata

_CREATE_ATTEMPTS = 5
# What SQLite says when the system stores no bytes; PostgreSQL passes on what the system says.
_STORAGE_REFUSALS = {
    "database or disk is full": "No space left on device (ENOSPC)",
    "attempt to write a readonly database": "the database is read-only",
    "disk I/O error": "disk I/O error",
    "unable to open database file": "the database file cannot be opened",
}


gate_verdicts = Table(
    "gate_verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gate", String(40), nullable=False),  # arrivals, marts, model_inputs
    Column("object", String(120), nullable=False),  # contract table, mart or data set
    Column("batch_id", String(120), nullable=False),  # what was judged: a batch or a version
    Column("partition", String(10), nullable=False),  # shop day, YYYY-MM-DD
    Column("status", String(10), nullable=False),  # passed, failed, unknown
    Column("rules", JSON, nullable=False),  # list of {rule, scope, status, observed, expected, rows}
    Column("rows_in", Integer, nullable=False, default=0),
    Column("rows_published", Integer, nullable=False, default=0),
    Column("rows_quarantined", Integer, nullable=False, default=0),
    Column("rows_collapsed", Integer, nullable=False, default=0),
    Column("judged_at", Moment, nullable=False),
    UniqueConstraint("gate", "object", "batch_id"),
)

quarantine_entries = Table(  # the rows themselves lie in the quarantine store; this is their state
    "quarantine_entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("table_name", String(60), nullable=False),
    Column("batch_id", String(120), nullable=False),
    Column("rule", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("owner", String(60), nullable=False, server_default="shop-data"),  # who answers for the table's data
    Column("state", String(12), nullable=False, default="open"),  # open, readmitted, discarded
    Column("rows_readmitted", Integer, nullable=False, server_default="0"),
    Column("rows_discarded", Integer, nullable=False, server_default="0"),
    Column("first_seen_at", Moment, nullable=False),
    UniqueConstraint("table_name", "batch_id", "rule"),
)

quarantine_decisions = Table(  # the audit trail: who let rows back in or gave them up, when and why; only ever added to
    "quarantine_decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("table_name", String(60), nullable=False),
    Column("batch_id", String(120), nullable=False),
    Column("rule", String(120), nullable=False),
    Column("action", String(20), nullable=False),  # readmit_repaired, readmit_as_is, discard
    Column("rows_offered", Integer, nullable=False),
    Column("rows_passed", Integer, nullable=False),
    Column("readmission_batch_id", String(120)),  # the batch in which they came back
    Column("reason", Text, nullable=False),
    Column("decided_by", String(120), nullable=False),
    Column("decided_at", Moment, nullable=False),
)

judgements = Table(  # every verdict in the order given, for history; `gate_verdicts` holds the last one of each batch
    "judgements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gate", String(40), nullable=False),
    Column("object", String(120), nullable=False),
    Column("batch_id", String(120), nullable=False),
    Column("partition", String(10), nullable=False),
    Column("status", String(10), nullable=False),
    Column("judged_at", Moment, nullable=False),
)

gate_proofs = Table(  # what the self-test of the gates found
    "gate_proofs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gate", String(40), nullable=False),
    Column("bad_input", String(120), nullable=False),
    Column("outcome", String(10), nullable=False),  # proven, failed, unknown
    Column("detail", Text, nullable=False),
    Column("proven_at", Moment, nullable=False),
)

delivered_schemas = Table(  # the columns that a table was delivered with, each form once
    "delivered_schemas",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("table_name", String(60), nullable=False),
    Column("schema_digest", String(16), nullable=False),
    Column("columns", JSON, nullable=False),  # column -> type as delivered
    Column("change", String(12), nullable=False),  # first, additive, breaking
    Column("difference", JSON, nullable=False),  # list of sentences
    Column("contract_version", Integer, nullable=False),
    Column("first_batch_id", String(120), nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    UniqueConstraint("table_name", "schema_digest"),
)

feature_versions = Table(  # a published mart of features whose fingerprint changed is a new version of it
    "feature_versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("feature_mart", String(120), nullable=False),
    Column("number", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("marts_version", String(60), nullable=False),  # the first published version that holds it
    Column("published_at", Moment, nullable=False),
    UniqueConstraint("feature_mart", "number"),
)

rollbacks = Table(  # who made an earlier version of the marts current again, when and why
    "rollbacks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("store", String(40), nullable=False),
    Column("from_version", String(60), nullable=False),
    Column("to_version", String(60), nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_by", String(120), nullable=False),
    Column("decided_at", Moment, nullable=False),
    Column("completed_at", Moment),  # null: the pointer may not have moved; asking again completes it
)

quarantine_reveals = Table(  # who looked at set-aside values, and why
    "quarantine_reveals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("table_name", String(60), nullable=False),
    Column("batch_id", String(120), nullable=False),
    Column("rule", String(120), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revealed_by", String(120), nullable=False),
    Column("revealed_at", Moment, nullable=False),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("object", String(200), nullable=False),
    Column("rule", String(120), nullable=False),
    Column("state", String(10), nullable=False),  # open, closed
    Column("severity", String(10), nullable=False),  # warn, alert, unknown
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("count", Integer, nullable=False, default=1),
    Column("opened_partition", String(10), nullable=False),
    Column("last_partition", String(10), nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("last_seen_at", Moment, nullable=False),
    Column("reminded_at", Moment),
    Column("closed_at", Moment),
    Column("closed_partition", String(10)),  # the shop day whose check passed
)
Index(  # at most one open incident of a key, whoever opens it first
    "one_open_incident",
    incidents.c.kind,
    incidents.c.object,
    incidents.c.rule,
    unique=True,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)

incident_sightings = Table(  # the shop days on which an incident was seen; a day that is run again counts once
    "incident_sightings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("incident_id", Integer, nullable=False),
    Column("partition", String(10), nullable=False),
    UniqueConstraint("incident_id", "partition"),
)

alerts = Table(  # stored first, sent afterwards
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("incident_id", Integer, nullable=False),
    Column("purpose", String(10), nullable=False),  # opened, worsened, reminder, closed
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("delivery", String(10), nullable=False),  # pending, sent, failed, unrouted
    Column("attempts", Integer, nullable=False, default=0),
    Column("routes_done", JSON, nullable=False, default=list),  # names of the routes that took it
    Column("last_error", Text),
    Column("next_attempt_at", Moment),
    Column("sent_at", Moment),
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("product", String(40), nullable=False),  # recommender, fraud
    Column("challenger", String(120), nullable=False),
    Column("champion", String(120)),  # who was challenged; null for the first
    Column("partition", String(10), nullable=False),
    Column("verdict", String(10), nullable=False),  # promoted, refused, unknown, rolled_back
    Column("rules", JSON, nullable=False),  # list of {rule, status, observed, threshold}
    Column("metrics", JSON, nullable=False),
    Column("decided_at", Moment, nullable=False),
    UniqueConstraint("product", "challenger", "partition", "verdict"),
)

monitor_states = Table(
    "monitor_states",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("monitor", String(40), nullable=False),  # feature_drift, score_drift, performance, bias, scrub ...
    Column("object", String(120), nullable=False),
    Column("partition", String(10), nullable=False),
    Column("state", String(10), nullable=False),  # ok, warn, alert, unknown
    Column("value", Float),
    Column("threshold", Float),
    Column("detail", JSON, nullable=False),
    Column("judged_at", Moment, nullable=False),
    UniqueConstraint("monitor", "object", "partition"),
)


class Operations:
    """Short transactions on the operational record."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with _storage_named():
            _create_tables(engine)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Operations":
        if settings.operations_url is not None:
            return cls(create_engine(settings.operations_url.get_secret_value(), pool_pre_ping=True))
        # SQLite refuses at once, whatever the timeout, when two connections switch a new file to WAL together.
        with exclusive_lock(settings.shop_dir / ".operations.lock"):
            return cls(_sqlite_engine(f"sqlite:///{settings.shop_dir / 'operations.db'}"))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A short transaction.

        Raises:
            ToolFailed: The system does not store the rows (a full disk, a read-only folder).
        """
        with _storage_named(), self.engine.begin() as connection:
            yield connection

    def insert(self, table: Table) -> Any:
        """The database's own INSERT, which knows `on_conflict_do_update` and `on_conflict_do_nothing`."""
        dialect = postgresql if self.engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table)

    def upsert(self, table: Table, key: Sequence[str], row: dict[str, Any]) -> None:
        """Insert a row, or replace the one with the same natural key."""
        statement = self.insert(table).values(**row)
        changes = {name: statement.excluded[name] for name in row if name not in key}
        with self.transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changes))

    def rows(self, table: Table, limit: int | None = None, **equal: Any) -> list[dict[str, Any]]:
        """Rows whose columns equal what is given, oldest first; with `limit`, the newest ones."""
        statement = select(table).order_by(table.c.id.desc() if limit else table.c.id)
        for name, value in equal.items():
            statement = statement.where(table.c[name] == value)
        with self.transaction() as connection:
            found = [dict(row._mapping) for row in connection.execute(statement.limit(limit))]
        return found[::-1] if limit else found

    def record_verdict(self, **row: Any) -> None:
        """Store a gate's verdict; the columns are those of `gate_verdicts`."""
        row = {"judged_at": wall_clock(), **row}
        self.upsert(gate_verdicts, ("gate", "object", "batch_id"), row)
        history = {name: row[name] for name in judgements.c.keys() if name != "id"}  # noqa: SIM118 - a collection, no dict
        with self.transaction() as connection:
            connection.execute(judgements.insert().values(**history))

    def record_promotion(self, **row: Any) -> None:
        """Store a promotion verdict; the columns are those of `promotions`."""
        key = ("product", "challenger", "partition", "verdict")
        self.upsert(promotions, key, {"decided_at": wall_clock(), **row})

    def record_monitor_state(self, **row: Any) -> None:
        """Store a monitor's state; the columns are those of `monitor_states`."""
        self.upsert(monitor_states, ("monitor", "object", "partition"), {"judged_at": wall_clock(), **row})

    def replace_monitor_states(
        self, partition: str, monitors: Sequence[str], rows: Sequence[dict[str, Any]], of: str | None = None
    ) -> None:
        """Make these the only states of some monitors on a shop day; what an earlier run left is gone.

        Args:
            of: Only those of this object, and of its parts (`<object>: <part>`).
        """
        now = wall_clock()
        stale = (monitor_states.c.partition == partition) & monitor_states.c.monitor.in_(list(monitors))
        if of is not None:
            judged = monitor_states.c.object
            stale &= (judged == of) | judged.startswith(f"{of}: ", autoescape=True)
        with self.transaction() as connection:
            connection.execute(delete(monitor_states).where(stale))
            if rows:
                connection.execute(
                    monitor_states.insert(), [{"partition": partition, "judged_at": now, **row} for row in rows]
                )


@contextmanager
def _storage_named() -> Iterator[None]:
    """Tell a database that cannot store rows from one that does not take them; the text of the error may hold rows."""
    try:
        yield
    except OperationalError as error:
        told = str(error.orig)
        reason = storage_refusal(told) or next(
            (named for text, named in _STORAGE_REFUSALS.items() if text in told), None
        )
        if reason is None:
            raise
        raise ToolFailed(
            f"the operational record cannot be written: {reason}; make room and run the step again"
        ) from None


def _create_tables(engine: Engine) -> None:
    """Create what is missing; two processes that start at once may both try, and one then looks again."""
    for _attempt in range(_CREATE_ATTEMPTS - 1):
        try:
            _bring_up_to_date(engine)
        except (OperationalError, ProgrammingError, IntegrityError):
            continue
        return
    _bring_up_to_date(engine)


def _bring_up_to_date(engine: Engine) -> None:
    """Create missing tables, and add columns that an older installation's tables lack."""
    metadata.create_all(engine)
    found = inspect(engine)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            present = {column["name"] for column in found.get_columns(table.name)}
            for column in table.columns:
                if column.name not in present:
                    definition = CreateColumn(column).compile(dialect=engine.dialect)
                    connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine
