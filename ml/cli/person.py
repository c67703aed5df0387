"""Who runs a command, for the audit trail."""

import os
import pwd


def acting_person(stated: str | None = None) -> str:
    """Who decided, as stated; otherwise the operating system's name of who runs the command."""
    return (stated or "").strip() or pwd.getpwuid(os.getuid()).pw_name
