"""A policy's file: what is read, and that whatever is not exactly right is refused with file, line, key and range."""

import re

import pytest

from ml.fraud.policy import ACTIONS, Breaker
from ml.fraud.policy_file import DEFAULT_POLICY, default_policy, read_policy
from ml.settings import SettingsError

COSTS = """\
name: small
costs:
  fraud_loss_share: 1
  chargeback_fee_cents: 1500
  margin_share: 0.25
  lost_customer_share: 0.2
  lifetime_value_cents: 2000
  lifetime_orders: 10
  review_cents: 300
  review_catch_share: 0.85
  review_wrong_share: 0.02
  challenge_cents: 10
  challenge_stop_share: 0.6
  challenge_abandon_share: 0.08
"""


def _refusal(text):
    with pytest.raises(SettingsError) as refused:
        read_policy(text, "policy.yml")
    return str(refused.value)


def test_the_default_policy_is_read():
    policy = default_policy()
    assert policy.name == "default"
    assert re.fullmatch(r"default-[0-9a-f]{8}", policy.version)
    assert policy.actions == ACTIONS
    assert policy.body == DEFAULT_POLICY.read_text()
    assert policy.rules
    assert not policy.fairness.group_aware


def test_what_a_file_says_is_what_the_policy_holds():
    policy = read_policy(
        COSTS
        + """\
actions: [decline, approve, review]
reviews: {per_day: 7, minimum_saving_cents: 12.5}
exploration: {share: 0.1, per_day: 2}
standin: {amount_cents: 5000, over_limits: decline}
breaker: {declines: 3}
segments:
  - name: shop
    when: channel == 'pos'
    costs: {chargeback_fee_cents: 0}
rules:
  - name: large
    when: amount_cents >= 100000
    action: decline
    why: A very large order
    breaker: {share: 0.5, window_hours: 1}
fairness:
  group_aware: true
  legal_basis: Counsel's note of 2026-03-02
  grouping: age
  probability_factors: [{group: 19-24, factor: 0.8}]
""",
        "policy.yml",
    )
    assert policy.actions == ("approve", "review", "decline")
    assert (policy.reviews.per_day, policy.reviews.minimum_saving_cents) == (7, 12.5)
    assert (policy.exploration.share, policy.exploration.per_day) == (0.1, 2)
    assert (policy.standin.amount_cents, policy.standin.over_limits) == (5000, "decline")
    assert policy.segments[0].costs.chargeback_fee_cents == 0
    assert policy.segments[0].costs.margin_share == 0.25  # what a segment does not say is the policy's
    assert policy.segments[0].standin == policy.standin
    assert policy.rules[0].breaker == Breaker(declines=3, share=0.5, window_hours=1)
    assert policy.fairness.probability_factors == (("19-24", 0.8),)


