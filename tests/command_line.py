"""`shopwright` in the process of a test."""

import sys

import pytest

from ml import cli


def shopwright(*arguments: object) -> int:
    """Exit code of a command; what it tells is for the test to capture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["shopwright", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    code = stopped.value.code or 0
    assert isinstance(code, int)
    return code
