"""Sessions with the database that a shop's tables are read from: read-only, and discreet about how it is reached.

What PostgreSQL and its driver say can hold a password (a URL that is not escaped well), a value or a query.
So every message here is our own, chosen by the kind of the error.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import Connection
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import PREFIX, Settings

_URL = f"{PREFIX}SOURCE_URL"
_FORM = f"{_URL}: expected postgresql://user:password@host:5432/database, special signs in the password as %XX"
_CONNECTION = {
    "application_name": "shopwright",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within a minute and a half.
    "keepalives_idle": 30,
    "keepalives_interval": 15,
    "keepalives_count": 4,
}
# What a server says to those whom it will not let in, however often they ask.
_REFUSALS = (
    (r"password authentication failed|no password supplied", "it refused the user or the password"),
    (r"pg_hba\.conf", "it lets no such user in from this machine"),
    (r'role "[^"]*" does not exist', "it has no such user"),
    (r'database "[^"]*" does not exist', "it has no such database"),
    (r"does not support SSL|no encryption|certificate", "it and this machine could not agree on encryption"),
    (r"Name or service not known|nodename nor servname", "its host name is unknown here"),
)


class Interrupted(Exception):
    """The conversation ended for a reason that passes: a restart, a network that failed."""


@contextmanager
def session(settings: Settings) -> Iterator[Connection]:
    """A read-only session, ended and rolled back afterwards.

    Raises:
        DataFailed: The role may not read something, or a value has no form that we know.
        ToolFailed: The database lets nobody in so, or gave up the work.
        Interrupted: Trying again may help.
    """
    arguments = connection_arguments(settings)
    try:
        connection = psycopg.connect(**arguments)  # type: ignore[arg-type]  # what the dialect makes of a URL
    except (psycopg.Error, OSError, ValueError) as error:
        raise _why_not_in(error) from None
    try:
        connection.read_only = True
        yield connection
    except psycopg.Error as error:
        raise _why_not_done(error) from None
    finally:
        connection.close()


def connection_arguments(settings: Settings) -> dict[str, object]:
    """What the driver is told; a URL may give more (`?sslmode=verify-full`).

    Raises:
        ToolFailed: The setting is not the URL of a PostgreSQL database.
    """
    assert settings.source_url is not None, "the settings require source_url for this source"
    try:
        url = make_url(settings.source_url.get_secret_value())
        is_postgres = url.drivername in ("postgresql", "postgres", "postgresql+psycopg")
        _, arguments = PGDialect_psycopg().create_connect_args(url)  # type: ignore[no-untyped-call]
    except (ArgumentError, ValueError):
        raise ToolFailed(_FORM) from None
    if not is_postgres:
        raise ToolFailed(_FORM)
    return {**_CONNECTION, **arguments}


def _why_not_in(error: Exception) -> Exception:
    told = str(error)
    for pattern, reason in _REFUSALS:
        if re.search(pattern, told):
            return ToolFailed(f"the source database cannot be read: {reason} ({_URL})")
    if isinstance(error, psycopg.OperationalError | OSError):
        return Interrupted("the source database cannot be reached")
    return ToolFailed(_FORM)


def _why_not_done(error: psycopg.Error) -> Exception:
    state = error.sqlstate or ""
    if state == "42501":
        return DataFailed("the role may not read it; it needs USAGE on the schema and SELECT on the tables")
    if state == "57014":
        return ToolFailed("the source database cancelled the query (statement_timeout, or an administrator)")
    if state.startswith("22") or state == "0A000":  # PostgreSQL's word for infinity as a number
        return DataFailed(f"a value has no form that can be read, such as an infinite time (SQLSTATE {state})")
    if state.startswith("42"):
        return DataFailed(f"the tables changed while they were read (SQLSTATE {state})")
    # Connection lost, server going down or coming up, conflict with recovery on a standby, out of resources.
    if not state or state[:2] in ("08", "40", "53", "55", "57"):
        return Interrupted("the source database ended the conversation")
    return ToolFailed(f"the source database failed (SQLSTATE {state})")
