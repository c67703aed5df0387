"""The kinds of rules that the gates have, read from their suites and code: what the self-test must prove."""

import ast
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import yaml

from expectations.rows import arrival_of
from expectations.suites.arrivals import ARRIVAL_SUITES
from expectations.suites.arrivals.from_contract import History
from expectations.suites.marts import MART_SUITES
from expectations.suites.marts.staged import StagedMart
from expectations.suites.model_inputs.fraud import FraudInputConfig, fraud
from expectations.suites.model_inputs.recommender import ModelInputConfig, recommender
from ml.cli.selftest.judging import rule_kind
from ml.evaluation.bootstrap import Interval
from ml.evaluation.promotion import Challenge, PromotionConfig, judge_challenge
from ml.recommender.features import FEATURES
from ml.settings import PROJECT_DIR, Settings
from ml.shop.contract import CONTRACT

DAY = date(2024, 1, 31)

# Names that a verdict may hold and that block nothing by themselves, with the reason.
NO_BLOCKING_RULES = {
    "unknown_columns": "an additional column is a warning",
    "form_added": "a column that came on top is a warning",
    "unchanged": "a repeated snapshot passes by it",
    "publication": "says that another table's failure held the batch",
    "judged": "says that no rule could be asked; `a check that cannot run` is such an input",
}


def arrival_kinds(suites=ARRIVAL_SUITES) -> set[str]:
    """Of the suites, whatever form a batch comes in, and of the code around them."""
    settings = Settings(_env_file=None)
    kinds = set()
    for name, suite in suites.items():
        table = CONTRACT[name]
        columns = [column.name for column in table.columns]
        full = History(dict.fromkeys(columns, 100.0), 50.0, dict.fromkeys(columns, 0.0), has_rows=True)
        for form in ("typed", "text"):
            for history in (History(), full):
                batch = SimpleNamespace(table=name, first_day=DAY, last_day=DAY, format=form)
                rules = suite(arrival_of(settings, batch, columns, history))
                kinds |= {rule_kind(rule.meta["rule"], name) for rule in rules}
    others = ("marts.py", "model_inputs.py")
    files = [path for path in (PROJECT_DIR / "expectations").glob("*.py") if path.name not in others]
    files += [PROJECT_DIR / "ml" / name for name in ("cli/ingest.py", "stores/quarantine.py")]
    coded = set().union(*map(coded_rules, files))
    return (kinds | coded) - set(NO_BLOCKING_RULES)


def mart_kinds(suites=MART_SUITES) -> set[str]:
    rules = {rule.meta["rule"] for name, suite in suites.items() for rule in suite(StagedMart(name, DAY, DAY))}
    return rules | coded_rules(PROJECT_DIR / "expectations" / "marts.py")


def model_input_kinds() -> set[str]:
    rules = {rule.meta["rule"] for rule in recommender(ModelInputConfig(FEATURES))}
    # Nothing is compared with an earlier training set, so this rule of every measured table never fails here.
    return rules - {"null_share"}


def fraud_input_kinds() -> set[str]:
    rules = {rule.meta["rule"] for rule in fraud(FraudInputConfig(("count_orders_device_1h",)))}
    return rules - {"null_share"}  # as above


def dbt_kinds(project: Path = PROJECT_DIR / "dbt_project") -> set[str]:
    """Generic tests by their names, singular ones by their files, and enforced contracts."""
    kinds = {path.stem for path in (project / "tests").glob("*.sql")}
    for path in (project / "models").rglob("*.yml"):
        kinds |= _tests_in(yaml.safe_load(path.read_text()))
    if "enforced: true" in (project / "dbt_project.yml").read_text():
        kinds.add("contract")
    return kinds


def _tests_in(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_tests_in, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = {next(iter(test)) if isinstance(test, dict) else test for test in node.get("data_tests", [])}
    return own.union(*(_tests_in(value) for name, value in node.items() if name != "data_tests"))


def promotion_kinds() -> set[str]:
    gain = Interval(0.1, 0.1, 0.1, 30)
    challenge = Challenge(1, False, gain, gain, gain, 1.0, 1.0, 1, {"age_band": 0.0}, explanation_ms=1.0)
    rules = {rule.rule.removesuffix("_age_band") for rule in judge_challenge(challenge, PromotionConfig())}
    decided = ast.parse((PROJECT_DIR / "ml" / "cli" / "promotion.py").read_text())
    bounds = ("at_most", "at_least", "above")
    return rules | {
        call.args[0].value
        for call in ast.walk(decided)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in bounds
    }


def coded_rules(path: Path) -> set[str]:
    """Names of rules in a module: constants called `..._RULE`, and literal names of results that are made there."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if any(name.endswith("_RULE") for name in names):
                found.add(node.value.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            position = {"RuleResult": 0, "refused": 1}.get(node.func.id)
            if position is not None and isinstance(node.args[position], ast.Constant):
                found.add(node.args[position].value)
    return found
