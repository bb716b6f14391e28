"""Attacks on the runs of a sweep: what each adversary gets out of what it sees."""
