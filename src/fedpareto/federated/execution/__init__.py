"""Execution: how a program is laid out on devices."""
