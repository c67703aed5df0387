"""The commands of quarantine as a person gives them, and what an entry of it says afterwards."""

from ml.stores.operations import quarantine_entries
from tests.command_line import shopwright
from tests.gate_records import operations
from tests.readmission_shop import NOT_POSITIVE


def run(*arguments, capsys=None):
    """Exit code and output of `shopwright`."""
    code = shopwright(*arguments)
    told = capsys.readouterr() if capsys else None
    return code, (told.out + told.err if told else "")


def readmit(batch, *arguments, rule=NOT_POSITIVE, table="order_lines", capsys=None):
    named = ("--batch", batch, "--rule", rule, "--reason", "till 3 was repaired", "--no-rebuild")
    return run("quarantine", "readmit", table, *named, *arguments, capsys=capsys)


def export(batch, file, rule=NOT_POSITIVE, table="order_lines", capsys=None):
    named = ("--batch", batch, "--rule", rule, "--reason", "to repair them")
    return run("quarantine", "export", table, file, *named, capsys=capsys)


def entry(batch, rule=NOT_POSITIVE, table="order_lines"):
    [found] = operations().rows(quarantine_entries, table_name=table, batch_id=batch, rule=rule)
    return found


def counts(batch, **which):
    found = entry(batch, **which)
    return found["rows"], found["rows_readmitted"], found["rows_discarded"], found["state"]
