"""The operational record of fraud: decisions, cases to review, policies, lists, hits of rules."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from ml.stores.operational_tables import Moment, metadata

decisions = Table(  # one per order; never changed once made, a later re-scoring is a row of `rescorings`
    "fraud_decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("decision_id", String(80), nullable=False, unique=True),
    Column("order_id", String(200), nullable=False, unique=True),
    Column("customer_id", String(200)),
    Column("partition", String(10), nullable=False),  # shop day of the order
    Column("ordered_at", Moment, nullable=False),  # the order's first attempt to pay
    Column("decided_at", Moment, nullable=False),  # shop time of the decision
    Column("amount_cents", BigInteger, nullable=False),
    Column("action", String(10), nullable=False),  # approve, challenge, review, decline
    Column("source", String(12), nullable=False),  # model, rule, list, standin
    Column("score", Float),  # calibrated probability of fraud; null when no model scored
    Column("would_decline", Boolean, nullable=False),  # the policy said decline, whatever exploration made of it
    Column("propensity", Float, nullable=False),  # chance that the label could become known
    Column("model_version", String(120)),
    Column("policy_version", String(120), nullable=False),
    Column("marts_version", String(60)),
    Column("expected_costs", JSON, nullable=False),  # action -> cents
    Column("reasons", JSON, nullable=False),  # list of {code, text, contribution, value, usual}
    Column("rule_trace", JSON, nullable=False),  # list of {rule, matched, action, capped}
    Column("contributions", JSON, nullable=False),  # feature -> log-odds, with "bias"; they add up to the margin
    Column("hint", Text),  # what would have changed the decision
    Column("recorded_at", Moment, nullable=False),
    Column("expected_saving_cents", Float),  # what this action is expected to save; null: taken from the costs
)

rescorings = Table(  # of decisions made without the model: what it says once its features are back
    "fraud_rescorings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("decision_id", String(80), nullable=False, unique=True),
    Column("order_id", String(200), nullable=False),
    Column("score", Float),  # null: it could not be scored afterwards either
    Column("action", String(10)),  # what the policy would have done
    Column("model_version", String(120)),
    Column("policy_version", String(120)),
    Column("problem", Text),  # why it was not scored; null when it was
    Column("rescored_at", Moment, nullable=False),  # wall clock
)

follower_marks = Table(  # how far each part of the follower has read the serving log
    "follower_marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(40), nullable=False, unique=True),
    Column("log_id", String(40), nullable=False),  # positions mean nothing in another log
    Column("position", Integer, nullable=False),
    Column("detail", JSON, nullable=False),
)

shadow_decisions = Table(  # what a policy in shadow would have done
    "fraud_shadow_decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", String(200), nullable=False),
    Column("policy_version", String(120), nullable=False),
    Column("partition", String(10), nullable=False),
    Column("action", String(10), nullable=False),
    Column("expected_cost_cents", Float, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    UniqueConstraint("order_id", "policy_version"),
)

review_cases = Table(
    "review_cases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", String(200), nullable=False, unique=True),
    Column("decision_id", String(80), nullable=False),
    Column("partition", String(10), nullable=False),
    Column("expected_saving_cents", Float, nullable=False),  # what looking at it is expected to save
    Column("state", String(10), nullable=False),  # open, claimed, decided, expired
    Column("claimed_by", String(120)),
    Column("claimed_at", Moment),
    Column("claim_expires_at", Moment),
    Column("verdict", String(12)),  # fraud, legitimate
    Column("decided_by", String(120)),
    Column("decided_at", Moment),
    Column("note", Text),
    Column("opened_at", Moment, nullable=False),
    Column("recorded_at", Moment),  # wall clock of the verdict; `decided_at` is shop time, as a label's is
)

review_events = Table(  # the audit trail: who did what with a case, when; only ever added to
    "review_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", String(200), nullable=False),
    Column("event", String(10), nullable=False),  # opened, claimed, released, decided, expired
    Column("by", String(120)),  # null: the platform itself
    Column("note", Text),
    Column("happened_at", Moment, nullable=False),  # wall clock
)

policies = Table(
    "fraud_policies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", String(120), nullable=False, unique=True),  # <name>-<sha256[:8]>
    Column("body", Text, nullable=False),  # the YAML as submitted
    Column("state", String(10), nullable=False),  # draft, shadow, active, retired
    Column("submitted_by", String(120), nullable=False),
    Column("submitted_at", Moment, nullable=False),
)

policy_changes = Table(  # the audit trail; only ever added to
    "fraud_policy_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", String(120), nullable=False),
    Column("from_state", String(10)),
    Column("to_state", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_by", String(120), nullable=False),
    Column("changed_at", Moment, nullable=False),
)

list_entries = Table(
    "fraud_list_entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("list_name", String(10), nullable=False),  # block, allow, watch
    Column("entity", String(40), nullable=False),  # customer, instrument, device ...
    Column("value", String(200), nullable=False),  # personal: masked wherever it is shown
    Column("reason", Text, nullable=False),
    Column("added_by", String(120), nullable=False),
    Column("added_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("removed_by", String(120)),
    Column("removed_at", Moment),
)

rule_hits = Table(  # what each rule matched, for its statistics and its circuit breaker
    "fraud_rule_hits",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule", String(80), nullable=False),
    Column("policy_version", String(120), nullable=False),
    Column("order_id", String(200), nullable=False),
    Column("ordered_at", Moment, nullable=False),
    Column("action", String(10), nullable=False),  # what the rule asked for
    Column("is_capped", Boolean, nullable=False),  # its circuit breaker stood open, so it was not done
    UniqueConstraint("rule", "policy_version", "order_id"),
)

Index(  # one policy decides, whoever makes one active first
    "one_active_policy",
    policies.c.state,
    unique=True,
    sqlite_where=text("state = 'active'"),
    postgresql_where=text("state = 'active'"),
)
