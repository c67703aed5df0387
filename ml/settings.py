"""The only reader of the environment, and the only giver of clocks.

Every setting is an environment variable `SHOPWRIGHT_<NAME>` or a line of `.env`.
"""

import os
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

PROJECT_DIR = Path(__file__).resolve().parents[1]
PREFIX = "SHOPWRIGHT_"
KEY_NAME = r"^[a-z][a-z0-9_.-]{0,39}$"
SCOPES = (
    "decisions:write",  # have an attempt to pay decided
    "decisions:read",  # see scores, hints and explanations
    "recommendations:read",
    "events:write",
    "reviews:read",
    "reviews:write",
    "metrics:read",
)
_DIGEST = r"[0-9a-f]{64}(@\d{4}-\d{2}-\d{2})?"
KEY_GRANT = rf"^{_DIGEST}( {_DIGEST})?( ({'|'.join(SCOPES)}))+$"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a path out of the database, a folder of it
        raise ValueError("expected an IANA time zone such as 'America/New_York'") from None
    return name


class Settings(BaseSettings):
    """What an installation of Shopwright can be told. One installation serves one shop."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=PROJECT_DIR / ".env",
        dotenv_filtering="match_prefix",  # the compose file has variables of its own there
        frozen=True,
        extra="forbid",
        env_parse_none_str="none",
        hide_input_in_errors=True,
    )

    shop_id: str = Field("completejourney", pattern=r"^[a-z][a-z0-9_]{1,30}$")
    state_dir: Path = Field(Path("var"), description="All state lies in <state_dir>/<shop_id>.")
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "America/New_York"
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="The shop's one settlement currency, ISO 4217.")
    closed_days: tuple[str, ...] = Field(
        ("12-25",),
        description="Month-days (MM-DD) and weekdays (saturday) on which the shop is closed, so that a day without "
        "sales is expected.",
    )

    source: Literal["completejourney", "files", "postgres"] = "completejourney"
    files_dir: Path | None = Field(None, description="The folder that the files source reads.")
    files_mapping: Path | None = Field(
        None, description="YAML file that maps the folder's files to the shop contract; none when they have its form."
    )
    source_url: SecretStr | None = Field(None, description="SQLAlchemy URL of the database that the source reads.")
    source_schema: str = Field("public", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="Its schema.")
    source_cursor: str = Field(
        "updated_at",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="Column of every source table that says when a row was last written.",
    )
    first_day: date = Field(date(2017, 1, 1), description="First day of history to load.")
    bootstrap_day: date = Field(date(2017, 11, 19), description="Last day of the history that the bootstrap loads.")
    last_day: Annotated[date | None, BeforeValidator(lambda value: None if value == "" else value)] = Field(
        date(2017, 12, 31), description="Last day that a replayed source has; `none` for a live shop."
    )
    replay_days: int = Field(7, ge=0, le=366, description="Days that `shopwright up` replays after the bootstrap.")
    promotions_weeks: int = Field(
        8,
        ge=0,
        le=520,
        description="Weeks of the promotions table that a bootstrap lands, counted back from its last day.",
    )

    quarantine_budgets: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description='Largest share of a batch that may be set aside, by "table" or "table.rule" (a JSON object); '
        "over it, the batch is held whole.",
    )
    owners: dict[str, str] = Field(
        default_factory=dict, description='Who answers for a table\'s data, by table (a JSON object); "shop-data" else.'
    )
    freshness: dict[str, str] = Field(
        default_factory=dict,
        description='Objectives by table (a JSON object), such as {"orders": "by 06:00, at most 1 day"}; those of the '
        "contract else.",
    )
    lineage_url: str | None = Field(
        None, description="HTTP address that takes OpenLineage events; a file under the state folder when empty."
    )

    simulate_payments: bool | None = Field(
        None,
        description="Lay simulated payments, chargebacks and fraud over the source's orders (made-up data, for trying "
        "the fraud product out); none means: for The Complete Journey only, which has no payments.",
    )
    simulated_fraud_rate: float = Field(
        0.007, gt=0, lt=0.2, description="Share of the orders that the simulation makes fraudulent."
    )
    state_url: SecretStr | None = Field(
        None,
        description="Redis URL of the online store (state of fraud features, rows of customers); SQLite under the "
        "state folder when empty.",
    )

    keep_versions: int = Field(5, ge=2, le=1000, description="Published versions kept for rollback.")
    seed: int = Field(20171119, ge=0, description="Seed of every random step.")

    airflow_port: int = Field(8080, ge=0, le=65535, description="0 takes a free port.")
    mlflow_port: int = Field(5000, ge=0, le=65535, description="0 takes a free port.")
    mlflow_tracking_uri: str | None = Field(
        None, description="MLflow server; `shopwright up` sets it for what it starts."
    )
    airflow_api_url: str | None = Field(None, description="Airflow API; `shopwright up` sets it for what it starts.")

    operations_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the operations database; SQLite under the state folder when empty."
    )
    alert_urls: tuple[SecretStr, ...] = Field((), description="Apprise URLs that alerts are sent to (a JSON list).")

    api_keys: dict[Annotated[str, Field(pattern=KEY_NAME)], Annotated[str, Field(pattern=KEY_GRANT)]] = Field(
        default_factory=dict,
        description="Who may use the API (a JSON object): name -> sha256 of the key in hexadecimal and its scopes, "
        'such as "<64 digits> reviews:read reviews:write"; two digests while a key is replaced, each with its last '
        'day if it has one ("<64 digits>@2027-01-31"). A verdict is signed with the name. Without keys, no API.',
    )
    jwt_public_key: str | None = Field(
        None,
        description="PEM of the public key of who signs the tokens (JWT) that the API takes beside keys, or several, "
        "one after the other, while a new one takes the place of an old one; none: no tokens.",
    )
    jwt_algorithm: Literal["ES256", "RS256", "EdDSA"] = Field("ES256", description="The one algorithm of its tokens.")
    jwt_issuer: str | None = Field(None, description="Who issues them; required with a public key.")

    serving_port: int = Field(8400, ge=0, le=65535, description="Port of the API on loopback; 0 takes a free port.")
    serving_workers: int = Field(1, ge=1, le=64, description="Processes that answer on that port.")
    serving_checked_dir: Path | None = Field(
        None, description="Where they note which models were checked; `shopwright serve` sets it for them."
    )
    deadline_ms: int = Field(100, ge=10, le=5000, description="Answers are there by then, degraded or not.")
    key_requests_per_second: int = Field(
        1000, ge=1, le=1_000_000, description="Requests of one key that are answered; more get 429."
    )
    customer_requests_per_minute: int = Field(
        120, ge=1, le=100_000, description="Requests about one customer that are answered; more get 429."
    )
    explored_share: float = Field(
        0.02, ge=0, le=0.5, description="Share of recommendation answers whose products are drawn, to learn from them."
    )
    static_products: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (), max_length=100, description="Products recommended when nothing else can be (a JSON list of ids)."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source == "files" and self.files_dir is None:
            raise ValueError(f"{PREFIX}FILES_DIR is required when {PREFIX}SOURCE is 'files'")
        if self.source == "postgres" and self.source_url is None:
            raise ValueError(f"{PREFIX}SOURCE_URL is required when {PREFIX}SOURCE is 'postgres'")
        if self.jwt_public_key is not None and self.jwt_issuer is None:
            raise ValueError(f"{PREFIX}JWT_ISSUER is required when {PREFIX}JWT_PUBLIC_KEY is set")
        if not self.first_day <= self.bootstrap_day:
            raise ValueError(f"{PREFIX}BOOTSTRAP_DAY must not be before {PREFIX}FIRST_DAY")
        if self.last_day is not None and self.last_day < self.bootstrap_day:
            raise ValueError(f"{PREFIX}LAST_DAY must not be before {PREFIX}BOOTSTRAP_DAY")
        for entry in self.closed_days:
            if entry in WEEKDAYS:
                continue
            try:
                date.fromisoformat(f"2000-{entry}")
            except ValueError:
                raise ValueError(f"{PREFIX}CLOSED_DAYS: expected entries such as '12-25' or 'saturday'") from None
        return self

    @property
    def simulates_payments(self) -> bool:
        return self.source == "completejourney" if self.simulate_payments is None else self.simulate_payments

    @cached_property
    def shop_dir(self) -> Path:
        """Folder that holds all state of this shop, absolute."""
        return (PROJECT_DIR / self.state_dir / self.shop_id).resolve()

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def event_horizon(self) -> datetime:
        """The moment after which an event lies in the future: now, and for a replayed shop the end of its last day."""
        now = wall_clock()
        return now if self.last_day is None else min(now, self.day_start(self.last_day + timedelta(days=1)))

    def is_closed(self, day: date) -> bool:
        return f"{day:%m-%d}" in self.closed_days or WEEKDAYS[day.weekday()] in self.closed_days

    def day_start(self, day: date) -> datetime:
        """Start of a shop day as an aware UTC timestamp."""
        return datetime.combine(day, time(), tzinfo=self.zone).astimezone(UTC)

    def shop_clock(self, newest_landed_day: date) -> datetime:
        """The shop clock: end of the newest landed day. It judges event times, freshness and ages of features."""
        return self.day_start(newest_landed_day + timedelta(days=1))


class SettingsError(Exception):
    """A setting is wrong. The message names each variable and what is allowed, never its value."""


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Settings of this process, read once.

    Raises:
        SettingsError: A variable is unknown or has a value that is not allowed.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return Settings()  # type: ignore[call-arg]  # pydantic-settings fills the fields from the environment
    except UnreadableSetting as error:
        names = [name for name in Settings.model_fields if f'"{name}"' in str(error)]
        raise SettingsError(f'{PREFIX}{"/".join(names).upper()}: expected a JSON list such as ["12-25"]') from None
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"][:1]).upper()
            problems.append(f"{PREFIX}{name}: {problem['msg']}" if name else problem["msg"])
        raise SettingsError("; ".join(problems)) from None


def wall_clock() -> datetime:
    """The wall clock (aware, UTC). It judges arrival, retries and alerts, never the data."""
    return datetime.now(UTC)
