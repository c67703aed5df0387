"""`shopwright`: by hand, whatever a DAG task does.

Each module here holds the steps of one stage as plain functions, which the DAG tasks call, and the
commands that run them by hand. Commands are loaded when they are used, so that `shopwright alerts`
does not wait for the imports of training.
"""

import importlib
import sys

import click

from ml.outcomes import EXIT_DATA_FAILED, EXIT_TOOL_FAILED, EXIT_USAGE, DataFailed, ToolFailed
from ml.settings import SettingsError

# Command -> module under ml.cli that defines it (a click command of the same name, dashes as underscores).
_COMMANDS = {
    "up": "platform",
    "demo": "platform",
    "doctor": "platform",
    "watch": "platform",
    "ingest": "ingest",
    "scrub": "ingest",
    "shop": "shop",
    "gates": "gates",
    "quarantine": "quarantine",
    "warehouse": "warehouse",
    "docs": "warehouse_docs",
    "features": "features",
    "new": "scaffold",
    "recommender": "recommender",
    "recommend": "recommender",
    "fraud": "fraud",
    "policy": "policy",
    "rules": "rules",
    "reviews": "reviews",
    "serve": "serve",
    "key": "keys",
    "decisions": "decisions",
    "promotions": "models",
    "rollback": "models",
    "reconcile": "models",
    "monitor": "monitoring",
    "report": "monitoring",
    "lineage": "lineage",
    "freshness": "freshness",
    "alerts": "alerting",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(f"ml.cli.{module}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command), f"ml.cli.{module}.{cmd_name} is not a command"
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def _shopwright() -> None:
    """Shopwright keeps a shop's models fresh, fair and safe, on a schedule.

    Exit codes: 0 done, 2 wrong use or settings, 3 the data failed a rule, 4 a tool failed.
    """


def main() -> None:
    try:
        _shopwright.main(standalone_mode=True)
    except SettingsError as error:
        _stop(EXIT_USAGE, f"settings: {error}")
    except DataFailed as error:
        _stop(EXIT_DATA_FAILED, f"the data failed: {error}")
    except ToolFailed as error:
        _stop(EXIT_TOOL_FAILED, f"the tool failed: {error}")


def _stop(code: int, message: str) -> None:
    click.echo(message, err=True)
    sys.exit(code)
