"""Secure aggregation: the protocol and its cost."""
