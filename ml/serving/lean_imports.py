"""What the processes of the API leave out when they come up."""

import sys


def leave_out_sklearn() -> None:
    """Before XGBoost is imported: it imports scikit-learn wherever that is installed, and predicts without.

    A third to a half of the time in which a process comes up, and tens of megabytes in each.
    """
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
