"""Loaders of the registered data sets."""
