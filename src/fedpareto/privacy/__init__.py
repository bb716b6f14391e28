"""Mechanisms, samplers and accounting. `PrivacyPlan` is the one source of privacy truth (see `plan.py`)."""
