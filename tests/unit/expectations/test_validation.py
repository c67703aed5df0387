"""What Great Expectations found, without values, and what it could not find out."""

import great_expectations.expectations as gxe
import pandas as pd

from expectations.validation import DELIVERED, ROW, rule_meta, validate
from expectations.verdicts import Status


def positive(column="number"):
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=1, meta=rule_meta("positive", ROW, "above 0"))


def test_findings_name_rows_by_position_and_come_in_order():
    frame = pd.DataFrame({"number": [1, 0, None, -5]})
    present = gxe.ExpectColumnValuesToNotBeNull(column="number", meta=rule_meta("present", ROW, "a number"))
    first, second = validate(frame, [positive(), present])
    assert (first.rule, first.status, first.positions.tolist()) == ("positive", Status.SET_ASIDE, [1, 3])
    assert (second.rule, second.positions.tolist()) == ("present", [2])


def test_an_expectation_that_raised_is_unknown_and_not_failed():
    (finding,) = validate(pd.DataFrame({"number": [1]}), [positive("no_such_column")])
    assert finding.status is Status.UNKNOWN


def test_the_text_of_an_exception_is_not_told():
    frame = pd.DataFrame({"number": ["secret-4711"]})
    (finding,) = validate(frame, [positive()])
    assert finding.status is Status.UNKNOWN
    assert "4711" not in f"{finding.observed} {finding.expected}"


def test_nothing_is_true_of_an_empty_frame_but_its_row_count():
    frame = pd.DataFrame({"number": pd.Series([], dtype="int64")})
    count = gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=rule_meta("row_count", DELIVERED, "rows"))
    share = gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(
        column="number", min_value=0.5, meta=rule_meta("null_share", DELIVERED, "values")
    )
    found = {finding.rule: finding.status for finding in validate(frame, [positive(), count, share])}
    assert found == {"positive": Status.PASSED, "row_count": Status.FAILED, "null_share": Status.FAILED}


def test_no_expectation_no_finding():
    assert validate(pd.DataFrame({"number": [1]}), []) == []
