"""A simulation of payments and fraud, laid over a shop's real orders. Its data is made up."""

from ml.shop.fraud_simulation.config import SimulationConfig
from ml.shop.fraud_simulation.simulate import Simulated, simulate

__all__ = ["Simulated", "SimulationConfig", "simulate"]
