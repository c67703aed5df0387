"""How the state of the process is told."""

from typing import Literal

from ml.serving.models.fields import Told


class Health(Told):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Told):
    """Whether requests can be answered, and by what."""

    status: Literal["ready", "degraded", "unavailable"]
    conditions: dict[str, str]