def test_the_version_follows_the_bytes():
    assert read_policy(COSTS, "a").version == read_policy(COSTS, "b").version
    assert read_policy(COSTS, "a").version != read_policy(COSTS + "# edited\n", "a").version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # what YAML would quietly read as something else
        (COSTS.replace("name: small", "name: no"), r"policy.yml:1: name: expected true or false; .* quoted"),
        (COSTS + "fairness: {group_aware: on}\n", r":15: fairness.group_aware: expected true or false"),
        (COSTS + "reviews: {per_day: 1:30}\n", r":15: reviews.per_day: expected a plain number"),
        (COSTS + "reviews: {per_day: 010}\n", r":15: reviews.per_day: expected a plain number"),
        (COSTS + "reviews: {per_day: 1_000}\n", r":15: reviews.per_day: expected a plain number"),
        (COSTS.replace("0.25", ".nan"), r":5: costs.margin_share: expected a plain number"),
        (COSTS.replace("0.25", ".inf"), r":5: costs.margin_share: expected a plain number"),
        (COSTS.replace("0.25", ""), r":5: costs.margin_share: no value"),
        (COSTS.replace("0.25", "'0.25'"), r":5: costs.margin_share: expected a number above 0 to 1"),
        (COSTS.replace("0.25", "true"), r":5: costs.margin_share: expected a number above 0 to 1"),
        (COSTS.replace("name: small", "name: 2026-01-01"), r":1: name: expected a plain number"),
        # what is not YAML as we take it
        (COSTS.replace("  margin", "\tmargin"), r":5: a tab; indent by spaces"),
        (COSTS + "reviews: &r {per_day: 2}\n", r":15: anchors \(&\) are not allowed"),
        (COSTS + "reviews: *r\n", r":15: aliases \(\*\) are not allowed"),
        (COSTS + "reviews: !!python/object/apply:os.system ['true']\n", r":15: tags \(!\) are not allowed"),
        ("%YAML 1.1\n---\n" + COSTS, r":1: directives \(%\) are not allowed"),
        (COSTS + "---\nname: other\n", r":15: expected one document"),
        (COSTS + "name: again\n", r":15: name: given twice"),
        (COSTS + "<<: {per_day: 1}\n", r":15: merge keys \(<<\) are not allowed"),
        (COSTS + "1: x\n", r":15: 1: unknown key; known are name, actions, costs"),
        (COSTS + "? [a]\n: x\n", r":15: expected a plain text for a key"),
        (COSTS + "reviews: [\n", r"not YAML"),
        ("- a\n", r":1: expected a map of the keys name, actions, costs"),
        ("", r":1: expected a map of the keys name, actions, costs"),
        ("name: x\nrules: " + "[" * 30_000, r":2: nested deeper than"),
        ("name: x\n" + "#" * 70_000, r":1: expected at most 65536 bytes"),
        # what is YAML and no policy
        (COSTS + "reviewers: 3\n", r":15: reviewers: unknown key; known are name, actions, costs"),
        (COSTS.replace("margin_share", "margin"), r":5: costs.margin: unknown key; known are fraud_loss_share"),
        (COSTS.replace("  margin_share: 0.25\n", ""), r":2: costs: missing: margin_share"),
        ("name: x\n", r":1: missing: costs"),
        (COSTS.replace("0.25", "-0.25"), r":5: costs.margin_share: expected a number above 0 to 1"),
        (COSTS.replace("0.25", "1.5"), r":5: costs.margin_share: expected a number above 0 to 1"),
        (COSTS.replace("chargeback_fee_cents: 1500", "chargeback_fee_cents: -1"), r":4: .* from 0 to"),
        (COSTS + "reviews: {per_day: 0}\n", r":15: reviews.per_day: expected a whole number from 1 to"),
        (COSTS + "reviews: {per_day: 2.5}\n", r":15: reviews.per_day: expected a whole number"),
        (COSTS + "standin: {amount_cents: 0}\n", r":15: standin.amount_cents: expected a whole number from 1"),
        (COSTS + "standin: {over_limits: approve}\n", r":15: .* expected one of challenge, review, decline"),
        (COSTS + "exploration: {share: 0.9, per_day: 1}\n", r":15: exploration.share: expected a number from 0 to 0.5"),
        (COSTS + "exploration: {share: 0.1}\n", r":15: exploration: missing: per_day"),
        (COSTS + "breaker: {declines: 0}\n", r":15: breaker.declines: expected a whole number from 1"),
        (COSTS + "actions: [decline]\n", r":15: actions: approve has to be in it"),
        (COSTS + "actions: [approve, shout]\n", r":15: actions\[2\]: expected one of approve, challenge"),
        (COSTS + "fairness: {group_aware: true}\n", r":15: fairness: missing: legal_basis, grouping"),
        (COSTS + "fairness: {group_aware: false, grouping: age}\n", r":15: fairness.grouping: only allowed while"),
        (
            COSTS + "actions: [approve, decline]\nexploration: {share: 0.1, per_day: 1}\n",
            r":16: exploration.share: expected 0 where review is not among the actions",
        ),
        (
            COSTS + "rules:\n  - {name: a, when: amount_cents > 1, action: approve, why: x}\n",
            r":16: rules\[1\].action: expected one of challenge, review, decline",
        ),
        (
            COSTS + "rules:\n  - name: a\n    when: amount_cents >\n    action: review\n    why: x\n",
            r":17: rules\[1\].when: position 15: expected a field",
        ),
        (
            COSTS + "segments:\n  - {name: a, when: amount > 1}\n",
            r":16: segments\[1\].when: position 1: unknown field amount",
        ),
        (
            COSTS + "segments:\n  - {name: a, when: score > 0.5}\n",  # costs may not hang on the score
            r":16: segments\[1\].when: position 1: unknown field score",
        ),
        (
            COSTS + "rules:\n" + 2 * "  - {name: a, when: amount_cents > 1, action: review, why: x}\n",
            r":17: rules\[2\].name: given twice",
        ),
        (COSTS + "rules: 5\n", r":15: rules: expected a list of at most 100"),
    ],
)
def test_what_is_not_exactly_right_is_refused_by_file_line_and_key(text, expected):
    assert re.search(expected, _refusal(text)), _refusal(text)


def test_a_refusal_echoes_no_value():
    assert "secret" not in _refusal(COSTS.replace("0.25", "secret@example.com"))
    assert "secret" not in _refusal(COSTS + "rules:\n  - {name: 'secret x', when: a, action: review, why: x}\n")


def test_a_policy_without_declines_caps_to_what_it_has():
    policy = read_policy(COSTS + "actions: [approve, challenge]\n", "policy.yml")
    assert policy.below_decline == "challenge"
    assert policy.standin.over_limits == "challenge"
