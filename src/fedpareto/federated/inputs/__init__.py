"""Inputs of the compiled program."""
