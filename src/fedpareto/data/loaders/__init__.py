"""Registered data sets."""
