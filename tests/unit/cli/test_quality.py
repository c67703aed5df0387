"""The commands that show verdicts and quarantined rows."""

from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from ml.cli.gates import gates
from ml.cli.quarantine import quarantine
from ml.stores.operations import Operations, quarantine_reveals
from ml.stores.quarantine import MASK, Quarantine, SetAside

BATCH = "2024-01-05.1d.abcdef01"
SECRET = "customer-4711"


@pytest.fixture
def settings(configure):
    return configure(shop_id="tiny")


@pytest.fixture
def operations(settings):
    return Operations.from_settings(settings)


def run(command, *arguments):
    result = CliRunner().invoke(command, list(arguments))
    return result.exit_code, result.output


def rule(name, status, observed="2 rows that do not", expected="quantity above 0"):
    return {"rule": name, "scope": "row", "status": status, "observed": observed, "expected": expected, "rows": 2}


def store_verdict(operations, **other):
    operations.record_verdict(
        **{
            "gate": "arrivals",
            "object": "order_lines",
            "batch_id": BATCH,
            "partition": "2024-01-05",
            "status": "failed",
            "rules": [rule("quantity_not_positive", "set_aside"), rule("row_count", "passed", "9", "at least 1 row")],
            "rows_in": 9,
            "rows_published": 5,
            "rows_quarantined": 3,
            "rows_collapsed": 1,
        }
        | other
    )


def store_rows(settings, operations):
    rows = pa.table({"order_id": ["o1", "o2", "o3"], "customer_id": [SECRET] * 3})
    Quarantine(settings, operations).set_aside(SetAside("orders", BATCH, "currency_is_null", "expected one", rows))


def test_without_verdicts_it_says_so(settings):
    assert run(gates) == (0, "no verdicts yet\n")


def test_a_verdict_is_listed_with_its_rows_and_what_is_to_be_said(operations):
    store_verdict(operations)
    code, output = run(gates)
    assert code == 0
    line = next(line for line in output.splitlines() if line.startswith("arrivals"))
    assert line.split() == ["arrivals", "order_lines", BATCH, "failed", "9", "5", "3", "1"]
    assert "set_aside  quantity_not_positive: expected quantity above 0; found 2 rows that do not" in output
    assert "row_count" not in output
    assert "row_count" in run(gates, "--rules")[1]


def test_verdicts_can_be_chosen(operations):
    store_verdict(operations)
    store_verdict(operations, object="orders", status="passed", partition="2024-01-06", rules=[])
    assert "order_lines" not in run(gates, "--object", "orders")[1]
    assert "order_lines" not in run(gates, "--status", "passed")[1]
    assert "order_lines" not in run(gates, "--partition", "2024-01-06")[1]
    assert run(gates, "--gate", "marts")[1] == "no such verdict\n"
    assert "order_lines" not in run(gates, "--limit", "1")[1]


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, _attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_shows_every_verdict_and_runs_nothing_from_it(operations):
    store_verdict(operations, rules=[rule("columns_present", "failed", "unknown column <script>alert(1)</script>")])
    store_verdict(operations, gate="marts", object="fct_orders", status="passed", rules=[])
    code, output = run(gates, "--html")
    assert code == 0
    reader = _Reader()
    reader.feed(Path(output.strip()).read_text())
    text = " ".join(reader.text)
    assert {"order_lines", "fct_orders", "columns_present", "2024-01-05"} <= set(text.split())
    assert "unknown column <script>alert(1)</script>" in text
    assert "script" not in reader.tags


def test_quarantine_lists_counts_without_rows(settings, operations):
    assert run(quarantine, "list") == (0, "nothing is in quarantine\n")
    store_rows(settings, operations)
    code, output = run(quarantine, "list")
    assert code == 0
    assert "currency_is_null  3" in output
    assert SECRET not in output
    assert "nothing of that" in run(quarantine, "list", "--table", "payments")[1]


def test_shown_rows_are_masked(settings, operations):
    store_rows(settings, operations)
    code, output = run(quarantine, "show", "orders", "--limit", "2")
    assert code == 0
    assert SECRET not in output
    assert output.count(MASK) == 2
    assert "1 more" in output
    assert operations.rows(quarantine_reveals) == []


def test_revealing_needs_a_reason_and_is_recorded(settings, operations):
    store_rows(settings, operations)
    for arguments in (["--reveal"], ["--reveal", "--reason", " "]):
        code, output = run(quarantine, "show", "orders", *arguments)
        assert code == 2
        assert SECRET not in output
    code, output = run(quarantine, "show", "orders", "--reveal", "--reason", "support case 12")
    assert code == 0
    assert output.count(SECRET) == 3
    assert [record["reason"] for record in operations.rows(quarantine_reveals)] == ["support case 12"]


def test_a_value_cannot_command_the_terminal(settings, operations):
    rows = pa.table({"order_id": ["\x1b[2Jo1\r\n"], "customer_id": [SECRET]})
    Quarantine(settings, operations).set_aside(SetAside("orders", BATCH, "rule", "reason", rows))
    output = run(quarantine, "show", "orders")[1]
    assert "\x1b" not in output
    assert "?[2Jo1??" in output


def test_what_is_not_in_quarantine_is_wrong_use(settings):
    code, output = run(quarantine, "show", "orders")
    assert code == 2
    assert "quarantine list" in output
