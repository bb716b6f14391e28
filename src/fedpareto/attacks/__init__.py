"""Attacks on the runs of a sweep: the success of each adversary with its view."""
