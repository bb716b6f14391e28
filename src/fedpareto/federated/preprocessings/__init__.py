"""Preprocessings: transformations of every example before the model sees it."""
