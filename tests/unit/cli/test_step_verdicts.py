"""A step that is a gate leaves a verdict however it ends, and its own error is what its caller sees."""

from datetime import date

import pytest

from ml.cli.step_verdicts import recorded
from ml.outcomes import DataFailed, ToolFailed
from ml.stores.operations import Operations, gate_verdicts, judgements

DAY = date(2024, 3, 4)


@pytest.fixture
def operations(configure):
    return Operations.from_settings(configure())


def _step(error=None):
    @recorded("dbt_tests", "build", "data_tests", "every test to pass")
    def build(partition):
        if error is not None:
            raise error
        return {"partition": partition.isoformat()}

    return build


@pytest.mark.parametrize(
    ("error", "status", "observed"),
    [
        (DataFailed("model a fails test b in 3 rows"), "failed", "model a fails test b in 3 rows"),
        (ToolFailed("no space"), "unknown", "nothing: the step raised ToolFailed"),
        (ValueError("c0001"), "unknown", "nothing: the step raised ValueError"),  # its text may be a row's value
    ],
)
def test_how_a_step_ended_is_recorded_and_raised(operations, error, status, observed):
    with pytest.raises(type(error), match=str(error)):
        _step(error)(DAY)
    (row,) = operations.rows(gate_verdicts)
    assert (row["gate"], row["object"], row["partition"], row["status"]) == ("dbt_tests", "build", "2024-03-04", status)
    assert [(rule["rule"], rule["status"], rule["observed"]) for rule in row["rules"]] == [
        ("data_tests", status, observed)
    ]


def test_a_step_that_passes_the_second_time_has_one_verdict_and_two_judgements(operations):
    with pytest.raises(DataFailed):
        _step(DataFailed("x"))(DAY)
    assert _step()(DAY) == {"partition": "2024-03-04"}
    assert [row["status"] for row in operations.rows(gate_verdicts)] == ["passed"]
    assert [row["status"] for row in operations.rows(judgements)] == ["failed", "passed"]
