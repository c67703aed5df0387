"""What the fields of several bodies and answers may hold."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ml.fraud.events import UNPRINTABLE

PRINTABLE = rf"^[^{UNPRINTABLE}]+$"

Id = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
Moment = Annotated[
    str, Field(description="ISO 8601 with its offset from UTC, from 1990 until 5 minutes after now.", max_length=40)
]
Cents = Annotated[int, Field(ge=0, le=10**12)]


class Told(BaseModel):
    """An answer: these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
