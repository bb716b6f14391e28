"""Gradient inversion: records rebuilt from an update."""
