"""What each epsilon costs in accuracy, and what it buys in measured leakage, for federated learning."""

__version__ = "0.1.0"
