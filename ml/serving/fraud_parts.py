"""What decides about payments now: the champion, the policy in force and the lists, loaded as one thing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select

from ml.fraud.declaration import declaration
from ml.fraud.derived import derived_from
from ml.fraud.engine import FALLBACK_STEP, MODEL_STEP, FraudEngine
from ml.fraud.fallback import fallback_from_files
from ml.fraud.features import ORDER_FEATURES
from ml.fraud.lists import LISTS, ListEntry
from ml.fraud.policy import Policy
from ml.fraud.policy_file import default_policy, read_policy
from ml.fraud.protocols import BIAS, FraudScorer
from ml.fraud.score import from_files
from ml.fraud.state_records import state_digest
from ml.outcomes import DataFailed
from ml.serving.case_file import SIMULATED
from ml.serving.loader import NO_MODEL
from ml.settings import Settings
from ml.stores import policies, registry
from ml.stores.bundles import ModelBundle, load_bundle
from ml.stores.fraud_tables import list_entries
from ml.stores.fraud_tables import policies as policy_table
from ml.stores.operations import Operations

PRODUCT = "fraud"


@dataclass(frozen=True)
class FraudParts:
    """One immutable set of what a decision is made by; a switch replaces it whole.

    Attributes:
        model_version: None before the first champion.
        feature_version: Of the declaration that counted features are made by.
        data: What the payments are made of, where they are made up; None for a shop's own.
        inputs: Step -> names of what its model's contributions are of, with `bias`.
    """

    engine: FraudEngine
    model_version: str | None
    policy_version: str
    feature_version: str
    data: str | None
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def fraud_fingerprint(settings: Settings, operations: Operations) -> str:
    """Changes when the champion, the active policy or the lists change; cheap enough to be asked every second."""
    champion = registry.champion(settings, PRODUCT)
    active = select(policy_table.c.version).where(policy_table.c.state == "active")
    lists = select(func.count(), func.max(list_entries.c.id), func.max(list_entries.c.removed_at))
    removed = select(func.count()).where(list_entries.c.removed_at.is_not(None))
    with operations.transaction() as connection:
        found = [
            champion.version if champion else None,
            champion.manifest_sha256 if champion else None,
            list(connection.execute(active).scalars()),
            [str(one) for one in connection.execute(lists).one()],
            connection.execute(removed).scalar(),
        ]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def load_fraud(settings: Settings, operations: Operations, version: str | None = None) -> FraudParts:
    """Load what decides; every file of the model is held against its sha256 before it is parsed.

    Args:
        version: Of the model; the champion without; `NO_MODEL`: policy and lists alone.

    Raises:
        DataFailed: The model or the policy is damaged, or was made for other features.
    """
    if version == NO_MODEL:
        bundle = None
    elif version is None:
        bundle = registry.load_champion(settings, PRODUCT)
    else:
        bundle = load_bundle(settings, PRODUCT, version)
    return prepared_parts(settings, bundle, active_policy(operations), lists_in_force(operations))


def prepared_parts(
    settings: Settings, bundle: ModelBundle | None, policy: Policy, lists: Sequence[ListEntry]
) -> FraudParts:
    """A model, a policy and lists as one thing that decides.

    Raises:
        DataFailed: The model is damaged, or was made for other features.
    """
    scorer = None if bundle is None else scorer_of(bundle)
    fallback = None if bundle is None else fallback_from_files(bundle.contents)
    engine = FraudEngine.prepare(scorer, fallback, policy, lists, settings.seed, settings.zone)
    model_version = None if bundle is None else bundle.version
    models = {MODEL_STEP: scorer, FALLBACK_STEP: fallback}
    inputs = {step: (*model.features, BIAS) for step, model in models.items() if model is not None}
    return FraudParts(engine, model_version, policy.version, feature_version(), made_up_data(settings), inputs)


def built_in_parts(settings: Settings) -> FraudParts:
    """What decides before anything could be loaded: the project's own policy, without a model."""
    return prepared_parts(settings, None, default_policy(), ())


def scorer_of(bundle: ModelBundle) -> FraudScorer:
    """A model bundle as a scorer.

    Raises:
        DataFailed: It is damaged, or was trained on inputs that this code does not compute.
    """
    scorer = from_files(bundle.contents)
    derived = {one.name for one in derived_from(declaration())}
    computed = {*ORDER_FEATURES, *declaration().counted_features(), *derived}
    if not computed.issuperset(scorer.features):
        raise DataFailed(f"{bundle.version} was trained on other features than this code computes; retrain")
    return scorer


def active_policy(operations: Operations) -> Policy:
    """The policy that decides: the one made active, or the default of the project.

    Raises:
        DataFailed: It names what is no longer known; nothing decides by half of a policy.
    """
    stored = policies.stored_policies(operations, "active")
    return read_policy(stored[0]["body"], f"policy {stored[0]['version']}") if stored else default_policy()


def lists_in_force(operations: Operations) -> list[ListEntry]:
    """Entries that nobody removed; which orders one that expires still means is found by the orders' moments."""
    known = {str(name): name for name in LISTS}
    return [
        ListEntry(known[row["list_name"]], row["entity"], row["value"], row["expires_at"])
        for row in policies.stored_list_entries(operations)
    ]


def feature_version() -> str:
    return f"features-{state_digest(declaration())[:8]}"


def made_up_data(settings: Settings) -> str | None:
    """What to say about the payments' origin beside every decision; None for a shop's own payments."""
    return SIMULATED if settings.simulates_payments else None
