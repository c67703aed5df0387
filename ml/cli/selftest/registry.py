"""Every gate with its proofs. A gate that is missing here, or a kind of rule without bad input, fails a test."""

from ml.cli.selftest.arrivals import ArrivalGate
from ml.cli.selftest.dbt_tests import DBT_TESTS
from ml.cli.selftest.feature_parity import FEATURE_PARITY
from ml.cli.selftest.fraud_inputs import FRAUD_INPUTS
from ml.cli.selftest.marts import MARTS
from ml.cli.selftest.model_inputs import MODEL_INPUTS
from ml.cli.selftest.promotion import PromotionGate
from ml.cli.selftest.proofs import GateProof

_PROOFS: tuple[GateProof, ...] = (
    ArrivalGate(),
    DBT_TESTS,
    MARTS,
    MODEL_INPUTS,
    FRAUD_INPUTS,
    FEATURE_PARITY,
    PromotionGate(),
)
GATES: dict[str, GateProof] = {proof.gate: proof for proof in _PROOFS}
"""In the order in which data meets them."""
