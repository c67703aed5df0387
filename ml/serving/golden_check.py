"""A model version's first load and its golden rows, tried in a process of its own before it is served.

What is wrong with a model file may end the process that reads it: XGBoost is native code. So the first one to load a
version is a child that may die.

    python -m ml.serving.golden_check PRODUCT VERSION
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ml.outcomes import EXIT_DATA_FAILED, EXIT_OK, EXIT_TOOL_FAILED, DataFailed, ToolFailed
from ml.serving.lean_imports import leave_out_sklearn
from ml.settings import Settings, get_settings

CHECK_SECONDS = 120.0
_NICENESS = "19"
# How native code ends when it is given what it cannot read; another signal came from outside.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_REASON_LIMIT = 400


def check_in_child(settings: Settings, product: str, version: str, *, seconds: float = CHECK_SECONDS) -> None:
    """Check a version: sha256 of each file, first load, golden rows; in a child with low priority and a time limit.

    Raises:
        DataFailed: The version is damaged, crashes who loads it, or does not reproduce its golden rows.
        ToolFailed: The child took too long, or was ended from outside; nothing is known about the version.
    """
    # From its first instruction on it takes what requests leave over, also where both share one core.
    arguments = ["nice", "-n", _NICENESS, sys.executable, "-m", "ml.serving.golden_check", product, version]
    arguments += [settings.shop_id, str(settings.shop_dir.parent)]
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"{version}: its check did not end within {seconds:.0f} s") from None
    except OSError as error:
        raise ToolFailed(f"{version}: its check could not be started ({type(error).__name__})") from None
    if done.returncode == EXIT_OK:
        return
    reason = done.stdout.decode(errors="replace").strip()[:_REASON_LIMIT]
    if done.returncode == EXIT_DATA_FAILED:
        raise DataFailed(reason or f"{version}: refused")
    if -done.returncode in _CRASHES:
        name = signal.Signals(-done.returncode).name
        raise DataFailed(f"{version}: loading it ends the process ({name}); retrain or roll back")
    raise ToolFailed(reason or f"{version}: its check ended with status {done.returncode}")


def check_version(settings: Settings, product: str, version: str) -> None:
    """The check itself, in this process.

    Raises:
        DataFailed: The version is damaged or does not reproduce its golden rows.
    """
    import numpy as np

    from ml.stores.bundles import load_booster, load_bundle

    if product == "fraud":
        from ml.fraud.golden import GOLDEN, check_golden
    else:
        from ml.recommender.golden import GOLDEN, check_golden
    bundle = load_bundle(settings, product, version)
    if bundle.manifest["product"] != product:
        raise DataFailed(f"{version} is of another product than {product}")
    if bundle.kind == "baseline" and GOLDEN not in bundle.contents:
        return  # nothing fitted: no native code that could crash, and no prediction to repeat
    if bundle.kind != "baseline":
        # A tree that points to where there is nothing ends the process at the first prediction, not at the load.
        booster = load_booster(bundle)
        booster.inplace_predict(np.zeros((1, booster.num_features()), dtype=np.float32), validate_features=False)
    check_golden(bundle.contents)


def main(arguments: Sequence[str]) -> int:
    """Exit code as everywhere: 0 done, 3 the data failed, 4 a tool failed; the reason is printed."""
    product, version, *place = arguments
    leave_out_sklearn()
    # Only the shop's folder matters here; the rest of the settings may hold secrets that a child need not know.
    settings = Settings.model_construct(shop_id=place[0], state_dir=Path(place[1])) if place else get_settings()
    try:
        check_version(settings, product, version)
    except DataFailed as error:
        sys.stdout.write(str(error))
        return EXIT_DATA_FAILED
    except Exception as error:  # noqa: BLE001 - what it is decides how the exit is told
        sys.stdout.write(f"{version}: its check failed ({type(error).__name__})")
        # XGBoost and the like raise errors of their own at bytes that they cannot read: that is about the version.
        return EXIT_TOOL_FAILED if isinstance(error, OSError | MemoryError | ImportError) else EXIT_DATA_FAILED
    return EXIT_OK


if __name__ == "__main__":
    signal.alarm(int(CHECK_SECONDS))  # ends it also when the process that would have ended it is gone
    sys.exit(main(sys.argv[1:]))
