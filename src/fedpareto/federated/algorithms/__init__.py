"""Algorithms: local training and what the server does with it."""
