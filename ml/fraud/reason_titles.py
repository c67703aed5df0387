"""Names that a person understands: of entities, and of groups of reasons."""

from ml.fraud.feature_names import SHOP

_WORDS = {
    "customer": "customer",
    "instrument": "payment instrument",
    "device": "device",
    "ip": "IP address",
    "ip_country": "IP country",
    "shipping_address": "shipping address",
    "billing_address": "billing address",
    "email_domain": "e-mail domain",
    "terminal": "terminal",
    SHOP: "shop",
}
_KINDS = {
    "amount": "Amount of the order",
    "time": "Time of the order",
    "account": "Age of the account",
    "addresses": "Billing and shipping address",
    "channel": "Sales channel",
    # Of the order's own entities, whichever it is:
    "fraud_history": "Past fraud with what the order is made with",
    "failures": "Failed payments with what the order is made with",
    "familiarity": "How long what the order is made with is known",
    "velocity": "Pace of orders with what the order is made with",
    "sharing": "Sharing of what the order is made with",
    "other": "Other signals",
}
_KINDS_OF_ENTITY = {
    "fraud_history": "Past fraud with the {}",
    "failures": "Failed payments of the {}",
    "novelty": "What is new for the {}",
    "familiarity": "How long the {} is known",
    "velocity": "Pace of orders of the {}",
    "amount_against_normal": "Amount against what is normal for the {}",
    "sharing": "Sharing of the {}",
}


def entity_words(entity: str) -> str:
    """An entity as a person calls it."""
    return _WORDS.get(entity, entity.replace("_", " "))


def title_of(code: str) -> str:
    """The name of a group of reasons."""
    if code in _KINDS:
        return _KINDS[code]
    for kind, words in _KINDS_OF_ENTITY.items():
        if code.startswith(f"{kind}_"):
            return words.format(entity_words(code.removeprefix(f"{kind}_")))
    return code.replace("_", " ")
