"""Algorithms: local training and the server's part."""
