"""Mechanisms: noise and its proof's parameters."""
