"""Splits by time: which days are learnt from, which are left out because labels were young, which decide."""

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ml.fraud.config import SplitConfig
from ml.fraud.labels import DelayCurve
from ml.outcomes import DataFailed


@dataclass(frozen=True)
class FraudSplit:
    """Days in order of time; `first` belongs to a range, `until` does not.

    Attributes:
        calibration_first: From here on to `train_until` the trees are counted and probabilities calibrated.
        train_until: Orders from here to `test_first` were too young, the gap.
        label_moment: What is learnt from is what was known then: the model could have been trained at this moment.
    """

    train_first: date
    calibration_first: date
    train_until: date
    test_first: date
    test_until: date
    label_moment: datetime

    def as_dict(self) -> dict[str, Any]:
        return {name: value.isoformat() for name, value in asdict(self).items()}


def split_days(first: date, moment: datetime, delay: DelayCurve, config: SplitConfig) -> FraudSplit:
    """Test on the newest mature days; learn from the days before, as known when the test days began.

    A short history gives up test days, then calibration days, then the warm-up.

    Args:
        first: First day with an order.
        moment: What is known is known up to here.

    Raises:
        DataFailed: Not enough days.
    """
    test_until = _day(moment) - timedelta(days=delay.maturity_days)
    days = (test_until - first).days - delay.learnable_days
    needed = config.min_training_days + config.min_test_days
    if days < needed:
        raise DataFailed(
            f"fraud labels: {max(days, 0)} days of orders are old enough to learn from and to decide by, expected at "
            f"least {needed}; labels take {delay.maturity_days} days to become known"
        )
    test_days = max(config.min_test_days, min(config.test_days, days // 4, days - config.min_training_days))
    return split_at(first, _midnight(test_until - timedelta(days=test_days)), test_until, delay, config)


def split_at(
    first: date, label_moment: datetime, test_until: date, delay: DelayCurve, config: SplitConfig
) -> FraudSplit:
    """Learn at a moment from what is known then, and test on the days from it on.

    Raises:
        DataFailed: Fewer days to learn from than `min_training_days`.
    """
    test_first = _day(label_moment)
    train_until = test_first - timedelta(days=delay.learnable_days)
    days = (train_until - first).days
    if days < config.min_training_days:
        raise DataFailed(
            f"fraud labels: {max(days, 0)} days of orders are old enough to learn from at {test_first}, expected at "
            f"least {config.min_training_days}"
        )
    warm_up = config.warm_up_days if days >= 3 * config.warm_up_days + config.calibration_days else 0
    calibration = min(config.calibration_days, days // 4)
    return FraudSplit(
        train_first=first + timedelta(days=warm_up),
        calibration_first=train_until - timedelta(days=calibration),
        train_until=train_until,
        test_first=test_first,
        test_until=test_until,
        label_moment=label_moment,
    )


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
