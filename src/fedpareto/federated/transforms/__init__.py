"""Transformations of training examples."""
