"""The two ways in which a step can fail, told apart by exception and by exit code.

"The data failed" is a verdict: a retry would give the same one. "The tool failed" is an
accident: a retry may help, and until one does, the verdict is unknown.
"""

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_DATA_FAILED = 3
EXIT_TOOL_FAILED = 4


class DataFailed(Exception):
    """The data broke a rule. The message names the table, the rule and what was expected, never a value."""


class ToolFailed(Exception):
    """A check or a store could not do its work, so nothing is known about the data."""
