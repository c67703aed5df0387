"""Cases of the review queue, and what a person says of them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ml.serving.bodies import StrictBody
from ml.serving.models.fields import Told
from ml.stores import reviews

_MAX_LEASE_MINUTES = 240


def _without_controls(text: str) -> str:
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in text) or "\x7f" in text:
        raise ValueError("control characters")
    return text


# What is asked


class Claim(StrictBody):
    """For how long a case is taken."""

    lease_minutes: int = Field(int(reviews.LEASE.total_seconds() // 60), ge=1, le=_MAX_LEASE_MINUTES)


class Nothing(StrictBody):
    """A body that has nothing to say."""


class Verdict(StrictBody):
    """A verdict and what led to it."""

    verdict: Literal["fraud", "legitimate"]
    note: Annotated[str, Field(max_length=reviews.NOTE_CHARACTERS), AfterValidator(_without_controls)] = ""


class ReviewsQuery(StrictBody):
    """Which cases are listed."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    mine: Literal["true", "false"] = "false"


# What is told


class CaseList(Told):
    """Cases, the largest expected saving first."""

    cases: list[dict[str, Any]]
    data: str | None


class OneCase(Told):
    """A case, or null where none waits."""

    case: dict[str, Any] | None
    data: str | None


class CaseFile(BaseModel):
    """Everything known about a case."""

    model_config = ConfigDict(extra="allow", frozen=True)

    order_id: str
