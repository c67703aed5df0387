"""The shop that serving is measured on: its data, models and published rows, built once by the product's own steps.

Full: The Complete Journey (2,469 households, 2017-01-01 to 11-19) with simulated payments. Quick: a small generated
shop, for trying the scripts only. Each step runs in a child process, as a task would, so that no memory is kept.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "clients" / "python")]  # the client is not installed where it is measured
SEED = 20171119
CANDIDATES = 300
_QUICK_DAYS, _QUICK_CUSTOMERS, _QUICK_PRODUCTS = 105, 300, 150
_STEP_SECONDS = 3600


@dataclass(frozen=True)
class BenchShop:
    """
    Attributes:
        folder: Holds the state folder, and the files of a generated shop.
        day: Last day of the history.
    """

    folder: Path
    is_quick: bool
    first_day: date
    day: date

    @property
    def shop_id(self) -> str:
        return "quick" if self.is_quick else "completejourney"

    @property
    def shop_dir(self) -> Path:
        return self.folder / "var" / self.shop_id

    def environment(self, **settings: object) -> dict[str, str]:
        """Environment of a process of this shop; nothing of a real shop's settings is in it."""
        own: dict[str, object] = {
            "shop_id": self.shop_id,
            "state_dir": self.folder / "var",
            "source": "files" if self.is_quick else "completejourney",
            "timezone": "America/New_York",
            "first_day": self.first_day,
            "bootstrap_day": self.day,
            "last_day": self.day + timedelta(days=365),  # the benchmark asks about days after the history
            "promotions_weeks": 0,
            "simulate_payments": True,
            "simulated_fraud_rate": 0.03 if self.is_quick else 0.007,
            "seed": SEED,
            "alert_urls": "[]",
            "api_keys": "{}",
            "state_url": "none",
        }
        if self.is_quick:
            own["files_dir"] = self.folder / "files"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHOPWRIGHT_")}
        told = {f"SHOPWRIGHT_{name.upper()}": str(value) for name, value in {**own, **settings}.items()}
        quiet = {
            "OMP_NUM_THREADS": "2",
            "DO_NOT_TRACK": "1",
            "FEAST_USAGE": "False",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        quiet |= {"GX_ANALYTICS_ENABLED": "false", "DBT_SEND_ANONYMOUS_USAGE_STATS": "False"}
        return {**kept, **quiet, **told, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'clients' / 'python'}"}

    def run(self, *arguments: str, **settings: object) -> str:
        """Output of a Python process of this shop; what it wrote is shown when it fails."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(**settings),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=_STEP_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done.stdout


def bench_shop(folder: Path, is_quick: bool) -> BenchShop:
    if is_quick:
        first = date(2024, 1, 1)
        return BenchShop(folder, True, first, first + timedelta(days=_QUICK_DAYS - 1))
    return BenchShop(folder, False, date(2017, 1, 1), date(2017, 11, 19))


def build(shop: BenchShop, is_reused: bool) -> dict[str, float]:
    """Build the shop unless it is there, built by this very code.

    Args:
        is_reused: Take what is there, whatever code built it; for trying the benchmark itself.

    Returns:
        Seconds by step; those of the building, also when it was found built.
    """
    marker, digest = shop.folder / "built.json", code_digest()
    if marker.exists():
        built = json.loads(marker.read_bytes())
        if is_reused or built["code"] == digest:
            return dict(built["seconds"])
    if shop.folder.exists():
        subprocess.run(["rm", "-rf", "--", str(shop.folder / "var"), str(shop.folder / "files")], check=True)
    shop.folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    for name in STEPS:
        began = perf_counter()
        print(f"  {name} ...", end="", flush=True)
        shop.run(str(Path(__file__)), "step", name, str(shop.folder), str(int(shop.is_quick)))
        seconds[name] = round(perf_counter() - began, 1)
        print(f" {seconds[name]} s", flush=True)
    marker.write_text(json.dumps({"code": digest, "seconds": seconds}))
    return seconds


def code_digest() -> str:
    """Changes with any file that building depends on."""
    digest = hashlib.sha256()
    for folder in ("ml", "dbt_project/models", "dbt_project/macros", "feature_repo", "expectations"):
        for path in sorted((PROJECT / folder).rglob("*")):
            if path.suffix in (".py", ".sql", ".yml", ".yaml", ".json"):
                digest.update(str(path).encode() + path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _generate(shop: BenchShop) -> None:
    if not shop.is_quick:
        return
    from ml.shop.generated import small_shop

    small_shop(shop.folder / "files", shop.first_day, _QUICK_DAYS, customers=_QUICK_CUSTOMERS, products=_QUICK_PRODUCTS)


def _marts(shop: BenchShop) -> None:
    from ml.cli import features, ingest, warehouse

    ingest.land_days(shop.first_day, shop.day)
    ingest.gate_arrivals(shop.day)
    warehouse.build_models(shop.day)
    warehouse.gate_marts(shop.day)
    warehouse.publish_marts(shop.day)
    features.materialize_features(shop.day)


def _train(product: str, shop: BenchShop) -> None:
    """Train and decide; then the trees serve, whatever the verdict: what is measured is how fast they answer."""
    import importlib

    from ml.settings import get_settings
    from ml.stores import registry

    steps = importlib.import_module(f"ml.cli.{product}")
    steps.build_training_set(shop.day)
    steps.gate_training_set(shop.day)
    trained = steps.train_challenger(shop.day)
    decided = steps.decide_promotion(shop.day)
    settings = get_settings()
    registry.promote(settings, product, trained["challenger"], shop.day)
    verdict = {"challenger": trained["challenger"], "verdict": decided["verdict"]}
    (shop.folder / f"{product}_verdict.json").write_text(json.dumps(verdict))


def _second_version(shop: BenchShop) -> None:
    """The same models under another version: what a switch costs is the loading, not the difference."""
    from ml.settings import get_settings
    from ml.stores import registry
    from ml.stores.bundles import save_bundle

    settings, others = get_settings(), {}
    for product in ("fraud", "recommender"):
        bundle = registry.load_champion(settings, product)
        assert bundle is not None
        own = {"files", "product", "shop_id"}
        manifest = {name: value for name, value in bundle.manifest.items() if name not in own}
        other = save_bundle(settings, product, {**manifest, "copy": "for switching under load"}, bundle.contents)
        others[product] = [bundle.version, other.version]
    (shop.folder / "versions.json").write_text(json.dumps(others))


def publish_rows(shop: BenchShop) -> None:
    """Publish recommendations and rows, with 300 candidates each: as many as the goal is set for."""
    from ml.cli.recommender import inputs, publishing
    from ml.recommender.config import CandidateConfig

    usual = inputs.configuration
    config = CandidateConfig()
    others = config.bought_together + config.popular_in_store + config.popular
    candidates = replace(config, own_purchases=CANDIDATES - others)

    def wider(settings: Any) -> Any:
        return replace(usual(settings), candidates=candidates)

    for module in (inputs, publishing):
        setattr(module, "configuration", wider)  # noqa: B010 - a name of another module
    publishing.publish_recommendations(shop.day)


def _post_history(_shop: BenchShop) -> None:
    from ml.cli.fraud import events
    from ml.settings import get_settings

    settings = get_settings()
    posted = events.post_events(settings, events.history(settings), None)
    assert not posted.refused, f"{len(posted.refused)} events of the history were refused"


def follow_log(_shop: BenchShop) -> None:
    """Apply what waits in the log to the state of fraud features of the configured store."""
    import threading

    from ml.cli.fraud import events
    from ml.settings import get_settings

    events.follow_log(get_settings(), stops=threading.Event(), is_once=True)


def _train_recommender(shop: BenchShop) -> None:
    _train("recommender", shop)


def _train_fraud(shop: BenchShop) -> None:
    _train("fraud", shop)


STEPS: Mapping[str, Callable[[BenchShop], None]] = {
    "generate": _generate,
    "marts": _marts,
    "train_recommender": _train_recommender,
    "train_fraud": _train_fraud,
    "second_version": _second_version,
    "publish_rows": publish_rows,
    "post_history": _post_history,
    "follow_log": follow_log,
}


def run_step(shop: BenchShop, name: str, **settings: object) -> None:
    """Run one step again, such as for another store."""
    shop.run(str(Path(__file__)), "step", name, str(shop.folder), str(int(shop.is_quick)), **settings)


if __name__ == "__main__":
    _, _, _step, _folder, _quick = sys.argv
    STEPS[_step](bench_shop(Path(_folder), _quick == "1"))
