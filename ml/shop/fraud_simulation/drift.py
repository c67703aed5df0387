"""What changes when "drift" is planted: the mix of methods, how they are done, and normal life with them."""

from dataclasses import replace

from ml.shop.fraud_simulation.methods import FRIENDLY, METHODS, NORMAL_LIFE, UNUSUAL_DAY, Behaviour, Ways


def shares_from_plant() -> list[float]:
    """Each method's share of fraud from the planted day on: those of the attacks are turned round."""
    attacks = [method for method in METHODS if method.name != FRIENDLY]
    turned = {
        method.name: other.share
        for method, other in zip(
            sorted(attacks, key=lambda one: one.share), sorted(attacks, key=lambda one: -one.share), strict=True
        )
    }
    return [turned.get(method.name, method.share) for method in METHODS]


def behaviours_from_plant() -> list[Behaviour]:
    """Normal life, the attacks and an unusual day, from the planted day on.

    Criminals use devices and networks that look like the customer's own, at home; customers are often on the move.
    """
    life = replace(
        NORMAL_LIFE,
        device=Ways(known=0.80, new=0.12, shared=0.08),
        ip=Ways(known=0.25, new=0.35, shared=0.40),
        foreign=0.02,
    )
    attacks = (_disguised(method.behaviour) for method in METHODS if method.name != FRIENDLY)
    return [life, *attacks, UNUSUAL_DAY]


def _disguised(behaviour: Behaviour) -> Behaviour:
    return replace(
        behaviour,
        device=Ways(known=0.60, new=0.20, shared=0.10, ring=0.10),
        ip=Ways(known=0.30, new=0.20, shared=0.40, ring=0.10),
        foreign=0.03,
        throwaway=0.03,
    )
